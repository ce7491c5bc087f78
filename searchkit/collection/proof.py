"""Whether stored passages are what was written: all windows there, and text and metadata as their digest says. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal

from searchkit.collection.passages import content_hash
from searchkit.collection.schema import (
    HASH,
    ID,
    METADATA,
    TEXT,
    TOKENS,
    key_of,
    passage_key,
    window_count,
    window_from,
    window_index_of,
)
from searchkit.collection.scope import scope_of
from searchkit.collection.windows import stitch
from searchkit.errors import ConfigError
from searchkit.types import PassageId

Payload = Mapping[str, Any]
Windows = Sequence[tuple[int, Payload]]
"""The stored points of one passage, with their payloads."""

Verdict = Literal["whole", "orphaned", "torn", "changed"]
"""whole; windows without their first one; windows missing or of two versions; another text than was written."""

_TAG_CHARS = 8
"""Beginning of stored token ids that tells tokenizers apart."""
_MOST_SCOPE_FIELDS = 2
_MOST_METADATA_FIELDS = 24


@dataclass(slots=True)
class Proof:
    """What reading all passages of a store found.

    Attributes:
        passages: Passages that are whole.
        points: Points that were read.
        orphans: Points of passages without their first window.
        torn: Ids of passages whose writing was interrupted.
        changed: Ids of passages that are not what was written; ``None`` where not even the id can be read.
        bad_points: The points of torn and changed passages.
        tokens: Points with token ids for the second stage, counted by tokenizer, each with one of the stored strings.
    """

    passages: int = 0
    points: int = 0
    orphans: list[int] = field(default_factory=list)
    torn: list[PassageId | None] = field(default_factory=list)
    changed: list[PassageId | None] = field(default_factory=list)
    bad_points: list[int] = field(default_factory=list)
    tokens: dict[str, tuple[int, str]] = field(default_factory=dict)

    def enter(self, windows: Windows, verdict: Verdict) -> None:
        """Count one passage."""
        self.points += len(windows)
        points = [point for point, _ in windows]
        if verdict == "whole":
            self.passages += 1
            for _, payload in windows:
                self._enter_tokens(payload)
        elif verdict == "orphaned":
            self.orphans += points
        else:
            (self.torn if verdict == "torn" else self.changed).append(_id_of(windows))
            self.bad_points += points

    def _enter_tokens(self, payload: Payload) -> None:
        stored = payload.get(TOKENS)
        if isinstance(stored, str):
            tag = stored[:_TAG_CHARS]
            self.tokens[tag] = (self.tokens.get(tag, (0, stored))[0] + 1, stored)


def grouped(points: Iterable[tuple[int, Payload]]) -> Iterator[list[tuple[int, Payload]]]:
    """Return the points of each passage together; engines give them in the order of ids, which keeps them so."""
    group: list[tuple[int, Payload]] = []
    for point, payload in points:
        if group and key_of(group[0][0]) != key_of(point):
            yield group
            group = []
        group.append((point, payload))
    if group:
        yield group


def judge(windows: Windows, *, is_id_doubtful: bool = False) -> Verdict:
    """Return whether a passage is what was written.

    Args:
        windows: All of its stored points.
        is_id_doubtful: Whether the store may have mixed up which payload belongs to which point.
    """
    try:
        return _judged(windows, is_id_doubtful=is_id_doubtful)
    except (AttributeError, KeyError, TypeError, ValueError):  # a damaged payload can have any form
        return "changed"


def _judged(windows: Windows, *, is_id_doubtful: bool) -> Verdict:
    firsts = [payload for point, payload in windows if not window_index_of(point)]
    if not firsts:
        return "orphaned"
    first = firsts[0]
    digest = first[HASH]
    parts = [payload for _, payload in windows]
    if len(parts) != window_count(first) or any(payload[HASH] != digest for payload in parts):
        return "torn"
    text = first[TEXT] if len(parts) == 1 else _stitched(parts)
    if text is None:
        return "torn"
    metadata = first.get(METADATA) or {}
    is_same = all((payload.get(METADATA) or {}) == metadata and payload[ID] == first[ID] for payload in parts)
    if not is_same or content_hash(text, metadata) != digest:
        return "changed"
    return "changed" if is_id_doubtful and not _is_place_of(windows[0][0], first[ID], metadata) else "whole"


def _stitched(parts: Sequence[Payload]) -> str | None:
    try:
        return stitch([(window_from(part), part[TEXT]) for part in parts])
    except ValueError:
        return None


def _is_place_of(point: int, passage_id: PassageId, metadata: Mapping[str, Any]) -> bool:
    """Whether a passage of this id lies at this point: written without a scope, or through one of a few fields."""
    key = key_of(point)
    if passage_key(passage_id) == key:
        return True
    if len(metadata) > _MOST_METADATA_FIELDS:
        return False
    return any(
        _scoped_key(passage_id, {name: metadata[name] for name in names}) == key
        for size in range(1, _MOST_SCOPE_FIELDS + 1)
        for names in combinations(metadata, size)
    )


def _scoped_key(passage_id: PassageId, fields: dict[str, Any]) -> int | None:
    try:
        return scope_of(fields).key(passage_id)
    except ConfigError:
        return None


def _id_of(windows: Windows) -> PassageId | None:
    for _, payload in windows:
        stored = payload.get(ID)
        if isinstance(stored, str | int):
            return stored
    return None
