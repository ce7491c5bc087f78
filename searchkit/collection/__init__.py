"""Stage 1 on Qdrant: schema and manifest, ingest, filters, fusion, one module an engine."""

from __future__ import annotations

from searchkit.collection.collection import Collection
from searchkit.collection.opening import open_collection

__all__ = ["Collection", "open_collection"]
