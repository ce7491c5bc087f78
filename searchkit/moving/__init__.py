"""Moving house: collections copied between engines without encoding anything again, and rebuilt for another encoder."""

from __future__ import annotations

from searchkit.moving.as_made import open_as_made
from searchkit.moving.copying import CopyReport, copy_collection
from searchkit.moving.places import Location, point_count, stored_manifest
from searchkit.moving.reindexing import ReindexReport, drop_previous, reindex, settings_as_kept

__all__ = [
    "CopyReport",
    "Location",
    "ReindexReport",
    "copy_collection",
    "drop_previous",
    "open_as_made",
    "point_count",
    "reindex",
    "settings_as_kept",
    "stored_manifest",
]
