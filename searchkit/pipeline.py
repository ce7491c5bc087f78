"""The two stages in a row: encode, retrieve, rerank, cut, with the clock and the account of what happened."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from searchkit.assembly import group_of, make_hits, one_per_group
from searchkit.bounded import BoundedThreads, StillRunningError
from searchkit.collection.vectors import query_vectors, query_words
from searchkit.config import SearchKitConfig
from searchkit.deadline import Deadline, bound_by, waited_s
from searchkit.errors import RetrievalTimeoutError
from searchkit.models.once import Once
from searchkit.request import SearchRequest
from searchkit.second_stage import Outcome, SecondStage
from searchkit.stages import Candidate, Encoder, Reranker, RetrievalRequest, Retriever, SparseEncoder
from searchkit.telemetry import Account, Telemetry
from searchkit.types import Hit, PassageId, SearchMode, SearchResult, Timings

T = TypeVar("T")
WholeTexts = Callable[[Sequence[Candidate]], Mapping[PassageId, str]]

RESERVE_S = 0.02
"""What stage 2 leaves of a deadline for ordering and for reading whole passages, or a tenth where that is less."""

GRACE_S = 0.05
"""What reading whole passages may take beyond the deadline; the answer comes at most 0.1 s after it."""


class Stopwatch:
    """Laps of one search in milliseconds."""

    def __init__(self) -> None:
        self._lap = time.perf_counter()
        self._start = self._lap - waited_s()

    def lap(self) -> float:
        """Return the milliseconds since the last lap."""
        last, self._lap = self._lap, time.perf_counter()
        return (self._lap - last) * 1e3

    def total(self) -> float:
        """Return the milliseconds since the call came in."""
        return (time.perf_counter() - self._start) * 1e3


@dataclass(frozen=True, slots=True)
class _FirstStage:
    """What stage 1 found for each query, how much of each query it could not read, and the milliseconds it took."""

    candidates: list[list[Candidate]]
    unseen_tokens: list[int]
    encode_ms: float
    retrieve_ms: float


class TwoStagePipeline:
    """Encoders, a retriever and a reranker, wired; holds no state but the threads in which work may hang.

    Args:
        encoder: Dense leg of stage 1.
        sparse_encoder: BM25 leg of stage 1.
        retriever: Finds candidates by vector.
        reranker: Stage 2.
        whole_texts: Returns the whole text of each candidate's passage by `Candidate.passage`, for hits of which only a
            window was scored; a passage that is gone is left out.
        config: Settings.
    """

    def __init__(
        self,
        *,
        encoder: Encoder,
        sparse_encoder: SparseEncoder,
        retriever: Retriever,
        reranker: Reranker,
        whole_texts: WholeTexts,
        config: SearchKitConfig,
    ) -> None:
        self._encoder = encoder
        self._made_by = Once(encoder.fingerprint)  # asked on every search, it would look at the model's files each time
        self._sparse_encoder = sparse_encoder
        self._retriever = retriever
        self._reranker = reranker
        self._whole_texts = whole_texts
        self._config = config
        self._threads = BoundedThreads()
        self._telemetry = Telemetry(with_texts=config.trace_texts)
        self._second_stage = SecondStage(reranker, config, self._threads)

    def over(self, retriever: Retriever, reranker: Reranker, whole_texts: WholeTexts) -> TwoStagePipeline:
        """Return a pipeline with the same encoders, settings and threads over another retriever and reranker."""
        pipeline = copy.copy(self)
        pipeline._retriever = retriever
        pipeline._reranker = reranker
        pipeline._whole_texts = whole_texts
        pipeline._second_stage = SecondStage(reranker, self._config, self._threads)
        return pipeline

    def close(self) -> None:
        """Let go of the threads, those of pipelines made with `over` too."""
        self._threads.stop()

    def search(self, queries: Sequence[str], requests: Sequence[SearchRequest]) -> list[SearchResult]:
        """Run both stages for queries whose requests differ in their criteria at most.

        Raises:
            RetrievalTimeoutError: The deadline passed before stage 1 was done.
        """
        with self._telemetry.search(queries, requests, mode=requests[0].mode) as account:
            return self._search(queries, requests, account)

    def _search(
        self, queries: Sequence[str], requests: Sequence[SearchRequest], account: Account
    ) -> list[SearchResult]:
        shared = requests[0]
        deadline, watch = Deadline.after(shared.deadline_s), Stopwatch()
        found = self._within(deadline, lambda: self._first_stage(queries, shared), "the candidates were found")
        watch.lap()
        use_blend = self._config.blend == "model"
        stages = self._rerank(queries, requests, found.candidates, deadline, blend=use_blend)
        rerank = watch.lap() if shared.rerank else 0.0
        read = self._bounded(self._whole_texts, deadline.earlier(-GRACE_S))
        cut = [self._cut(stage, request, read) for stage, request in zip(stages, requests, strict=True)]
        timings = Timings(encode=found.encode_ms, retrieve=found.retrieve_ms, rerank=rerank, total=watch.total())
        account.reason_kinds = [stage.reason_kind for stage in stages]
        account.results = results = [
            _result(query, request, stage, hits).model_copy(
                update={
                    "mode": shared.mode,
                    "timings": timings,
                    "query_truncated_tokens": unseen,
                    "reranker": self._reranker.name if request.rerank else None,
                }
            )
            for query, request, stage, hits, unseen in zip(
                queries, requests, stages, cut, found.unseen_tokens, strict=True
            )
        ]
        return results

    def rerank(self, query: str, request: SearchRequest, candidates: Sequence[Candidate]) -> SearchResult:
        """Run stage 2 alone; the score is the calibrated second stage, whatever blend the model carries.

        Args:
            query: The query.
            request: The caller's arguments.
            candidates: Whole passages, best first.
        """
        with self._telemetry.search([query], [request], mode=None) as account:
            deadline, watch = Deadline.after(request.deadline_s), Stopwatch()
            stage = self._rerank([query], [request], [candidates], deadline, blend=False)[0]
            rerank = watch.lap()
            texts = {candidate.passage: candidate.text for candidate in candidates}
            hits = self._cut(stage, request, lambda _: texts)
            timings = Timings(rerank=rerank, total=watch.total())
            result = _result(query, request, stage, hits).model_copy(
                update={"timings": timings, "reranker": self._reranker.name}
            )
            account.results, account.reason_kinds = [result], [stage.reason_kind]
            return result

    def _rerank(
        self,
        queries: Sequence[str],
        requests: Sequence[SearchRequest],
        candidates: Sequence[Sequence[Candidate]],
        deadline: Deadline,
        *,
        blend: bool,
    ) -> list[Outcome]:
        until = _for_stage_2(deadline)
        if not requests[0].rerank:
            return self._second_stage.run(queries, requests, candidates, until, blend=blend)
        with self._telemetry.stage("rerank") as facts:
            stages = self._second_stage.run(queries, requests, candidates, until, blend=blend)
            facts["window_count"] = sum(len(found) for found in candidates)
            facts["engine"], facts["queue_s"] = stages[0].engine, stages[0].queue_s
            facts["reason_kind"] = stages[0].reason_kind
            return stages

    def _bounded(self, read: WholeTexts, deadline: Deadline) -> WholeTexts:
        """Return ``read`` with a deadline; ordering has none, since it cannot hang and the answer is at hand."""
        return lambda found: self._within(deadline, lambda: read(found), "the whole passages were read")

    def _within(self, deadline: Deadline, work: Callable[[], T], what: str) -> T:
        try:
            with bound_by(deadline):
                return self._threads.run(work, deadline)
        except StillRunningError as error:
            raise RetrievalTimeoutError(
                f"the deadline passed before {what}: raise deadline_s, or lower candidate_depth"
            ) from error

    def _first_stage(self, queries: Sequence[str], request: SearchRequest) -> _FirstStage:
        watch = Stopwatch()
        with self._telemetry.stage("encode") as facts:
            facts["query_count"] = len(queries)
            plans = self._encode(queries, request)
            unseen = [self._query_truncation(query, request.mode) for query in queries]
        encode = watch.lap()
        with self._telemetry.stage("retrieve") as facts:
            facts["candidate_depth"] = request.candidate_depth
            candidates = self._retriever.retrieve(plans)
            facts["window_count"] = sum(len(found) for found in candidates)
        return _FirstStage(candidates, unseen, encode, watch.lap())

    def _encode(self, queries: Sequence[str], request: SearchRequest) -> list[RetrievalRequest]:
        dense = (
            [None] * len(queries)
            if request.mode == "sparse"
            else list(query_vectors(self._encoder, queries, self._made_by.get()))
        )
        sparse = [None] * len(queries) if request.mode == "dense" else query_words(self._sparse_encoder, queries)
        return [
            RetrievalRequest(depth=request.candidate_depth, dense=vector, sparse=words, filter=request.filter)
            for vector, words in zip(dense, sparse, strict=True)
        ]

    def _cut(self, stage: Outcome, request: SearchRequest, whole_texts: WholeTexts) -> tuple[Hit, ...]:
        entries = stage.entries
        if request.group_by is not None:
            entries = one_per_group(entries, request.group_by)
        if request.min_score is not None and stage.status != "degraded":
            entries = [entry for entry in entries if entry.logit is not None and entry.score >= request.min_score]
        entries = entries[: request.top_k]
        windowed = [entry.candidate for entry in entries if entry.candidate.window.count > 1]
        texts = whole_texts(windowed) if windowed else {}
        # A passage that was deleted since it was found is no hit.
        present = [entry for entry in entries if entry.candidate.window.count == 1 or entry.candidate.passage in texts]
        return make_hits(present, texts)

    def _query_truncation(self, query: str, mode: SearchMode) -> int:
        # A token is at least one character long, so most queries need no count.
        room = self._encoder.max_tokens - 2
        if mode == "sparse" or len(query) <= room:
            return 0
        return max(0, len(self._encoder.token_spans(query)) - room)


def _result(query: str, request: SearchRequest, stage: Outcome, hits: tuple[Hit, ...]) -> SearchResult:
    reason = stage.reason
    if stage.status == "degraded" and request.min_score is not None:
        reason = f"{reason}; min_score was not applied, because no hit has a probability"
    field = request.group_by
    if field is not None and stage.entries and _is_unknown(field, stage):
        said = f"{reason}; " if reason else ""
        reason = f"{said}nothing was grouped: no candidate has the metadata field {field!r}"
    return SearchResult(
        hits=hits,
        query=query,
        criteria=request.criteria,
        status=stage.status,
        reason=reason,
        candidate_count=len(stage.entries),
        scored_count=sum(entry.logit is not None for entry in stage.entries),
        truncated_count=sum(entry.truncated_tokens > 0 for entry in stage.entries),
        rerank_query_truncated_tokens=stage.unread_query_tokens,
        cached_count=stage.cached_count,
        tokens_used_count=stage.tokens_used,
        tokens_refused_count=stage.tokens_refused,
        engine=stage.engine,
        blend=stage.blend,
    )


def _is_unknown(field: str, stage: Outcome) -> bool:
    return all(group_of(entry, field) is None for entry in stage.entries)


def _for_stage_2(deadline: Deadline) -> Deadline:
    """Return when stage 2 has to stop so that ordering and reading whole passages still end in time."""
    return deadline.earlier(min(RESERVE_S, deadline.remaining_s / 10))
