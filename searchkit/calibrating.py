"""Refits a reranker's calibration and blend on a caller's own judgments. Pure but for the search it is given."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

from pydantic import Field

from searchkit.config import RerankerProfile
from searchkit.errors import ConfigError
from searchkit.reranking.profile_fit import (
    FitQuality,
    JudgedCandidate,
    contradiction,
    fit_profile,
    measure_profile,
    split_by_query,
)
from searchkit.types import Frozen, Judgment, PassageId, SearchResult

logger = logging.getLogger(__name__)

Judgments = Mapping[str, Mapping[PassageId, float]] | Iterable[Judgment]
Unjudged = Literal["irrelevant", "ignored"]
SearchJudged = Callable[[Sequence[Judgment]], list[SearchResult]]

_FORMS = "pass Judgment objects, or a mapping of query to {passage id: relevance}."
_MEASURED_EVERY = 4
_LEAST_QUERIES = 2 * _MEASURED_EVERY


class CalibrationReport(Frozen):
    """A new profile and how well it holds.

    Attributes:
        profile: Fitted on all judged queries; pass it to `searchkit.CrossEncoderReranker` to use it elsewhere.
        query_count: Judged queries.
        candidate_count: Candidates of these queries that the fit saw.
        relevant_count: How many of them are relevant.
        before: Calibration errors of the former profile on every fourth query; ``None`` where fewer than eight have
            candidates that are judged.
        after: The same queries, of a profile fitted on the others.
        objection: Why the profile is not to be used: the judgments contradict the model, or say nothing of it.
    """

    profile: RerankerProfile
    query_count: int = Field(ge=0)
    candidate_count: int = Field(ge=0)
    relevant_count: int = Field(ge=0)
    before: FitQuality | None = None
    after: FitQuality | None = None
    objection: str | None = None


def checked_judgments(judgments: Judgments, unjudged: Unjudged) -> list[Judgment]:
    """Return the judgments as a list.

    Raises:
        ConfigError: There are none, or one cannot be understood, or ``unjudged`` is no way to take the rest.
    """
    if unjudged not in get_args(Unjudged):
        raise ConfigError(f"unjudged={unjudged!r}: give {' or '.join(map(repr, get_args(Unjudged)))}.")
    if not isinstance(judgments, Iterable):
        raise ConfigError(f"judgments is a {type(judgments).__name__}: {_FORMS}")
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
        raise ConfigError(f"Judgment {place} is not understood ({str(error).splitlines()[0]}): {_FORMS}") from error


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
    # By its text, not its place: a query that is judged twice must not be fitted on and measured too.
    candidates = [
        candidate
        for judgment, result in zip(judgments, results, strict=True)
        for candidate in _judged(f"{judgment.query}\n{judgment.criteria or ''}", judgment, result, unjudged)
    ]
    relevant = sum(candidate.relevance >= 0.5 for candidate in candidates)
    if not 0 < relevant < len(candidates):
        raise ConfigError(
            f"Of {len(candidates)} candidates of {len(judgments)} judged queries, {relevant} are relevant: a fit needs "
            "both kinds. Check that the ids in the judgments are those of this collection, or judge more queries."
        )
    source = f"{len(candidates)} candidates of {len(judgments)} judged queries"
    fitted = fit_profile(candidates, with_blend=with_blend, fitted_on=source)
    before, after = _on_unseen_queries(candidates, former, with_blend=with_blend)
    objection = contradiction(fitted, candidates)
    if after is None and objection is None:
        logger.warning("The fit cannot be measured: %s.", _unmeasured(candidates))
    return CalibrationReport(
        profile=fitted.model_copy(update={"criteria_template": former.criteria_template}),
        query_count=len(judgments),
        candidate_count=len(candidates),
        relevant_count=relevant,
        before=before,
        after=after,
        objection=objection,
    )


def _judged(query: str, judgment: Judgment, result: SearchResult, unjudged: Unjudged) -> list[JudgedCandidate]:
    graded = [(hit, _grade(judgment, hit.id)) for hit in result]
    return [
        JudgedCandidate(
            query=query,
            logit=hit.logit,
            evidence=hit.retrieval,
            relevance=min(1.0, max(0.0, grade or 0.0)),
        )
        for hit, grade in graded
        if hit.logit is not None and (unjudged == "irrelevant" or grade is not None)
    ]


def _grade(judgment: Judgment, passage_id: PassageId) -> float | None:
    """Return the grade of a passage; judgments from files name the passage 7 as "7"."""
    relevance = judgment.relevance
    return relevance[passage_id] if passage_id in relevance else relevance.get(str(passage_id))


def _on_unseen_queries(
    candidates: Sequence[JudgedCandidate], former: RerankerProfile, *, with_blend: bool
) -> tuple[FitQuality | None, FitQuality | None]:
    if len({candidate.query for candidate in candidates}) < _LEAST_QUERIES:
        return None, None
    fitted_on, unseen = split_by_query(candidates, every=_MEASURED_EVERY)
    if len({candidate.relevance >= 0.5 for candidate in fitted_on}) < 2:
        return None, None
    trial = fit_profile(fitted_on, with_blend=with_blend, fitted_on="")
    return measure_profile(former, unseen), measure_profile(trial, unseen)


def _unmeasured(candidates: Sequence[JudgedCandidate]) -> str:
    queries = len({candidate.query for candidate in candidates})
    return (
        f"{queries} different queries have judged candidates, which is too few to measure a fit on queries that it did "
        f"not see: judge {_LEAST_QUERIES} or more, better fifty"
        if queries < _LEAST_QUERIES
        else f"without every fourth of the {queries} queries, no candidate is relevant or all are, so that the fit "
        "cannot be measured on queries that it did not see: judge more queries"
    )
