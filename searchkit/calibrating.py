"""Refits a reranker's calibration and blend on a caller's own judgments. Pure but for the search it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from searchkit.config import RerankerProfile
from searchkit.errors import ConfigError
from searchkit.reranking.profile_fit import (
    FitQuality,
    JudgedCandidate,
    fit_profile,
    measure_profile,
    split_by_query,
)
from searchkit.types import Frozen, Judgment, PassageId, SearchResult

Judgments = Mapping[str, Mapping[PassageId, float]] | Iterable[Judgment]
Unjudged = Literal["irrelevant", "ignored"]
SearchJudged = Callable[[Sequence[Judgment]], list[SearchResult]]

_MEASURED_EVERY = 4
_LEAST_QUERIES = 2 * _MEASURED_EVERY


class CalibrationReport(Frozen):
    """A new profile and how well it holds.

    Attributes:
        profile: Fitted on all judged queries; pass it to `searchkit.CrossEncoderReranker` to use it elsewhere.
        query_count: Judged queries.
        candidate_count: Candidates of these queries that the fit saw.
        relevant_count: How many of them are relevant.
        before: Calibration errors of the former profile on every fourth query; ``None`` below eight queries.
        after: The same queries, of a profile fitted on the others.
    """

    profile: RerankerProfile
    query_count: int = Field(ge=0)
    candidate_count: int = Field(ge=0)
    relevant_count: int = Field(ge=0)
    before: FitQuality | None = None
    after: FitQuality | None = None


def checked_judgments(judgments: Judgments) -> list[Judgment]:
    """Return the judgments as a list.

    Raises:
        ConfigError: There are none, or one cannot be understood.
    """
    rows = judgments.items() if isinstance(judgments, Mapping) else judgments
    found = [row if isinstance(row, Judgment) else _judgment(place, row) for place, row in enumerate(rows)]
    if not found:
        raise ConfigError("There are no judgments: calibrating needs queries and what is relevant to them.")
    return found


def _judgment(place: int, row: Any) -> Judgment:
    try:
        query, relevance = row
        return Judgment(query=query, relevance={key: float(grade) for key, grade in dict(relevance).items()})
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"Judgment {place} is not understood ({str(error).splitlines()[0]}): pass Judgment objects, or a "
            "mapping of query to {passage id: relevance}."
        ) from error


def calibrate(
    judgments: Sequence[Judgment],
    results: Sequence[SearchResult],
    former: RerankerProfile,
    *,
    unjudged: Unjudged,
    with_blend: bool,
) -> CalibrationReport:
    """Return the profile that makes the judgments most likely, and how it does on queries that it was not fitted on.

    Args:
        judgments: One a query.
        results: All candidates of each query, reranked.
        former: The profile in use.
        unjudged: What a candidate without a judgment counts as.
        with_blend: Whether first-stage evidence takes part.

    Raises:
        ConfigError: No candidate is relevant, or all are.
    """
    candidates = [
        candidate
        for place, (judgment, result) in enumerate(zip(judgments, results, strict=True))
        for candidate in _judged(str(place), judgment, result, unjudged)
    ]
    relevant = sum(candidate.relevance >= 0.5 for candidate in candidates)
    if not 0 < relevant < len(candidates):
        raise ConfigError(
            f"Of {len(candidates)} candidates of {len(judgments)} judged queries, {relevant} are relevant: a fit needs "
            "both kinds. Check that the ids in the judgments are those of this collection, or judge more queries."
        )
    source = f"{len(candidates)} candidates of {len(judgments)} judged queries"
    fitted = fit_profile(candidates, with_blend=with_blend, fitted_on=source)
    before, after = _on_unseen_queries(candidates, former, len(judgments), with_blend=with_blend)
    return CalibrationReport(
        profile=fitted.model_copy(update={"criteria_template": former.criteria_template}),
        query_count=len(judgments),
        candidate_count=len(candidates),
        relevant_count=relevant,
        before=before,
        after=after,
    )


def _judged(query: str, judgment: Judgment, result: SearchResult, unjudged: Unjudged) -> list[JudgedCandidate]:
    return [
        JudgedCandidate(
            query=query,
            logit=hit.logit,
            evidence=hit.retrieval,
            relevance=min(1.0, max(0.0, judgment.relevance.get(hit.id, 0.0))),
        )
        for hit in result
        if hit.logit is not None and (unjudged == "irrelevant" or hit.id in judgment.relevance)
    ]


def _on_unseen_queries(
    candidates: Sequence[JudgedCandidate], former: RerankerProfile, query_count: int, *, with_blend: bool
) -> tuple[FitQuality | None, FitQuality | None]:
    if query_count < _LEAST_QUERIES:
        return None, None
    fitted_on, unseen = split_by_query(candidates, every=_MEASURED_EVERY)
    if len({candidate.relevance >= 0.5 for candidate in fitted_on}) < 2:
        return None, None
    trial = fit_profile(fitted_on, with_blend=with_blend, fitted_on="")
    return measure_profile(former, unseen), measure_profile(trial, unseen)
