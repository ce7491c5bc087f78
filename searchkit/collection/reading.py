"""Reading whole passages back from their windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from searchkit.collection.backends.base import SCAN_PAGE, Backend
from searchkit.collection.schema import (
    HASH,
    ID,
    METADATA,
    TEXT,
    key_of,
    point_ids,
    window_count,
    window_from,
)
from searchkit.collection.scope import Scope
from searchkit.collection.windows import stitch
from searchkit.errors import CollectionError
from searchkit.types import Passage

_Payload = Mapping[str, Any]


def read_passages(backend: Backend, firsts: Sequence[int], scope: Scope, location: str) -> dict[int, Passage]:
    """Return passages by their first point, those that are there and that the scope admits.

    Raises:
        CollectionError: A passage is incomplete, because its writer was interrupted.
    """
    found = _fetch(backend, list(dict.fromkeys(firsts)))
    payloads = {first: payload for first, payload in found.items() if scope.admits(payload.get(METADATA))}
    rest = _fetch(
        backend,
        [point for first, payload in payloads.items() for point in point_ids(key_of(first), window_count(payload))[1:]],
    )
    return {first: _passage(first, payload, rest, location) for first, payload in payloads.items()}


def _fetch(backend: Backend, points: Sequence[int]) -> dict[int, _Payload]:
    payloads: dict[int, _Payload] = {}
    for start in range(0, len(points), SCAN_PAGE):
        payloads.update(backend.fetch(points[start : start + SCAN_PAGE]))
    return payloads


def _passage(first: int, payload: _Payload, rest: Mapping[int, _Payload], location: str) -> Passage:
    text = payload[TEXT]
    count = window_count(payload)
    if count > 1:
        members = [payload, *(rest[point] for point in point_ids(key_of(first), count)[1:] if point in rest)]
        text = _whole_text(members, location)
    # Stored values were checked when they were written.
    return Passage.model_construct(id=payload[ID], text=text, metadata=payload.get(METADATA) or {})


def _whole_text(members: Sequence[_Payload], location: str) -> str:
    first = members[0]
    try:
        # Windows of another version do not join, or miss.
        return stitch([(window_from(member), member[TEXT]) for member in members if member[HASH] == first[HASH]])
    except ValueError as error:
        raise CollectionError(
            f"the passage {first[ID]!r} of {location} is incomplete: {error}; its writer was interrupted, add it again"
        ) from error
