"""When to stop scoring: how many relevant hits the unscored candidates are expected to hold. Pure.

The second stage's log-odds of a query's candidates are regressed on the logarithm of their first-stage rank, over those
scored so far. The regression predicts each unscored candidate, with a Student-t spread that is wide while few are
scored and where the ranks lie far ahead. What counts is a candidate that would both be relevant and enter the hits:
the expected number of those is the sum over the candidates of the probability mass above the bar, each point weighted
with its own probability of relevance. With a bar that nothing irrelevant can fall below, irrelevant newcomers at the
end of the list are no reason to go on.

Where hits are ordered by the model alone (the blend is switched off), whether a passage enters is judged by the model
alone. Whether it is relevant is still judged by all that is known of it, if the profile has a blend to weigh that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from searchkit.config import Blend, RerankerProfile
from searchkit.reranking.calibration import probabilities, sigmoid
from searchkit.types import RetrievalEvidence

Floats = NDArray[np.float64]

_SLOPE_RIDGE = 1.0
"""Weight of the prior that says: no trend along the ranks."""

_LEAST_SPREAD = 0.5
"""Least standard deviation, in log-odds: candidates that agree by chance prove nothing."""

_GRID: Floats = np.linspace(-8.0, 8.0, 129)
"""Where the spread is evaluated, in standard deviations."""


def expected_missed(
    scored: Sequence[tuple[float, RetrievalEvidence]],
    rest: Sequence[RetrievalEvidence],
    profile: RerankerProfile,
    *,
    bar: float,
    blend: bool,
) -> float:
    """Return how many passages of ``rest`` are expected to be relevant and to score above ``bar``.

    Args:
        scored: Best logit and first-stage evidence of each passage scored so far, in any order; at least one.
        rest: First-stage evidence of the passages not scored, in any order; a missing rank counts as the last one.
        profile: Calibration and blend of the model.
        bar: Probability that a passage must exceed to be a hit.
        blend: Whether hits are ordered by the profile's blend.

    Returns:
        Between 0 and ``len(rest)``; never more for a higher bar.
    """
    if not rest:
        return 0.0
    evidence = [item for _, item in scored]
    logits = np.array([logit for logit, _ in scored], dtype=np.float64)
    last = max([item.rank or 1 for item in [*evidence, *rest]])
    model_part = _log_odds(logits, evidence, profile, blend=blend) - _known_part(evidence, profile, blend=blend)
    mean, spread = _predicted(_log_ranks(evidence, last), model_part, _log_ranks(rest, last))
    reached = mean[:, None] + spread[:, None] * _GRID
    scores = sigmoid(reached + _known_part(rest, profile, blend=blend)[:, None])
    chances = scores if blend or profile.blend is None else _relevance(reached, rest, profile, profile.blend)
    return float((np.where(scores > bar, chances, 0.0) * _student(len(scored))).sum())


def _relevance(reached: Floats, rest: Sequence[RetrievalEvidence], profile: RerankerProfile, mix: Blend) -> Floats:
    """Return by the blend how probably passages are relevant whose calibrated model parts are ``reached``.

    Without the blend the order is the model's alone. What the first stage says of a passage is true nevertheless.
    """
    blended = reached * (mix.logit_weight / profile.calibration.slope)
    return sigmoid(blended + _known_part(rest, profile, blend=True)[:, None])


def _log_odds(
    logits: Floats, evidence: Sequence[RetrievalEvidence], profile: RerankerProfile, *, blend: bool
) -> Floats:
    chances = probabilities(logits, profile, evidence, blend=blend)
    odds: Floats = np.log(chances) - np.log1p(-chances)
    return odds


def _known_part(evidence: Sequence[RetrievalEvidence], profile: RerankerProfile, *, blend: bool) -> Floats:
    """Return the log-odds that need no second stage: the intercept and, in a blend, the first stage's terms."""
    return _log_odds(np.zeros(len(evidence)), evidence, profile, blend=blend)


def _log_ranks(evidence: Sequence[RetrievalEvidence], last: int) -> Floats:
    return np.log([float(item.rank or last) for item in evidence])


def _predicted(places: Floats, values: Floats, at: Floats) -> tuple[Floats, Floats]:
    """Fit a line through (places, values) and return its mean and standard deviation at other places."""
    middle = float(places.mean())
    offsets, ahead = places - middle, at - middle
    weight = float(offsets @ offsets) + _SLOPE_RIDGE
    slope = float(offsets @ (values - values.mean())) / weight
    residuals = values - values.mean() - slope * offsets
    variance = max(float(residuals @ residuals) / max(len(values) - 2, 1), _LEAST_SPREAD**2)
    mean: Floats = values.mean() + slope * ahead
    spread: Floats = np.sqrt(variance * (1.0 + 1.0 / len(values) + ahead**2 / weight))
    return mean, spread


def _student(count: int) -> Floats:
    """Return the weights of the grid under Student's t with ``count - 2`` degrees of freedom; they sum to 1."""
    freedom = max(count - 2, 1)
    density = (1.0 + _GRID**2 / freedom) ** (-(freedom + 1) / 2)
    weights: Floats = density / density.sum()
    return weights
