"""Spans and metrics of searches for OpenTelemetry; silent until the application itself has loaded OpenTelemetry.

Names, attributes and units are listed in docs/observability.md. No text of a query, criteria or passage is recorded
unless `searchkit.SearchKitConfig.trace_texts` asks for it; messages of errors count as text, because those of foreign
models and servers may quote what they were given.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal

from searchkit.request import SearchRequest
from searchkit.types import SearchResult

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter, Histogram
    from opentelemetry.trace import Span, Tracer

Stage = Literal["encode", "retrieve", "rerank"]

_FROM_GOOD_TO_BAD = ("retrieved", "reranked", "partial", "degraded")
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SUMMED = (
    "candidate_count",
    "scored_count",
    "cached_count",
    "truncated_count",
    "tokens_used_count",
    "tokens_refused_count",
    "query_truncated_tokens",
    "rerank_query_truncated_tokens",
)


@dataclass(frozen=True, slots=True)
class _Instruments:
    """What is recorded with; made once a process, and forwarded to whatever provider the application sets."""

    tracer: Tracer
    stage_seconds: Histogram
    search_seconds: Histogram
    searches: Counter
    degradations: Counter


@dataclass(slots=True)
class Account:
    """What a search came to, told by the pipeline before its span ends.

    Attributes:
        results: One a query.
        reason_kinds: Why each is not whole: "deadline", "adaptive_depth", or the class of the error of stage 2.
    """

    results: Sequence[SearchResult] = ()
    reason_kinds: Sequence[str | None] = field(default_factory=list)


class Telemetry:
    """Records searches and their stages. Costs two look-ups a span where OpenTelemetry is not loaded.

    Args:
        with_texts: Whether texts of queries, criteria, hits and errors are recorded.
    """

    def __init__(self, *, with_texts: bool) -> None:
        self._with_texts = with_texts

    @contextmanager
    def search(
        self, queries: Sequence[str], requests: Sequence[SearchRequest], *, mode: str | None
    ) -> Iterator[Account]:
        """Record one call as the span ``searchkit.search``; it is the parent of its stages.

        Args:
            queries: The queries of the call.
            requests: Their arguments; they differ in their criteria at most.
            mode: Which legs of stage 1 run, ``None`` if none does.
        """
        account = Account()
        instruments = _instruments()
        if instruments is None:
            yield account
            return
        started = time.perf_counter()
        asked = _asked(queries, requests, mode) | (_asked_texts(queries, requests) if self._with_texts else {})
        with self._span(instruments, "searchkit.search", asked) as span:
            try:
                yield account
            except BaseException as error:
                _count_failure(instruments, len(queries), error, time.perf_counter() - started, mode)
                raise
            span.set_attributes(_answered(account) | (_answered_texts(account.results) if self._with_texts else {}))
            _count(instruments, account, time.perf_counter() - started, mode)

    @contextmanager
    def stage(self, name: Stage) -> Iterator[dict[str, Any]]:
        """Record one stage of a search; what is put into the dict becomes attributes, those of value ``None`` aside."""
        facts: dict[str, Any] = {}
        instruments = _instruments()
        if instruments is None:
            yield facts
            return
        started = time.perf_counter()
        with self._span(instruments, f"searchkit.{name}", {}) as span:
            try:
                yield facts
            finally:
                span.set_attributes(_named(facts))
                instruments.stage_seconds.record(time.perf_counter() - started, {"searchkit.stage": name})

    @contextmanager
    def _span(self, instruments: _Instruments, name: str, attributes: Mapping[str, Any]) -> Iterator[Span]:
        from opentelemetry.trace import Status, StatusCode

        # What the API would record of an exception by itself holds its message.
        with instruments.tracer.start_as_current_span(
            name, attributes=attributes, record_exception=self._with_texts, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except BaseException as error:
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise


def _instruments() -> _Instruments | None:
    # Who wants telemetry has imported the API before the first search; nobody else pays for importing it.
    return _made() if "opentelemetry.trace" in sys.modules else None


@lru_cache(maxsize=1)
def _made() -> _Instruments:
    from opentelemetry import metrics, trace

    meter = metrics.get_meter("searchkit", _version())
    return _Instruments(
        trace.get_tracer("searchkit", _version()),
        meter.create_histogram(
            "searchkit.stage.duration",
            unit="s",
            description="Time of one stage of a call",
            explicit_bucket_boundaries_advisory=_BUCKETS_S,
        ),
        meter.create_histogram(
            "searchkit.search.duration",
            unit="s",
            description="Time of one call, all stages and the cut",
            explicit_bucket_boundaries_advisory=_BUCKETS_S,
        ),
        meter.create_counter("searchkit.searches", unit="{search}", description="Searches by status"),
        meter.create_counter(
            "searchkit.degradations", unit="{search}", description="Searches that stage 2 did not finish, by cause"
        ),
    )


def _version() -> str:
    try:
        return version("searchkit")
    except PackageNotFoundError:  # run from a checkout
        return ""


def _named(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {f"searchkit.{name}": value for name, value in facts.items() if value is not None}


def _asked(queries: Sequence[str], requests: Sequence[SearchRequest], mode: str | None) -> dict[str, Any]:
    shared = requests[0]
    return _named(
        {
            "query_count": len(queries),
            "mode": mode,
            "top_k": shared.top_k,
            "candidate_depth": shared.candidate_depth,
            "rerank": shared.rerank,
            "deadline_s": shared.deadline_s,
            "min_score": shared.min_score,
            "has_filter": shared.filter is not None,
            "has_criteria": any(request.criteria is not None for request in requests),
        }
    )


def _asked_texts(queries: Sequence[str], requests: Sequence[SearchRequest]) -> dict[str, Any]:
    return _named({"queries": list(queries), "criteria": [request.criteria or "" for request in requests]})


def _answered(account: Account) -> dict[str, Any]:
    results, worst = account.results, _worst(account.results)
    return _named(
        {
            "status": results[worst].status,
            "reason_kind": account.reason_kinds[worst],
            "hit_count": sum(len(result) for result in results),
            "engine": results[worst].engine,
            "reranker": results[worst].reranker,
            **{name: sum(getattr(result, name) for result in results) for name in _SUMMED},
        }
    )


def _worst(results: Sequence[SearchResult]) -> int:
    return max(range(len(results)), key=lambda place: _FROM_GOOD_TO_BAD.index(results[place].status))


def _answered_texts(results: Sequence[SearchResult]) -> dict[str, Any]:
    return _named(
        {
            "passages": [hit.text for result in results for hit in result],
            "reasons": [result.reason or "" for result in results],
        }
    )


def _count(instruments: _Instruments, account: Account, seconds: float, mode: str | None) -> None:
    for result, kind in zip(account.results, account.reason_kinds, strict=True):
        instruments.searches.add(1, {"searchkit.status": result.status})
        if result.status in ("partial", "degraded"):
            instruments.degradations.add(1, _named({"status": result.status, "reason_kind": kind}))
    status = account.results[_worst(account.results)].status
    instruments.search_seconds.record(seconds, _named({"status": status, "mode": mode}))


def _count_failure(
    instruments: _Instruments, count: int, error: BaseException, seconds: float, mode: str | None
) -> None:
    cause = {"error.type": type(error).__name__}
    instruments.searches.add(count, {"searchkit.status": "failed", **cause})
    instruments.search_seconds.record(seconds, _named({"status": "failed", "mode": mode}) | cause)
