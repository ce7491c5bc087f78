"""How a passage lies in Qdrant: point ids, payload keys, vector names.

A passage is one point a window. The 128-bit point id is a UUIDv5 of the caller's id whose last 24 bits are replaced by
the window's index: all windows of a passage share the upper 104 bits (its *key*), so stage 1 can group windows, find
the first window of a passage and delete all of them without reading a payload.

Inside the collection package a point id is that 128-bit integer; each backend converts it at its border.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from searchkit.stages import Window
from searchkit.types import PassageId

NAMESPACE = uuid.UUID("6f1d0a53-2c0b-5d0e-9b86-6a4a3a2f7c11")
WINDOW_BITS = 24
MAX_WINDOWS = 1 << WINDOW_BITS
_WINDOW_MASK = MAX_WINDOWS - 1

ID = "id"
TEXT = "text"
METADATA = "metadata"
FLAGS = "flags"
"""Mirror of the metadata that holds its bools as "true"/"false": no engine filters real bools the same way."""
HASH = "hash"
"""Digest of the passage's whole text and metadata; equal means unchanged."""
WINDOW = "window"
"""index, count, start and end of a window; left out where the passage is one window."""
TOKENS = "tokens"
"""The reranker's token ids of the window's text, base64; optional."""

WINDOW_INDEX = f"{WINDOW}.index"
LOOKUP_FIELDS = (HASH, WINDOW)
"""What ingest and delete read of a passage's first window."""


_FLAT = frozenset({str, int, float, type(None)})
"""Types of metadata that hold no bool."""


def passage_key(passage_id: PassageId, namespace: bytes = NAMESPACE.bytes) -> int:
    """Return the 104 bits that the point ids of a passage share; ``1`` and ``"1"`` differ.

    Args:
        passage_id: The caller's id.
        namespace: What it is derived under: every scope has its own, see `searchkit.collection.scope`.
    """
    tag = b"i" if isinstance(passage_id, int) else b"s"
    digest = hashlib.sha1(namespace + tag + str(passage_id).encode(), usedforsecurity=False).digest()
    value = int.from_bytes(digest[:16], "big")
    value = value & ~(0xF << 76) | 5 << 76  # version and variant, as RFC 9562 wants them
    value = value & ~(0x3 << 62) | 2 << 62
    return value >> WINDOW_BITS


def point_id(key: int, window_index: int = 0) -> int:
    """Return the id of one window of the passage with ``key``."""
    return key << WINDOW_BITS | window_index


def point_ids(key: int, window_count: int) -> range:
    """Return the ids of all windows of a passage, first window first."""
    first = key << WINDOW_BITS
    return range(first, first + window_count)


def key_of(point: int) -> int:
    """Return the passage key of a point id."""
    return point >> WINDOW_BITS


def window_index_of(point: int) -> int:
    """Return the window index of a point id."""
    return point & _WINDOW_MASK


def first_points(points: Iterable[int]) -> list[int]:
    """Return the id of the first window of every passage that ``points`` belong to, each once, in order."""
    return list(dict.fromkeys(point & ~_WINDOW_MASK for point in points))


def uuid_text(point: int) -> str:
    """Return a point id the way Qdrant prints it."""
    digits = f"{point:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def derived_id(text: str) -> str:
    """Return the id of a passage that came without one: a UUIDv5 of its text."""
    return str(uuid.uuid5(NAMESPACE, text))


def bool_mirror(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of ``metadata`` that are bools, as the strings "true" and "false" in the same places."""
    if _FLAT.issuperset(map(type, metadata.values())):
        return {}
    return {key: mirrored for key, value in metadata.items() if (mirrored := _mirror(value)) is not None}


def _mirror(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return bool_mirror(value) or None
    if isinstance(value, list):
        return [mirrored for item in value if (mirrored := _mirror(item)) is not None] or None
    return None


def window_payload(window: Window) -> dict[str, int]:
    """Return what the payload says about a window of a long passage."""
    return {"index": window.index, "count": window.count, "start": window.start, "end": window.end}


def window_from(payload: Mapping[str, Any]) -> Window:
    """Return the window that a stored payload describes."""
    stored = payload.get(WINDOW)
    if stored is None:
        return Window(0, 1, 0, len(payload.get(TEXT, "")))
    return Window(stored["index"], stored["count"], stored["start"], stored["end"])


def window_count(payload: Mapping[str, Any]) -> int:
    """Return how many windows the passage of a stored payload has."""
    stored = payload.get(WINDOW)
    return 1 if stored is None else int(stored["count"])
