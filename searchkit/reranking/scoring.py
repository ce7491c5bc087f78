"""Runs pairs through an engine in token-budget batches: in time, within memory, and refusing NaN."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from searchkit.deadline import Deadline
from searchkit.errors import DeviceMemoryError, RerankError
from searchkit.models.batching import token_budget_batches
from searchkit.reranking.engines.base import Engine, OutOfMemoryError
from searchkit.reranking.packing import TokenPair, pack

_FIRST_TOKENS = 512  # what is risked under a deadline before anything is known of the engine's speed
_CAUTION = 0.8  # share of the remaining time that is planned for: speed varies
_MEMORY = 0.3  # weight of the newest measurement in the running mean of the speed


class Pace:
    """Tokens a second that an engine has shown. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens_per_s = 0.0

    def record(self, tokens: int, seconds: float) -> None:
        """Enter one batch."""
        speed = tokens / max(seconds, 1e-6)
        with self._lock:
            known = self._tokens_per_s
            self._tokens_per_s = speed if known == 0.0 else (1 - _MEMORY) * known + _MEMORY * speed

    def tokens_within(self, seconds: float) -> float:
        """Return how many tokens may be started with so much time left; infinity if there is no limit."""
        if seconds <= 0.0 or math.isinf(seconds):
            return seconds
        with self._lock:
            return self._tokens_per_s * seconds * _CAUTION if self._tokens_per_s else _FIRST_TOKENS


def score(
    engine: Engine, pairs: Sequence[TokenPair], *, token_budget: int, deadline: Deadline, pace: Pace
) -> NDArray[np.float32]:
    """Return the logit of each pair, shape ``(n,)``, float32; NaN where the deadline left it unscored.

    Without a deadline all pairs are sorted by length into batches. With one they are scored in stretches, in the order
    given, each no longer than what the engine's pace allows in the time left.

    Args:
        engine: What runs the model.
        pairs: Token ids.
        token_budget: Padded tokens in one batch at most.
        deadline: When to stop.
        pace: The engine's speed so far; updated.

    Raises:
        RerankError: The model returned a value that is not finite; the message names the pair.
        DeviceMemoryError: Not even one pair fits the device's memory.
    """
    logits = np.full(len(pairs), np.nan, dtype=np.float32)
    lengths = [len(pair.ids) for pair in pairs]
    runner = _Runner(engine, pairs, token_budget, pace)
    start = 0
    while start < len(pairs):
        allowance = pace.tokens_within(deadline.remaining_s)
        if math.isinf(allowance):
            stop = len(pairs)
        else:
            stop = _stop(lengths, start, min(allowance, token_budget), is_first=start == 0 and allowance > 0)
        if stop == start:
            break
        runner.run(np.arange(start, stop), logits)
        start = stop
    return logits


def _stop(lengths: Sequence[int], start: int, tokens: float, *, is_first: bool) -> int:
    """Where the next stretch ends; the first pair is tried whenever there is any time at all."""
    stop, left = start, tokens
    while stop < len(lengths) and lengths[stop] <= left:
        left -= lengths[stop]
        stop += 1
    return max(stop, start + 1) if is_first else stop


class _Runner:
    """Runs rows in batches; halves the budget when memory runs out and keeps it halved for the rest of the call."""

    def __init__(self, engine: Engine, pairs: Sequence[TokenPair], token_budget: int, pace: Pace) -> None:
        self._engine = engine
        self._pairs = pairs
        self._budget = token_budget
        self._pace = pace

    def run(self, rows: NDArray[np.int64], logits: NDArray[np.float32]) -> None:
        """Fill ``logits`` at ``rows``."""
        pending = self._batches(rows)
        while pending:
            batch = pending.pop(0)
            try:
                found = self._timed(batch)
            except OutOfMemoryError as error:
                if len(batch) == 1:
                    raise DeviceMemoryError(
                        f"{self._engine.name} ran out of memory on a single pair of {len(self._pairs[batch[0]].ids)} "
                        "tokens; free memory, lower max_length, or use device='cpu'."
                    ) from error
                self._budget = max(self._size(batch) // 2, 1)
                pending = self._batches(np.concatenate([batch, *pending]))
                continue
            _check_finite(found, batch, self._engine.name)
            logits[batch] = found

    def _timed(self, batch: NDArray[np.int64]) -> NDArray[np.float32]:
        started = time.perf_counter()
        found = self._engine.run(pack([self._pairs[row] for row in batch]))
        self._pace.record(self._size(batch), time.perf_counter() - started)
        return found

    def _batches(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        lengths = [len(self._pairs[row].ids) for row in rows]
        return [rows[batch] for batch in token_budget_batches(lengths, self._budget)]

    def _size(self, batch: NDArray[np.int64]) -> int:
        return len(batch) * max(len(self._pairs[row].ids) for row in batch)


def _check_finite(logits: NDArray[np.float32], batch: NDArray[np.int64], engine: str) -> None:
    unusable = np.flatnonzero(~np.isfinite(logits))
    if unusable.size:
        row = int(batch[unusable].min())
        raise RerankError(
            f"The cross-encoder returned {logits[unusable[0]]} for pair {row} ({engine}); the weights are damaged or "
            "overflow this precision: try precision='fp32'."
        )
