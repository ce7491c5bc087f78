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
    """

    ids: Ids
    type_ids: Ids
    truncated_tokens: int = 0


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

    def padded(self, padding: Padding) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return ids, attention mask and token types, each of shape ``(pairs, longest)``, int64."""
        lengths = self.lengths
        width = int(lengths.max(initial=0))
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
    """Join the ids of two texts as the tokenizer would, cut to ``max_length`` tokens.

    Args:
        template: How the tokenizer joins.
        first: Ids of the query without special tokens, shape ``(n,)``, int32.
        second: Ids of the text without special tokens, shape ``(m,)``, int32.
        max_length: Longest pair, special tokens included; more than ``template.special_count``.
    """
    kept_first, kept_second = kept_lengths(len(first), len(second), max_length - template.special_count)
    t = template
    ids = np.concatenate(
        [
            np.asarray(t.prefix, dtype=np.int32),
            first[:kept_first],
            np.asarray(t.middle, dtype=np.int32),
            second[:kept_second],
            np.asarray(t.suffix, dtype=np.int32),
        ]
    )
    types = (*t.prefix_types, *[t.first_type] * kept_first, *t.middle_types, *[t.second_type] * kept_second)
    type_ids = np.asarray((*types, *t.suffix_types), dtype=np.int32)
    return TokenPair(ids, type_ids, len(second) - kept_second)


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
