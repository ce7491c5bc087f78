"""Scores that do not depend on batch mates: every pair is computed in a shape that depends on nothing but itself.

The last bit of a matrix product depends on its shape, by which libraries choose kernels and the order of additions.
With the shape fixed, a row's value depends on that row alone. The price is what the tiles are filled up with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from searchkit.reranking.engines.base import Engine
from searchkit.reranking.engines.buckets import Bucket, fill, full_runs
from searchkit.reranking.packing import TokenBatch, length_classes, select

_TOKENS = 8192
_TOKEN_STEP = 512
_PAIRS = 128


@dataclass(frozen=True, slots=True)
class Tile:
    """Pairs of a batch, filled up to a fixed shape.

    Attributes:
        rows: Which pairs, shape ``(n,)``; they come first in ``batch``.
        batch: They and the dummies.
    """

    rows: NDArray[np.int64]
    batch: TokenBatch


class Tiling(Protocol):
    """A way to cut batches into tiles."""

    @property
    def token_budget(self) -> int:
        """Padded tokens in a batch that fill its tiles well."""

    def cut(self, batch: TokenBatch) -> list[Tile]:
        """Return tiles that hold every pair once."""


class PackedTiling:
    """For pairs laid end to end: so many tokens, so many sequences, the longest of a fixed length.

    Args:
        longest: Longest pair.
    """

    def __init__(self, longest: int) -> None:
        # Half of the sequences of full length would fill it, so that the dummies of a run can own what it leaves.
        tokens = max(min(_TOKENS, _PAIRS * longest // 2), 2 * longest + _PAIRS)
        self._bucket = Bucket(-(-tokens // _TOKEN_STEP) * _TOKEN_STEP, _PAIRS, longest)

    @property
    def token_budget(self) -> int:
        """Padded tokens in a batch that fill its tiles well."""
        return self._bucket.tokens - self._bucket.longest - self._bucket.pairs

    def cut(self, batch: TokenBatch) -> list[Tile]:
        """Return tiles that hold every pair once."""
        runs = full_runs(batch.lengths, self._bucket, guard=self._bucket.longest)
        every = np.arange(len(batch))
        return [
            Tile(every[run], fill(select(batch, every[run]), self._bucket, guard=self._bucket.longest)) for run in runs
        ]


class PaddedTiling:
    """For pairs in rectangles: so many rows, as wide as a pair's own length rounded up.

    Args:
        rows: Rows of a tile.
        step: What lengths are rounded up to.
        longest: What rounding does not go beyond: a model has no more positions.
    """

    def __init__(self, rows: int, step: int, longest: int) -> None:
        self._rows, self._step, self._longest = rows, step, longest

    @property
    def token_budget(self) -> int:
        """Padded tokens in a batch that fill its tiles well."""
        return 64 * self._rows * self._step

    def cut(self, batch: TokenBatch) -> list[Tile]:
        """Return tiles that hold every pair once."""
        return [
            self._tile(batch, rows[start : start + self._rows - 1])  # the last row is a dummy as wide as the tile
            for rows in length_classes(batch.lengths, self._step)
            for start in range(0, len(rows), self._rows - 1)
        ]

    def _tile(self, batch: TokenBatch, rows: NDArray[np.int64]) -> Tile:
        width = min(-(-int(batch.lengths[rows].max()) // self._step) * self._step, self._longest)
        part = select(batch, rows)
        return Tile(rows, fill(part, Bucket(len(part.ids) + width * (self._rows - len(rows)), self._rows, width)))


class InvariantEngine:
    """An engine whose batches are cut into tiles.

    Args:
        engine: What runs the tiles.
        tiling: How they are cut.
    """

    def __init__(self, engine: Engine, tiling: Tiling) -> None:
        self._engine = engine
        self._tiling = tiling

    @property
    def name(self) -> str:
        """The engine's, and what is special."""
        return f"{self._engine.name} batch-invariant"

    @property
    def token_budget(self) -> int:
        """Padded tokens in one batch that suit the tiles."""
        return self._tiling.token_budget

    @property
    def lanes(self) -> int:
        """How many batches it works on at once."""
        return self._engine.lanes

    def run(self, batches: Sequence[TokenBatch]) -> list[NDArray[np.float32]]:
        """Return the logits of each batch, shape ``(pairs,)`` each.

        Raises:
            OutOfMemoryError: A tile does not fit the device's memory.
        """
        cut = [self._tiling.cut(batch) for batch in batches]
        found = iter(self._engine.run([tile.batch for tiles in cut for tile in tiles]))
        logits = [np.empty(len(batch), dtype=np.float32) for batch in batches]
        for values, tiles in zip(logits, cut, strict=True):
            for tile in tiles:
                values[tile.rows] = next(found)[: len(tile.rows)]
        return logits
