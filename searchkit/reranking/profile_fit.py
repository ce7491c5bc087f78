"""From judged candidates to a profile: calibration and blend, and how well they hold on other candidates. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from searchkit.config import RerankerProfile
from searchkit.errors import ConfigError
from searchkit.reranking.calibration import (
    expected_calibration_error,
    fit_blend,
    fit_calibration,
    is_at_bound,
    most_evidence,
    probabilities,
    slope_evidence,
)
from searchkit.types import Frozen, RetrievalEvidence

_LEAST_EVIDENCE = 6.63  # chi-squared, one degree of freedom: a slope above 0 is chance once in 200 times
_LEAST_SHARE = (
    0.25  # of what the labels can tell at most; few judgments cannot reach the evidence, however right they are
)


class JudgedCandidate(Frozen):
    """One candidate of a judged query, as both stages saw it.

    Attributes:
        query: Groups the candidates.
        logit: Stage 2's raw output.
        evidence: Stage 1's ranks and scores.
        relevance: 0 to 1.
    """

    query: str
    logit: float
    evidence: RetrievalEvidence = RetrievalEvidence()
    relevance: float


class FitQuality(Frozen):
    """How well probabilities fit candidates that they were not fitted on.

    Attributes:
        candidate_count: Candidates measured.
        calibration_error: Expected calibration error of the calibrated second stage, ten bins of equal count.
        blend_error: The same with first-stage evidence; ``None`` without a blend.
    """

    candidate_count: int
    calibration_error: float
    blend_error: float | None = None


def fit_profile(
    candidates: Sequence[JudgedCandidate], *, with_blend: bool = True, rank_constant: int = 10, fitted_on: str
) -> RerankerProfile:
    """Return the profile that makes the judgments most likely.

    The candidates must not have been trained on, and must be all that stage 1 returned for their queries: probabilities
    learned from hand-picked pairs are wrong on real pools.

    Raises:
        ConfigError: Fewer than two candidates, or judgments of one kind only.
    """
    logits = [item.logit for item in candidates]
    labels = [item.relevance for item in candidates]
    evidence = [item.evidence for item in candidates]
    return RerankerProfile(
        calibration=fit_calibration(logits, labels),
        blend=fit_blend(logits, evidence, labels, k=rank_constant) if with_blend else None,
        fitted_on=fitted_on,
    )


def contradiction(profile: RerankerProfile, candidates: Sequence[JudgedCandidate]) -> str | None:
    """Return why the judgments that ``profile`` was fitted on do not bear it out, or ``None``.

    Such a profile gives nearly every candidate the same probability. The calibration error does not tell: one
    probability for all, the share of relevant candidates, is well calibrated.
    """
    labels = [item.relevance for item in candidates]
    evidence = slope_evidence([item.logit for item in candidates], labels, profile.calibration)
    needed = min(_LEAST_EVIDENCE, _LEAST_SHARE * most_evidence(labels))
    if evidence < needed:
        return (
            f"what is judged relevant among the {len(candidates)} candidates is not what the reranker scores high "
            f"(evidence {max(evidence, 0.0):.1f}, {needed:.1f} is needed); check which ids the judgments name, or "
            "judge more queries"
        )
    if profile.blend is not None and is_at_bound(profile.blend):
        return (
            f"the blend that fits the {len(candidates)} candidates goes by the first stage alone "
            f"(logit_weight={profile.blend.logit_weight:.2g}); judge more queries, or fit with with_blend=False"
        )
    return None


def measure_profile(profile: RerankerProfile, candidates: Sequence[JudgedCandidate]) -> FitQuality:
    """Return the calibration errors of ``profile`` on ``candidates``.

    Raises:
        ConfigError: No candidates.
    """
    logits = np.array([item.logit for item in candidates])
    labels = np.array([item.relevance for item in candidates])
    evidence = [item.evidence for item in candidates]
    alone = probabilities(logits, profile, blend=False)
    mixed = probabilities(logits, profile, evidence, blend=True) if profile.blend is not None else None
    return FitQuality(
        candidate_count=len(candidates),
        calibration_error=expected_calibration_error(alone, labels),
        blend_error=None if mixed is None else expected_calibration_error(mixed, labels),
    )


def split_by_query(
    candidates: Sequence[JudgedCandidate], *, every: int = 4
) -> tuple[list[JudgedCandidate], list[JudgedCandidate]]:
    """Return candidates to fit on and candidates to measure on; each query is in one of the two.

    Raises:
        ConfigError: Fewer queries than ``every``.
    """
    queries = list(dict.fromkeys(item.query for item in candidates))
    if len(queries) < every:
        raise ConfigError(f"{len(queries)} queries cannot be split into {every} parts.")
    held_out = set(queries[every - 1 :: every])
    return (
        [item for item in candidates if item.query not in held_out],
        [item for item in candidates if item.query in held_out],
    )
