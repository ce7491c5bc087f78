"""Is one run better than another, or only luckier with these queries? Paired resampling, seeded and vectorised.

Sources: Efron and Tibshirani, An Introduction to the Bootstrap (1993), for the percentile interval; Smucker, Allan and
Carterette, CIKM 2007, for the permutation test as the one to trust in retrieval; Holm, Scandinavian Journal of
Statistics 1979, for several comparisons at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from searchkit.errors import ConfigError

_CELLS_AT_ONCE = 2_000_000
_EXACT_UP_TO = 14


class Interval(NamedTuple):
    """A confidence interval of a mean."""

    low: float
    high: float


def paired_bootstrap(
    differences: NDArray[np.float64], *, confidence: float = 0.95, rounds: int = 10_000, seed: int = 42
) -> Interval:
    """Return the percentile bootstrap interval of the mean difference.

    Args:
        differences: One value a query: measure under one system minus measure under the other, shape ``(n,)``.
        confidence: Share of the resampled means that lie inside, 0..1.
        rounds: Resamples; the interval's ends are stable to about two digits at 10,000.
        seed: Same seed, same interval.

    Raises:
        ConfigError: There are no differences, one is not finite, or an argument is out of range.
    """
    values = _checked(differences, rounds)
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence={confidence} must lie between 0 and 1, such as 0.95")
    rng = np.random.default_rng(seed)
    means = np.concatenate(
        [
            values[rng.integers(0, len(values), size=(count, len(values)))].mean(axis=1)
            for count in _chunks(rounds, len(values))
        ]
    )
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def paired_permutation_test(differences: NDArray[np.float64], *, rounds: int = 10_000, seed: int = 42) -> float:
    """Return the two-sided p-value of "both systems are equally good".

    Under that hypothesis each difference could as well have the other sign. Up to 14 queries that differ, all sign
    patterns are counted and the value is exact; beyond, ``rounds`` random ones are, and the value is never below
    ``1 / (rounds + 1)``.

    Args:
        differences: One value a query, shape ``(n,)``.
        rounds: Random sign patterns.
        seed: Same seed, same value.

    Raises:
        ConfigError: There are no differences, one is not finite, or an argument is out of range.
    """
    values = _checked(differences, rounds)
    values = values[values != 0]
    if len(values) == 0:
        return 1.0
    # Sums of the same numbers in another order differ in the last bits; a tie must still count as one.
    observed = abs(values.sum()) * (1 - 1e-12)
    if len(values) <= _EXACT_UP_TO:
        patterns = np.arange(2 ** len(values))[:, None] >> np.arange(len(values)) & 1
        return float(np.mean(np.abs((2.0 * patterns - 1.0) @ values) >= observed))
    rng = np.random.default_rng(seed)
    extreme = 0
    for count in _chunks(rounds, len(values)):
        signs = rng.integers(0, 2, size=(count, len(values)), dtype=np.int8) * 2.0 - 1.0
        extreme += int(np.count_nonzero(np.abs(signs @ values) >= observed))
    return (extreme + 1) / (rounds + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values corrected for having made several comparisons, in the same order (Holm's step-down)."""
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values, dtype=np.float64)[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return [float(value) for value in corrected]


def _checked(differences: NDArray[np.float64], rounds: int) -> NDArray[np.float64]:
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise ConfigError(f"differences of shape {values.shape}: give one finite number a query, at least one")
    if rounds < 1:
        raise ConfigError(f"rounds={rounds} must be 1 or more")
    return values


def _chunks(rounds: int, width: int) -> Iterator[int]:
    """Split the rounds so that a chunk of ``width`` columns fits into memory."""
    step = max(1, _CELLS_AT_ONCE // width)
    for start in range(0, rounds, step):
        yield min(step, rounds - start)
