"""How far logits are from a reference's: in order, at the top, and in value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from searchkit.benchmarking.report import Fidelity

Floats = NDArray[np.floating]


def fidelity(contestant: str, reference: str, found: Sequence[Floats], expected: Sequence[Floats]) -> Fidelity:
    """Return how well ``found`` agrees with ``expected``, query by query.

    Args:
        contestant: Whose logits are compared.
        reference: Whose logits they are compared with.
        found: One array of logits a query.
        expected: The reference's, in the same order; at least one query.
    """
    both = list(zip(found, expected, strict=True))
    spearmans = [spearman(one, other) for one, other in both]
    every, all_expected = (np.concatenate([pair[side] for pair in both]).astype(np.float64) for side in (0, 1))
    spread = float(all_expected.std())
    return Fidelity(
        contestant=contestant,
        reference=reference,
        pairs=len(every),
        spearman_mean=float(np.mean(spearmans)),
        spearman_min=min(spearmans),
        kendall_mean=float(np.mean([kendall(one, other) for one, other in both])),
        top10_overlap=float(np.mean([top_overlap(one, other) for one, other in both])),
        max_logit_difference=float(np.abs(every - all_expected).max()),
        error_over_std=float((every - all_expected).std()) / spread if spread else 0.0,
    )


def spearman(found: Floats, expected: Floats) -> float:
    """Return the rank correlation, -1..1; 1 where both are constant, 0 where one is."""
    first, second = (_ranks(values) for values in (found, expected))
    first, second = first - first.mean(), second - second.mean()
    scale = float(np.sqrt((first @ first) * (second @ second)))
    if scale == 0.0:
        return float(not first.any() and not second.any())
    return float(first @ second) / scale


def kendall(found: Floats, expected: Floats) -> float:
    """Return Kendall's tau-b, -1..1; 1 where both are constant, 0 where one is. Memory grows with the square."""
    first, second = (np.sign(values[:, None] - values[None, :]) for values in (found, expected))
    scale = float(np.sqrt((first * first).sum() * (second * second).sum()))
    if scale == 0.0:
        return float(not first.any() and not second.any())
    return float((first * second).sum()) / scale


def top_overlap(found: Floats, expected: Floats, count: int = 10) -> float:
    """Return the share of the reference's best ``count`` that are among the best ``count`` found, 0..1.

    Equal logits keep the order given, as the search does.
    """
    first, second = (set(np.argsort(-values, kind="stable")[:count].tolist()) for values in (found, expected))
    return len(first & second) / max(len(second), 1)


def _ranks(values: Floats) -> NDArray[np.float64]:
    """Return 1-based ranks, the mean rank for equal values."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    means: NDArray[np.float64] = last - (counts - 1) / 2
    return means[place]
