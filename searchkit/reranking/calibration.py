"""From logits to probabilities, and how the numbers for that are fitted. Pure.

`probabilities` implements the formulas of `searchkit.config.Calibration` and `searchkit.config.Blend`; the fits are
logistic regressions by Newton's method.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from searchkit.config import Blend, Calibration, RerankerProfile
from searchkit.errors import ConfigError
from searchkit.types import RetrievalEvidence

Floats = NDArray[np.float64]

_SMALLEST = 5e-324
_LARGEST = math.nextafter(1.0, 0.0)
_TINY_SLOPE = 1e-4
_MAX_STEPS = 100


def probabilities(
    logits: ArrayLike, profile: RerankerProfile, evidence: Sequence[RetrievalEvidence] | None = None, *, blend: bool
) -> Floats:
    """Return the probability of relevance of each pair, strictly between 0 and 1, shape ``(n,)``.

    At equal evidence a higher logit never gives a lower probability; far apart logits give different ones until
    float64 cannot tell them apart.

    Args:
        logits: Raw model outputs, shape ``(n,)``; NaN stays NaN.
        profile: Where calibration and blend come from.
        evidence: What stage 1 knew of each pair, of the same length; ``None`` if there was no stage 1.
        blend: Whether to use the profile's blend, which needs evidence; without either, the calibration is used.

    Raises:
        ConfigError: ``evidence`` has another length than ``logits``.
    """
    values = np.asarray(logits, dtype=np.float64)
    if blend and profile.blend is not None and evidence is not None:
        if len(evidence) != len(values):
            raise ConfigError(f"{len(values)} logits came with the evidence of {len(evidence)} candidates.")
        mix = profile.blend
        weights = np.array([mix.logit_weight, mix.rank_weight, mix.dense_weight, mix.sparse_weight])
        return sigmoid(_weighted(blend_features(values, evidence, mix.k), weights) + mix.intercept)
    return sigmoid(profile.calibration.slope * values + profile.calibration.intercept)


def sigmoid(log_odds: ArrayLike) -> Floats:
    """Return ``1 / (1 + exp(-x))``, never exactly 0 or 1, without overflow."""
    values = np.asarray(log_odds, dtype=np.float64)
    decay = np.exp(-np.abs(values))
    return np.clip(np.where(values >= 0, 1.0 / (1.0 + decay), decay / (1.0 + decay)), _SMALLEST, _LARGEST)


def blend_features(logits: ArrayLike, evidence: Sequence[RetrievalEvidence], k: int) -> Floats:
    """Return what a `Blend` weighs, shape ``(n, 4)``: logit, rank, dense score, sparse score.

    A missing rank counts like one at infinity, a missing score like 0.
    """
    ranks = [0.0 if item.rank is None else (k + 1) / (k + item.rank) for item in evidence]
    dense = [item.dense_score or 0.0 for item in evidence]
    sparse = [math.log1p(max(item.sparse_score or 0.0, 0.0)) for item in evidence]
    return np.column_stack([np.asarray(logits, dtype=np.float64), ranks, dense, sparse]).reshape(-1, 4)


def fit_calibration(logits: ArrayLike, labels: ArrayLike) -> Calibration:
    """Return the Platt scaling that makes ``labels`` most likely.

    The labels are smoothed as Platt (1999) does, so that separable data give a finite slope. A fit that would turn the
    order round (slope <= 0) is held at a slope just above 0.

    Args:
        logits: Raw model outputs, shape ``(n,)``.
        labels: Relevance, 0 or 1 (grades in between count in part), shape ``(n,)``.

    Raises:
        ConfigError: Fewer than two pairs, unequal lengths, values that are not finite, or labels of one kind only.
    """
    features = np.asarray(logits, dtype=np.float64).reshape(-1, 1)
    targets = _smoothed(features, labels)
    weights, intercept = _fit(features, targets, lower=np.array([_TINY_SLOPE]), l2=0.0)
    return Calibration(slope=float(weights[0]), intercept=intercept)


def slope_evidence(logits: ArrayLike, labels: ArrayLike, calibration: Calibration) -> float:
    """Return twice the log-likelihood that a fitted calibration gains over one probability for all pairs.

    About chi-squared with one degree of freedom where logits say nothing of ``labels`` (Wilks, 1938); 0 or below for a
    slope that is held at its bound.

    Args:
        logits: Raw model outputs, shape ``(n,)``.
        labels: Relevance, 0 to 1, shape ``(n,)``, of both kinds.
        calibration: Fitted on these pairs.
    """
    observed = np.asarray(labels, dtype=np.float64)
    log_odds = calibration.slope * np.asarray(logits, dtype=np.float64) + calibration.intercept
    fitted = np.sum(observed * log_odds - np.logaddexp(0.0, log_odds))
    return float(2 * (fitted + len(observed) * _entropy(observed.mean())))


def most_evidence(labels: ArrayLike) -> float:
    """Return the `slope_evidence` of logits that tell each label exactly, as far as a probability can.

    Args:
        labels: Relevance, 0 to 1, shape ``(n,)``, of both kinds.
    """
    observed = np.asarray(labels, dtype=np.float64)
    return float(2 * (len(observed) * _entropy(observed.mean()) - _entropy(observed).sum()))


def _entropy(probability: ArrayLike) -> NDArray[np.float64]:
    inside = np.clip(np.asarray(probability, dtype=np.float64), 1e-12, 1 - 1e-12)
    return np.asarray(-(inside * np.log(inside) + (1 - inside) * np.log1p(-inside)))


def is_at_bound(blend: Blend) -> bool:
    """Return whether the model's weight is the least that a fit can give, as if its logits did not count."""
    return blend.logit_weight <= _TINY_SLOPE * (1 + 1e-6)


