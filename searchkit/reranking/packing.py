"""From the token ids of queries and texts to batches of pairs: composition, truncation, packing. Pure.

A pair's ids are composed from the ids of its two texts, so that a query is tokenized once and a text's cached ids can
be used as they are. Truncation is the tokenizer's own "longest_first".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searchkit.models.tokenizer import Padding

Ids = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class PairTemplate:
    """How a tokenizer joins two texts: ``prefix first middle second suffix``.

    Attributes:
        prefix: Special ids before the first text ("[CLS]").
        middle: Special ids between the texts ("[SEP]").
        suffix: Special ids after the second text ("[SEP]").
        prefix_types: Token types of ``prefix``, of the same length; likewise ``middle_types`` and ``suffix_types``.
        middle_types: Token types of ``middle``.
        suffix_types: Token types of ``suffix``.
        first_type: Token type of the first text.
        second_type: Token type of the second text.
    """

    prefix: tuple[int, ...]
    middle: tuple[int, ...]
    suffix: tuple[int, ...]
    prefix_types: tuple[int, ...]
    middle_types: tuple[int, ...]
    suffix_types: tuple[int, ...]
    first_type: int = 0
    second_type: int = 0

    @property
    def special_count(self) -> int:
        """How many special ids every pair has."""
        return len(self.prefix) + len(self.middle) + len(self.suffix)


@dataclass(frozen=True, slots=True)
class TokenPair:
    """One (query, text) pair as the model reads it.

    Attributes:
        ids: Token ids, shape ``(length,)``, int32.
        type_ids: Token types, shape ``(length,)``, int32.
        truncated_tokens: Tokens of the second text that were cut off.
        query_truncated_tokens: Tokens of the first text that were cut off.
    """

    ids: Ids
    type_ids: Ids
    truncated_tokens: int = 0
    query_truncated_tokens: int = 0


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Pairs laid end to end, without padding.

    Attributes:
        ids: Token ids of all pairs, shape ``(total,)``, int32.
        type_ids: Token types, shape ``(total,)``, int32.
        starts: Where each pair starts, and the total at the end: shape ``(pairs + 1,)``, int32.
    """

    ids: Ids
    type_ids: Ids
    starts: Ids

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.starts) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Length of each pair in tokens, shape ``(pairs,)``."""
        return np.diff(self.starts).astype(np.int64)

    def padded(
        self, padding: Padding, multiple: int = 1, limit: int | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return ids, attention mask and token types, each of shape ``(pairs, width)``, int64.

        Args:
            padding: What fills the rows, and at which end.
            multiple: The width is the longest length, rounded up to a multiple of this.
            limit: What rounding does not go beyond.
        """
        lengths = self.lengths
        longest = int(lengths.max(initial=0))
        width = -(-longest // multiple) * multiple
        width = width if limit is None else max(min(width, limit), longest)
        columns = np.arange(width)
        mask = columns < lengths[:, None]
        if padding.side == "left":
            mask = mask[:, ::-1]
        ids = np.full(mask.shape, padding.token_id, dtype=np.int64)
        type_ids = np.full(mask.shape, padding.type_id, dtype=np.int64)
        ids[mask] = self.ids
        type_ids[mask] = self.type_ids
        return ids, mask.astype(np.int64), type_ids


def kept_lengths(first: int, second: int, room: int) -> tuple[int, int]:
    """Return how many tokens of two texts survive "longest_first" truncation to ``room`` tokens.

    The longer text is cut down to the shorter one's length first; if both still do not fit, each gets half, the
    second (by length) the odd one. This is what ``tokenizers`` does (``truncate_encodings`` in its Rust source).
    """
    if first + second <= room:
        return first, second
    shorter, longer = min(first, second), max(first, second)
    longer = shorter if shorter > room else max(shorter, room - shorter)
    if shorter + longer > room:
        shorter = room // 2
        longer = shorter + room % 2
    return (longer, shorter) if first > second else (shorter, longer)


def compose(template: PairTemplate, first: Ids, second: Ids, max_length: int) -> TokenPair:
    """Join the ids of two texts as the tokenizer would, cut to ``max_length`` tokens; see `compose_all`."""
    return compose_all(template, [(first, second)], max_length)[0]


def compose_all(template: PairTemplate, pairs: Sequence[tuple[Ids, Ids]], max_length: int) -> list[TokenPair]:
    """Join the ids of each query and text as the tokenizer would, cut to ``max_length`` tokens.

    All pairs lie in one array, of which each holds a part: a hundred small arrays would cost more than the rest.

    Args:
        template: How the tokenizer joins.
        pairs: Ids of queries and texts without special tokens, shape ``(n,)`` each, int32.
        max_length: Longest pair, special tokens included; more than ``template.special_count``.
    """
    if not pairs:
        return []
    t = template
    prefix, middle, suffix = (np.asarray(ids, dtype=np.int32) for ids in (t.prefix, t.middle, t.suffix))
    room = max_length - t.special_count
    kept = [kept_lengths(len(first), len(second), room) for first, second in pairs]
    parts: list[Ids] = []
    for (first, second), (kept_first, kept_second) in zip(pairs, kept, strict=True):
        parts += (prefix, first[:kept_first], middle, second[:kept_second], suffix)
    ids = np.concatenate(parts)
    types = (*t.prefix_types, t.first_type, *t.middle_types, t.second_type, *t.suffix_types)
    runs = np.ones((len(pairs), len(types)), dtype=np.int64)
    runs[:, [len(t.prefix), len(t.prefix) + 1 + len(t.middle)]] = kept
    type_ids = np.repeat(np.tile(np.asarray(types, dtype=np.int32), len(pairs)), runs.ravel())
    ends = runs.sum(axis=1).cumsum().tolist()
    return [
        TokenPair(ids[start:end], type_ids[start:end], len(second) - kept_second, len(first) - kept_first)
        for start, end, (first, second), (kept_first, kept_second) in zip(
            [0, *ends[:-1]], ends, pairs, kept, strict=True
        )
    ]


def pack(pairs: Sequence[TokenPair]) -> TokenBatch:
    """Lay pairs end to end.

    Args:
        pairs: At least one pair.
    """
    starts = np.zeros(len(pairs) + 1, dtype=np.int32)
    np.cumsum([len(pair.ids) for pair in pairs], out=starts[1:])
    return TokenBatch(
        ids=np.concatenate([pair.ids for pair in pairs]),
        type_ids=np.concatenate([pair.type_ids for pair in pairs]),
        starts=starts,
    )


def select(batch: TokenBatch, rows: NDArray[np.int64]) -> TokenBatch:
    """Return some pairs of a batch, in the order of ``rows``; at least one."""
    spans = [slice(int(batch.starts[row]), int(batch.starts[row + 1])) for row in rows]
    return pack([TokenPair(batch.ids[span], batch.type_ids[span]) for span in spans])


def length_classes(lengths: NDArray[np.int64], step: int) -> list[NDArray[np.int64]]:
    """Return the rows of each class of lengths, longest first: lengths that are equal when rounded up to ``step``.

    A pair's class depends on nothing but its own length. Rows of a class keep their order.
    """
    rounded = -(-lengths // step)
    return [np.flatnonzero(rounded == size) for size in np.unique(rounded)[::-1]]
