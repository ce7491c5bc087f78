"""Batches of a few fixed shapes, for what has to be recorded or repeated shape by shape. Pure.

A batch is filled up with dummy sequences that own the spare rows, so that every row belongs to a sequence: rows that no
sequence covers hold whatever memory held, and NaN spreads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searchkit.reranking.packing import TokenBatch

_TOKEN_STEP = 512
_MOST_TOKENS = 32768
_PAIRS = (8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
_LONGEST = (128, 256, 512)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A shape.

    Attributes:
        tokens: Rows, dummies included.
        pairs: Sequences, dummies included.
        longest: No sequence is longer. Kernels are launched for it, so it belongs to the shape.
    """

    tokens: int
    pairs: int
    longest: int


def smallest_bucket(tokens: int, pairs: int, longest: int, limit: int = _LONGEST[-1]) -> Bucket | None:
    """Return the smallest bucket for a batch, or ``None`` if it is too large for any.

    Args:
        tokens: Rows of the batch.
        pairs: Its sequences.
        longest: Its longest sequence.
        limit: Longest sequence that the model can read: a dummy may be as long as ``Bucket.longest``.
    """
    reach = next((size for size in _LONGEST if longest <= size), None)
    if reach is None:
        return None
    reach = min(reach, limit)
    for count in _PAIRS:
        spare = count - pairs
        if spare < 0:
            continue
        rounded = -(-(tokens + spare) // _TOKEN_STEP) * _TOKEN_STEP  # a row for each dummy at least
        if rounded > _MOST_TOKENS:
            return None
        if rounded - tokens <= spare * reach:
            return Bucket(rounded, count, reach)
    return None


def fill(batch: TokenBatch, bucket: Bucket, *, guard: int = 0) -> TokenBatch:
    """Return ``batch`` with dummy sequences at its end, of the bucket's size exactly.

    Args:
        batch: One that fits: the spare rows suffice for the spare sequences, and those for the rows.
        bucket: The shape.
        guard: Length of the first dummy, whatever the others have; 0 for one like the others.
    """
    spare_rows, spare = bucket.tokens - len(batch.ids), bucket.pairs - len(batch)
    lengths = _guarded(spare_rows, spare, guard) if guard else _shared(spare_rows, spare)
    ends = batch.starts[-1] + np.cumsum(lengths, dtype=np.int32)
    nothing = np.zeros(spare_rows, dtype=np.int32)
    return TokenBatch(
        ids=np.concatenate([batch.ids, nothing]),
        type_ids=np.concatenate([batch.type_ids, nothing]),
        starts=np.concatenate([batch.starts, ends.astype(np.int32)]),
    )


def flatten(batch: TokenBatch, first_position: int, *, has_type_ids: bool) -> NDArray[np.int32]:
    """Return a batch as one array, for a single copy to a device: ids, positions, token types, starts.

    Shape ``(3 * tokens + pairs + 1,)``, int32.
    """
    total = len(batch.ids)
    flat = np.empty(3 * total + len(batch.starts), dtype=np.int32)
    flat[:total] = batch.ids
    places = np.repeat(batch.starts[:-1] - first_position, batch.lengths)
    np.subtract(np.arange(total, dtype=np.int32), places, out=flat[total : 2 * total])
    flat[2 * total : 3 * total] = batch.type_ids if has_type_ids else 0
    flat[3 * total :] = batch.starts
    return flat


def full_runs(lengths: Sequence[int] | NDArray[np.int64], bucket: Bucket, *, guard: int = 1) -> list[slice]:
    """Cut a row of sequences into runs that `fill` can bring to ``bucket``, each as long as possible.

    Args:
        lengths: Length of each sequence, none above ``bucket.longest``.
        bucket: The shape; ``pairs`` is well above ``tokens / longest``, and ``tokens`` at least
            ``longest + guard + pairs``.
        guard: Length of the first dummy at least.
    """
    tokens_for_pairs = bucket.tokens - (guard - 1)
    most = bucket.pairs - -(-bucket.tokens // bucket.longest)  # the dummies of a run may have to own nearly every row
    runs: list[slice] = []
    start, tokens = 0, 0
    for place, length in enumerate(lengths):
        count = place + 1 - start
        if count > most or tokens + length > tokens_for_pairs - (bucket.pairs - count):
            runs.append(slice(start, place))
            start, tokens = place, 0
        tokens += int(length)
    return [*runs, slice(start, len(lengths))]


def _shared(rows: int, sequences: int) -> NDArray[np.int64]:
    """Return lengths that differ by one at most and add up to ``rows``."""
    if not sequences:
        return np.zeros(0, dtype=np.int64)
    return rows // sequences + (np.arange(sequences) < rows % sequences).astype(np.int64)


def _guarded(rows: int, sequences: int, guard: int) -> NDArray[np.int64]:
    return np.concatenate([np.array([guard], dtype=np.int64), _shared(rows - guard, sequences - 1)])
