"""Splitting of long texts into overlapping windows along token borders. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searchkit.stages import Span, Window

SPLITTER = "windows-1"
"""Name of this way of splitting; part of the manifest, so change it when borders move."""

_SENTENCE_ENDS = frozenset(".!?\n\u3002\uff01\uff1f")
_SEARCHED_SHARE = 4
"""A border is looked for in the last 1/4 of a window; a shorter window would waste the encoder's length."""


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """Length and overlap of windows, both in tokens.

    Attributes:
        max_tokens: Longest window.
        overlap_tokens: Tokens that neighbouring windows share, less than ``max_tokens``.
    """

    max_tokens: int
    overlap_tokens: int


def split(text: str, token_spans: Callable[[str], Sequence[Span]], plan: WindowPlan) -> list[Window]:
    """Return the windows of ``text``, in order.

    Together they cover every character; neighbours touch or overlap; none holds more than ``plan.max_tokens`` tokens
    and no token is cut, unless tokens overlap each other for longer than a window. Borders fall on the end of a
    sentence where there is one near, else between words, else between tokens.

    Args:
        text: The text.
        token_spans: Tells the character offsets of a text's tokens; not called for texts that must be short enough.
        plan: Length and overlap.
    """
    # A token covers at least one byte, so this few bytes cannot be too many tokens.
    if len(text) <= plan.max_tokens and len(text.encode()) <= plan.max_tokens:
        return [Window(0, 1, 0, len(text))]
    spans = token_spans(text)
    if len(spans) <= plan.max_tokens:
        return [Window(0, 1, 0, len(text))]
    borders = _Borders(text, spans)
    cuts = _token_ranges(borders, plan)
    return _windows(borders, cuts, len(text))


class _Borders:
    """Where a token sequence may be cut, and how good each place is."""

    def __init__(self, text: str, spans: Sequence[Span]) -> None:
        offsets = np.asarray(spans, dtype=np.int64).reshape(-1, 2)
        self.starts: NDArray[np.int64] = np.maximum.accumulate(offsets[:, 0])
        self.ends: NDArray[np.int64] = np.maximum.accumulate(offsets[:, 1])
        self.count = len(offsets)
        self._text = text

    def is_allowed(self, token: int) -> bool:
        """Whether a window may end before ``token``: no token lies across that place."""
        return token >= self.count or bool(self.starts[token] >= self.ends[token - 1])

    def is_word(self, token: int) -> bool:
        """Whether there is a gap before ``token``."""
        return token >= self.count or bool(self.starts[token] > self.ends[token - 1])

    def is_sentence(self, token: int) -> bool:
        """Whether a sentence or a line ends before ``token``."""
        if token >= self.count:
            return True
        end, start = int(self.ends[token - 1]), int(self.starts[token])
        between = self._text[max(0, end - 1) : start]
        return start > end and not _SENTENCE_ENDS.isdisjoint(between)

    def best(self, candidates: Sequence[int]) -> int | None:
        """Return the first sentence border of ``candidates``, else the first word border, else the first allowed."""
        for is_good in (self.is_sentence, self.is_word, self.is_allowed):
            for token in candidates:
                if is_good(token) and self.is_allowed(token):
                    return token
        return None


def _token_ranges(borders: _Borders, plan: WindowPlan) -> list[tuple[int, int]]:
    """Return the ``(first, end)`` token indices of each window."""
    ranges: list[tuple[int, int]] = []
    first = end = 0
    while True:
        last_end = end
        found = _end_of(borders, first, last_end, plan)
        if found is None:  # what follows does not fit beside the overlap: do without it
            first = last_end
            found = _end_of(borders, first, last_end, plan)
        if found is None:  # tokens overlap each other for a whole window: none may be cut, so it grows
            longer = range(first + plan.max_tokens + 1, borders.count + 1)
            found = next(token for token in longer if borders.is_allowed(token))
        end = found
        ranges.append((first, end))
        if end >= borders.count:
            return ranges
        first = _next_first(borders, first, end, plan)


def _end_of(borders: _Borders, first: int, last_end: int, plan: WindowPlan) -> int | None:
    """Return where the window that starts at ``first`` ends, always beyond ``last_end``; ``None`` if it cannot."""
    limit = first + plan.max_tokens
    if limit >= borders.count:
        return borders.count
    earliest = max(limit - plan.max_tokens // _SEARCHED_SHARE, last_end + 1)
    end = borders.best(range(limit, earliest - 1, -1))
    return borders.best(range(earliest - 1, last_end, -1)) if end is None else end


def _next_first(borders: _Borders, first: int, end: int, plan: WindowPlan) -> int:
    """Return where the next window starts: before a word within the overlap or a little before it, if there is one."""
    wanted = max(first + 1, end - plan.overlap_tokens)
    earliest = max(first + 1, wanted - plan.overlap_tokens // 2)
    for near in (range(wanted, end), range(wanted - 1, earliest - 1, -1)):
        for token in near:
            if borders.is_word(token):
                return token
    return next((token for token in range(wanted, end) if borders.is_allowed(token)), end)


def _windows(borders: _Borders, ranges: Sequence[tuple[int, int]], text_length: int) -> list[Window]:
    count = len(ranges)
    windows = []
    for index, (first, end) in enumerate(ranges):
        is_last = index == count - 1
        next_start = text_length if is_last else int(borders.starts[ranges[index + 1][0]])
        start_char = 0 if index == 0 else int(borders.starts[first])
        end_char = text_length if is_last else max(int(borders.ends[end - 1]), next_start)
        windows.append(Window(index, count, start_char, end_char))
    return windows


def stitch(parts: Sequence[tuple[Window, str]]) -> str:
    """Return the whole text from all windows of a passage with their texts, in any order.

    Raises:
        ValueError: Windows are missing or do not belong together.
    """
    ordered = sorted(parts, key=lambda part: part[0].index)
    if [window.index for window, _ in ordered] != list(range(ordered[0][0].count)):
        present = [window.index for window, _ in ordered]
        raise ValueError(f"{ordered[0][0].count} windows expected, found {present}")
    pieces: list[str] = []
    position = 0
    for window, text in ordered:
        if window.start > position or window.end - window.start != len(text):
            raise ValueError(f"window {window.index} does not join the one before it")
        pieces.append(text[position - window.start :])
        position = window.end
    return "".join(pieces)
