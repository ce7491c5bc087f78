"""Passages that are to be written, as windows, texts and payloads. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from searchkit.collection.passages import Record
from searchkit.collection.schema import FLAGS, HASH, ID, METADATA, TEXT, TOKENS, WINDOW, bool_mirror, window_payload
from searchkit.stages import Window


@dataclass(frozen=True, slots=True)
class Change:
    """A passage to be written: its windows, and how many the stored version has (0 for a new passage)."""

    record: Record
    windows: Sequence[Window]
    stored_count: int


def texts_of(changes: Sequence[Change]) -> list[str]:
    """Return the text of each window, in order."""
    return [
        change.record.text if window.count == 1 else change.record.text[window.start : window.end]
        for change in changes
        for window in change.windows
    ]


def is_long(change: Change) -> bool:
    """Whether the passage has several windows, or had."""
    return change.stored_count > 1 or len(change.windows) > 1


def write_order(changes: Sequence[Change]) -> list[tuple[int, Change, Window]]:
    """Return (row of the vector, passage, window), the first window of each passage last."""
    rows: list[tuple[int, Change, Window]] = []
    row = 0
    for change in changes:
        first = row
        for window in change.windows[1:]:
            row += 1
            rows.append((row, change, window))
        rows.append((first, change, change.windows[0]))
        row += 1
    return rows


def payload_of(record: Record, window: Window, tokens: str | None) -> dict[str, object]:
    """Return what is stored of a window beside its vectors; nothing is copied."""
    payload: dict[str, object] = {ID: record.id, TEXT: record.text, HASH: record.hash}
    if record.metadata:
        payload[METADATA] = record.metadata
        flags = bool_mirror(record.metadata)
        if flags:
            payload[FLAGS] = flags
    if window.count > 1:
        payload[TEXT] = record.text[window.start : window.end]
        payload[WINDOW] = window_payload(window)
    if tokens is not None:
        payload[TOKENS] = tokens
    return payload
