"""Search all judged queries in one way and keep what a comparison needs: the run, the times, what went wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from searchkit.evaluation.configurations import Configuration
from searchkit.evaluation.judged import JudgedQueries, JudgedQuery, Run, ScoredPassage
from searchkit.types import Hit, SearchMode, SearchResult, Timings

_BATCH = 32


class Searcher(Protocol):
    """What can be compared: a `searchkit.SearchKit`, or anything that searches like one."""

    def search(
        self,
        query: str,
        *,
        top_k: int = ...,
        candidate_depth: int = ...,
        criteria: str | None = ...,
        mode: SearchMode = ...,
        rerank: bool = ...,
    ) -> SearchResult:
        """Return the hits for one query."""

    def search_batch(
        self,
        queries: Sequence[str],
        *,
        top_k: int = ...,
        candidate_depth: int = ...,
        criteria: str | Sequence[str | None] | None = ...,
        mode: SearchMode = ...,
        rerank: bool = ...,
    ) -> list[SearchResult]:
        """Return one result a query, in order; ``criteria`` may be one entry a query."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of searching all queries in one way.

    Attributes:
        run: Every candidate of every query, best first.
        timings: One entry for each query that was searched alone; times of batches say nothing about one query.
        statuses: How often each status came back.
        reasons: Why results were "partial" or "degraded", each reason once.
        truncated_count: Scored windows that lost tokens to the reranker's length limit.
        scored_count: Windows or passages that stage 2 scored.
        reranker: Name of the cross-encoder.
        engine: What ran it.
        blend: How both stages became the score, in words.
        configuration: How the queries were searched; ``None`` for a run that came from elsewhere.
    """

    run: Run
    timings: tuple[Timings, ...] = ()
    statuses: dict[str, int] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    truncated_count: int = 0
    scored_count: int = 0
    reranker: str | None = None
    engine: str | None = None
    blend: str | None = None
    configuration: Configuration | None = None


def search_all(
    searcher: Searcher,
    judged: JudgedQueries,
    configuration: Configuration,
    *,
    timed_count: int = 50,
    on_progress: Callable[[int], None] | None = None,
) -> list[SearchResult]:
    """Search every query once: ``timed_count`` of them alone, so that their times are a user's, the rest in batches.

    The first query is searched once more beforehand, so that loading a model is in nobody's time.

    Returns:
        One result a query, in order. The timings of those searched in batches are set to 0.
    """
    queries = judged.queries
    count = min(timed_count, len(queries))
    alone = [place * len(queries) // count for place in range(count)]
    if alone:
        _search(searcher, queries[0], configuration)
    results: dict[int, SearchResult] = {}
    for place in alone:
        results[place] = _search(searcher, queries[place], configuration)
        _advance(on_progress, 1)
    rest = [place for place in range(len(queries)) if place not in results]
    for start in range(0, len(rest), _BATCH):
        batch = rest[start : start + _BATCH]
        found = _search_batch(searcher, [queries[place] for place in batch], configuration)
        results.update(
            (place, result.model_copy(update={"timings": Timings()}))
            for place, result in zip(batch, found, strict=True)
        )
        _advance(on_progress, len(batch))
    return [results[place] for place in range(len(queries))]


def _search(searcher: Searcher, query: JudgedQuery, configuration: Configuration) -> SearchResult:
    return searcher.search(
        query.text,
        top_k=configuration.candidate_depth,
        candidate_depth=configuration.candidate_depth,
        criteria=query.criteria if configuration.criteria else None,
        mode=configuration.mode,
        rerank=configuration.rerank,
    )


def _search_batch(
    searcher: Searcher, queries: Sequence[JudgedQuery], configuration: Configuration
) -> list[SearchResult]:
    return searcher.search_batch(
        [query.text for query in queries],
        top_k=configuration.candidate_depth,
        candidate_depth=configuration.candidate_depth,
        criteria=[query.criteria if configuration.criteria else None for query in queries],
        mode=configuration.mode,
        rerank=configuration.rerank,
    )


def _advance(on_progress: Callable[[int], None] | None, count: int) -> None:
    if on_progress is not None:
        on_progress(count)


def trial_of(configuration: Configuration, judged: JudgedQueries, results: Sequence[SearchResult]) -> Trial:
    """Return the trial that ``results``, one a query, amount to under ``configuration``."""
    rankings = {
        query.id: tuple(ScoredPassage(str(hit.id), hit.score) for hit in _ordered(result.hits, configuration))
        for query, result in zip(judged.queries, results, strict=True)
    }
    first = next((result for result in results if result.reranker), results[0])
    return Trial(
        run=Run(configuration.name, rankings),
        timings=tuple(result.timings for result in results if result.timings.total > 0),
        statuses=dict(Counter(result.status for result in results)),
        reasons=tuple(dict.fromkeys(result.reason for result in results if result.reason)),
        truncated_count=sum(result.truncated_count for result in results),
        scored_count=sum(result.scored_count for result in results),
        reranker=first.reranker,
        engine=first.engine,
        blend=first.blend if configuration.blend else None,
        configuration=configuration,
    )


def _ordered(hits: Sequence[Hit], configuration: Configuration) -> list[Hit]:
    """Order the hits as the configuration asks: without a blend by logit, which is what its searches would do."""
    if configuration.blend or not configuration.rerank:
        return list(hits)
    scored = [hit for hit in hits if hit.logit is not None]
    unscored = [hit for hit in hits if hit.logit is None]
    return sorted(scored, key=lambda hit: (-(hit.logit or 0.0), hit.retrieval.rank or 0, str(hit.id))) + unscored