def fit_blend(
    logits: ArrayLike, evidence: Sequence[RetrievalEvidence], labels: ArrayLike, *, k: int = 10, l2: float = 1e-3
) -> Blend:
    """Return the `Blend` that makes ``labels`` most likely; weights that would be negative are 0.

    Args:
        logits: Raw model outputs of judged candidates, shape ``(n,)``.
        evidence: What stage 1 knew of each, of the same length.
        labels: Relevance, 0 or 1 (grades in between count in part), shape ``(n,)``.
        k: Constant of the rank term.
        l2: Weight of the squared weights in the mean loss, which keeps correlated evidence from swinging.

    Raises:
        ConfigError: As `fit_calibration`, or ``evidence`` of another length.
    """
    values = np.asarray(logits, dtype=np.float64)
    if len(evidence) != len(values):
        raise ConfigError(f"{len(values)} logits came with the evidence of {len(evidence)} candidates.")
    features = blend_features(values, evidence, k)
    targets = _smoothed(features, labels)
    weights, intercept = _fit(features, targets, lower=np.array([_TINY_SLOPE, 0.0, 0.0, 0.0]), l2=l2)
    logit_weight, rank_weight, dense_weight, sparse_weight = (float(weight) for weight in weights)
    return Blend(
        logit_weight=logit_weight,
        rank_weight=rank_weight,
        dense_weight=dense_weight,
        sparse_weight=sparse_weight,
        intercept=intercept,
        k=k,
    )


def expected_calibration_error(predicted: ArrayLike, labels: ArrayLike, *, bins: int = 10) -> float:
    """Return the mean gap between predicted and observed relevance over bins of equal count, 0 (best) to 1.

    Args:
        predicted: Probabilities, shape ``(n,)``.
        labels: Relevance, 0 or 1, shape ``(n,)``.
        bins: Number of bins; each holds about ``n / bins`` pairs of like probability.

    Raises:
        ConfigError: No pairs, unequal lengths or ``bins`` below 1.
    """
    probability = np.asarray(predicted, dtype=np.float64)
    observed = np.asarray(labels, dtype=np.float64)
    if bins < 1 or not len(probability) or probability.shape != observed.shape:
        raise ConfigError(f"Cannot bin {probability.shape} probabilities and {observed.shape} labels into {bins} bins.")
    order = np.argsort(probability, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    gaps = [len(part) * abs(float(probability[part].mean() - observed[part].mean())) for part in parts]
    return float(sum(gaps) / len(probability))


def _weighted(features: Floats, weights: Floats) -> Floats:
    """Sum column by column: a matrix product may round the same row differently in another batch."""
    total: Floats = features[:, 0] * weights[0]
    for column in range(1, features.shape[1]):
        total = total + features[:, column] * weights[column]
    return total


def _smoothed(features: Floats, labels: ArrayLike) -> Floats:
    """Check the data of a fit and return Platt's targets: (n1 + 1) / (n1 + 2) for 1 and 1 / (n0 + 2) for 0."""
    given = np.asarray(labels, dtype=np.float64)
    if given.shape != (len(features),) or len(given) < 2:
        raise ConfigError(f"A fit needs two pairs or more and a label for each, got {len(features)}, {given.shape}.")
    if not np.isfinite(features).all() or not np.isfinite(given).all() or given.min() < 0 or given.max() > 1:
        raise ConfigError("A fit needs finite scores, and labels between 0 and 1.")
    positives = float(given.sum())
    negatives = len(given) - positives
    if positives == 0 or negatives == 0:
        raise ConfigError("A fit needs relevant and irrelevant pairs; these labels are all the same.")
    high, low = (positives + 1) / (positives + 2), 1 / (negatives + 2)
    return low + given * (high - low)


def _fit(features: Floats, targets: Floats, *, lower: Floats, l2: float) -> tuple[Floats, float]:
    """Minimise the logistic loss with each weight at or above its bound: Newton on the free weights (active set)."""
    centre, scale = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-12)
    design = np.column_stack([(features - centre) / scale, np.ones(len(features))])
    bounds = np.append(lower * scale, -np.inf)
    ridge = np.append(np.full(features.shape[1], l2), 0.0)
    point = np.append(np.maximum(bounds[:-1], 0.0), math.log(targets.mean() / (1 - targets.mean())))
    for _ in range(_MAX_STEPS):
        predicted = sigmoid(design @ point)
        gradient = design.T @ (predicted - targets) / len(targets) + ridge * point
        free = (point > bounds) | (gradient < 0)
        curvature = predicted * (1 - predicted) / len(targets)
        hessian = (design.T * curvature) @ design + np.diag(ridge + 1e-10)
        step = np.zeros_like(point)
        step[free] = np.linalg.solve(hessian[np.ix_(free, free)], gradient[free])
        moved = _line_search(design, targets, ridge, bounds, point, step)
        if np.abs(moved - point).max() < 1e-10:
            break
        point = moved
    weights = np.maximum(point[:-1] / scale, lower)
    return weights, float(point[-1] - weights @ centre)


def _line_search(design: Floats, targets: Floats, ridge: Floats, bounds: Floats, point: Floats, step: Floats) -> Floats:
    """Halve the step until the loss does not rise; every trial is moved back inside the bounds."""
    here = _loss(design, targets, ridge, point)
    for halving in range(40):
        trial: Floats = np.maximum(point - step * 0.5**halving, bounds)
        if _loss(design, targets, ridge, trial) <= here:
            return trial
    return point


def _loss(design: Floats, targets: Floats, ridge: Floats, point: Floats) -> float:
    log_odds = design @ point
    return float(np.mean(np.logaddexp(0.0, log_odds) - targets * log_odds) + 0.5 * np.sum(ridge * point**2))
