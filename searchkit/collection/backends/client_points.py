"""Whole points, vectors included, out of qdrant-client. Pure."""

from __future__ import annotations

from typing import Any

from qdrant_client import models

from searchkit.collection.backends.base import Point
from searchkit.collection.backends.client_requests import integer_of
from searchkit.config import SearchKitConfig
from searchkit.stages import SparseVector

POINTS_PAGE = 256
"""Whole points read at once: 256 of 1,024 dimensions are a few megabytes."""


def whole_point(record: models.Record, config: SearchKitConfig) -> Point:
    """Return a record that was read with its payload and vectors as a point."""
    vectors: Any = record.vector or {}
    sparse = vectors.get(config.sparse_vector_name)
    return Point(
        integer_of(record.id),
        list(vectors.get(config.vector_name) or ()),
        None if sparse is None else SparseVector(list(sparse.indices), list(sparse.values)),
        record.payload or {},
    )
