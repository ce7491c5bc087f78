"""Deletes passages whole: all windows of each in one operation."""

from __future__ import annotations

from collections.abc import Sequence

from searchkit.collection.backends.base import SCAN_PAGE, Backend
from searchkit.collection.schema import METADATA, key_of, point_ids, window_count
from searchkit.collection.scope import Scope


def delete_passages(backend: Backend, scope: Scope, firsts: Sequence[int]) -> int:
    """Delete the passages of ``scope`` with these first points, and return how many there were."""
    deleted = 0
    with backend.writing():
        for start in range(0, len(firsts), SCAN_PAGE):
            page = firsts[start : start + SCAN_PAGE]
            with backend.exclusive():
                deleted += _delete_page(backend, scope, page)
    return deleted


def _delete_page(backend: Backend, scope: Scope, firsts: Sequence[int]) -> int:
    """Delete passages with all their windows in one operation, so that none is left half."""
    found = backend.fetch(firsts, scope.lookup_fields)
    known = {first: payload for first, payload in found.items() if scope.owns(payload.get(METADATA))}
    others = [
        point
        for first, payload in known.items()
        if window_count(payload) > 1
        for point in point_ids(key_of(first), window_count(payload))[1:]
    ]
    points = [*known, *(backend.existing(others) if others else ())]
    if points:
        backend.delete(points)
    return len(known)
