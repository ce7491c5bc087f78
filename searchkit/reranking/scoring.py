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
_SMALLEST_BATCH = 128  # tokens; a call is not split below this to give every core a part
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
    runner = _Runner(engine, pairs, token_budget)
    start = 0
    while start < len(pairs):
        stop = runner.stretch_end(start, pace.tokens_within(deadline.remaining_s))
        if stop == start:
            break
        rows = np.arange(start, stop)
        began = time.perf_counter()
        runner.run(rows, logits)
        pace.record(int(runner.lengths[rows].sum()), time.perf_counter() - began)
        start = stop
    return logits


class _Runner:
    """Runs rows in batches; halves the budget when memory runs out and keeps it halved for the rest of the call."""

    def __init__(self, engine: Engine, pairs: Sequence[TokenPair], token_budget: int) -> None:
        self.lengths = np.array([len(pair.ids) for pair in pairs], dtype=np.int64)
        self._engine = engine
        self._pairs = pairs
        self._budget = token_budget

    def stretch_end(self, start: int, allowance: float) -> int:
        """Return where the next stretch ends if ``allowance`` tokens may be started now; ``start`` for none.

        The first pair of a call is tried whenever there is any time at all: without a try the pace would stay what it
        was at the engine's worst moment.
        """
        if math.isinf(allowance):
            return len(self._pairs)
        tokens = min(allowance, self._budget * self._engine.lanes)
        fitting = int(np.searchsorted(np.cumsum(self.lengths[start:]), tokens, side="right"))
        is_first = start == 0 and allowance > 0
        return start + max(fitting, int(is_first))

    def run(self, rows: NDArray[np.int64], logits: NDArray[np.float32]) -> None:
        """Fill ``logits`` at ``rows``."""
        while True:
            batches = [rows[batch] for batch in token_budget_batches(self.lengths[rows], self._shared_budget(rows))]
            try:
                found = self._engine.run([pack([self._pairs[row] for row in batch]) for batch in batches])
                break
            except OutOfMemoryError as error:
                largest = max(len(batch) * int(self.lengths[batch].max()) for batch in batches)
                longest = int(self.lengths[rows].max())
                if largest == longest:
                    raise DeviceMemoryError(
                        f"{self._engine.name} ran out of memory on a single pair of {longest} tokens; free memory, "
                        "lower max_length, or use device='cpu'."
                    ) from error
                self._budget = max(largest // 2, 1)
        for batch, values in zip(batches, found, strict=True):
            _check_finite(values, batch, self._engine.name)
            logits[batch] = values

    def _shared_budget(self, rows: NDArray[np.int64]) -> int:
        """Return the budget of a batch, smaller where few rows would leave lanes without one."""
        if self._engine.lanes == 1:
            return self._budget
        share = math.ceil(int(self.lengths[rows].sum()) / self._engine.lanes)
        return min(self._budget, max(share, _SMALLEST_BATCH))


def _check_finite(logits: NDArray[np.float32], batch: NDArray[np.int64], engine: str) -> None:
    unusable = np.flatnonzero(~np.isfinite(logits))
    if unusable.size:
        row = int(batch[unusable].min())
        raise RerankError(
            f"The cross-encoder returned {logits[unusable[0]]} for pair {row} ({engine}); the weights are damaged or "
            "overflow this precision: try precision='fp32'."
        )
