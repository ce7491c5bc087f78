"""Texts longer than a cross-encoder reads, cut into windows that it can read whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from typing_extensions import Protocol, runtime_checkable

from searchkit.collection.windows import WindowPlan, split
from searchkit.stages import Candidate, Span, TokenReader, Window

SPECIAL_TOKENS = 4
"""Room for the tokens that join query and text: BERT takes three, RoBERTa four."""

LEAST_SHARE = 4
"""A text gets at least 1/4 of the model's length, however long the query is."""

BYTES_PER_TOKEN = 2
"""Texts of fewer bytes a token are not measured: real text has three to five. Should one be too long after all, the
reranker cuts it and the result counts it as truncated."""


@runtime_checkable
class SpanReader(Protocol):
    """A reranker that tells how much it reads and where its tokens lie."""

    @property
    def max_length(self) -> int:
        """Longest pair in tokens, special tokens included."""

    def token_spans(self, text: str) -> list[Span]:
        """Return the character offsets of the text's tokens, without special tokens and without truncation."""


def readable_windows(
    candidates: Sequence[Candidate], query: str, reader: SpanReader, *, overlap_tokens: int
) -> list[Candidate]:
    """Return the candidates in order, each that is too long for the model replaced by windows of it.

    The windows cover the whole text, keep its evidence, and say where they lie in the passage.

    Args:
        candidates: What stage 1 found.
        query: What the model reads as the query.
        reader: The reranker.
        overlap_tokens: Tokens that neighbouring windows share, at most a quarter of a window.
    """
    longest = reader.max_length - SPECIAL_TOKENS
    least = max(longest // LEAST_SHARE, 1)
    sure = max(longest - len(query.encode(errors="replace")), least)  # a token has at least one byte
    if not any(_may_exceed(candidate.text, sure) for candidate in candidates):
        return list(candidates)
    room = max(longest - len(reader.token_spans(query)), least)
    plan = WindowPlan(room, min(overlap_tokens, room // 4))
    return [part for candidate in candidates for part in _parts(candidate, reader, plan)]


def _may_exceed(text: str, tokens: int) -> bool:
    # The number of characters is at hand; a character has at most four bytes.
    return len(text) * 4 > tokens * BYTES_PER_TOKEN and len(text.encode(errors="replace")) > tokens * BYTES_PER_TOKEN


def _is_known_to_fit(candidate: Candidate, reader: SpanReader, plan: WindowPlan) -> bool:
    """Whether the stored token ids say that the text is short enough, so that it need not be tokenized to know."""
    if candidate.token_ids is None or not isinstance(reader, TokenReader):
        return False
    count = reader.token_count(candidate.text, candidate.token_ids)
    return count is not None and count <= plan.max_tokens


def _parts(candidate: Candidate, reader: SpanReader, plan: WindowPlan) -> list[Candidate]:
    if not _may_exceed(candidate.text, plan.max_tokens) or _is_known_to_fit(candidate, reader, plan):
        return [candidate]
    windows = split(candidate.text, reader.token_spans, plan)
    if len(windows) == 1:
        return [candidate]
    outer = candidate.window
    return [
        replace(
            candidate,
            text=candidate.text[window.start : window.end],
            window=Window(
                window.index, max(outer.count, window.count), outer.start + window.start, outer.start + window.end
            ),
            # A stretch of the passage's ids is not always what the window alone is tokenized to: a tokenizer that
            # marks the beginning of a word by the space before it reads the first word of a window as another token.
            token_ids=None,
        )
        for window in windows
    ]
