"""Moving house: collections copied between engines without encoding anything again, and rebuilt for another encoder."""

from __future__ import annotations

from searchkit.moving.copying import CopyReport, Location, copy_collection

__all__ = ["CopyReport", "Location", "copy_collection"]
