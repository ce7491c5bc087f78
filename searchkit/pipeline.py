"""The two stages in a row: encode, retrieve, rerank, cut, with the clock and the account of what happened."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from searchkit.assembly import Ranked, first_stage_order, make_hits, one_per_group, reranked_order
from searchkit.config import Blend, SearchKitConfig
from searchkit.deadline import Deadline
from searchkit.errors import ModelLoadError, RerankError
from searchkit.request import SearchRequest
from searchkit.stages import Candidate, Encoder, PairScores, Reranker, RetrievalRequest, Retriever, SparseEncoder
from searchkit.types import Hit, Passage, PassageId, SearchMode, SearchResult, SearchStatus, Timings

logger = logging.getLogger(__name__)


class Stopwatch:
    """Laps of one search in milliseconds."""

    def __init__(self) -> None:
        self._start = self._lap = time.perf_counter()

    def lap(self) -> float:
        """Return the milliseconds since the last lap."""
        last, self._lap = self._lap, time.perf_counter()
        return (self._lap - last) * 1e3

    def total(self) -> float:
        """Return the milliseconds since the start."""
        return (time.perf_counter() - self._start) * 1e3


@dataclass(frozen=True, slots=True)
class SecondStage:
    """What stage 2 did for one query.

    Attributes:
        entries: Passages in their final order, not cut yet.
        status: See `SearchResult`.
        reason: Why the status is "partial" or "degraded".
        engine: What scored the pairs.
    """

    entries: list[Ranked]
    status: SearchStatus
    reason: str | None = None
    engine: str | None = None


class TwoStagePipeline:
    """Encoders, a retriever and a reranker, wired; holds no state of its own.

    Args:
        encoder: Dense leg of stage 1.
        sparse_encoder: BM25 leg of stage 1.
        retriever: Finds candidates by vector.
        reranker: Stage 2.
        get: Returns whole passages by id, for hits of which only a window was scored.
        config: Settings.
    """

    def __init__(
        self,
        *,
        encoder: Encoder,
        sparse_encoder: SparseEncoder,
        retriever: Retriever,
        reranker: Reranker,
        get: Callable[[Sequence[PassageId]], list[Passage]],
        config: SearchKitConfig,
    ) -> None:
        self._encoder = encoder
        self._sparse_encoder = sparse_encoder
        self._retriever = retriever
        self._reranker = reranker
        self._get = get
        self._config = config

    def search(self, queries: Sequence[str], requests: Sequence[SearchRequest]) -> list[SearchResult]:
        """Run both stages for queries whose requests differ in their criteria at most."""
        shared = requests[0]
        deadline, watch = Deadline.after(shared.deadline_s), Stopwatch()
        plans = self._encode(queries, shared)
        encode = watch.lap()
        candidates = self._retriever.retrieve(plans)
        retrieve = watch.lap()
        blend = self._blend() if shared.rerank else None
        stages = self._second_stage(queries, requests, candidates, deadline, blend=blend is not None)
        rerank = watch.lap() if shared.rerank else 0.0
        cut = [self._cut(stage, request) for stage, request in zip(stages, requests, strict=True)]
        timings = Timings(encode=encode, retrieve=retrieve, rerank=rerank, total=watch.total())
        unseen = [self._query_truncation(query, shared.mode) for query in queries]
        return [
            _result(query, request, stage, hits).model_copy(
                update={
                    "mode": shared.mode,
                    "timings": timings,
                    "query_truncated_tokens": lost,
                    "reranker": self._reranker.name if request.rerank else None,
                    "blend": _in_words(blend) if blend is not None and stage.engine is not None else None,
                }
            )
            for query, request, stage, hits, lost in zip(queries, requests, stages, cut, unseen, strict=True)
        ]

    def rerank(self, query: str, request: SearchRequest, candidates: Sequence[Candidate]) -> SearchResult:
        """Run stage 2 alone; the score is the calibrated second stage, whatever blend the model carries."""
        deadline, watch = Deadline.after(request.deadline_s), Stopwatch()
        stage = self._second_stage([query], [request], [candidates], deadline, blend=False)[0]
        rerank = watch.lap()
        hits = self._cut(stage, request)
        timings = Timings(rerank=rerank, total=watch.total())
        return _result(query, request, stage, hits).model_copy(
            update={"timings": timings, "reranker": self._reranker.name}
        )

    def _blend(self) -> Blend | None:
        return self._reranker.profile.blend if self._config.blend == "model" else None

    def _encode(self, queries: Sequence[str], request: SearchRequest) -> list[RetrievalRequest]:
        dense = [None] * len(queries) if request.mode == "sparse" else list(self._encoder.encode_queries(queries))
        sparse = [None] * len(queries) if request.mode == "dense" else self._sparse_encoder.encode_queries(queries)
        return [
            RetrievalRequest(depth=request.candidate_depth, dense=vector, sparse=words, filter=request.filter)
            for vector, words in zip(dense, sparse, strict=True)
        ]

    def _second_stage(
        self,
        queries: Sequence[str],
        requests: Sequence[SearchRequest],
        candidates: Sequence[Sequence[Candidate]],
        deadline: Deadline,
        *,
        blend: bool,
    ) -> list[SecondStage]:
        """Score all candidates of all queries in shared batches; degrade where that fails.

        Raises:
            ModelLoadError: The model of stage 2 cannot be found or loaded.
            RerankError: Stage 2 failed and the configuration says to raise.
        """
        if not requests[0].rerank:
            return [SecondStage(first_stage_order(found), "retrieved") for found in candidates]
        if deadline.is_over:
            return _degraded(candidates, "the deadline passed before stage 2 could start")
        pairs = [
            (self._reranker.profile.compose(query, request.criteria), candidate.text)
            for query, request, found in zip(queries, requests, candidates, strict=True)
            for candidate in found
        ]
        try:
            scores = self._reranker.score_pairs(pairs, deadline=deadline)
        except ModelLoadError:
            raise  # a mistake of set-up, not a fault of the moment: degrading would hide it on every search
        except Exception as error:  # whatever a reranker raises, stage 1's answer is still good
            if self._config.on_rerank_error == "raise":
                raise RerankError(f"the reranker raised {type(error).__name__}: {error}") from error
            logger.warning("stage 2 failed, answering in first-stage order: %s", type(error).__name__, exc_info=True)
            return _degraded(candidates, f"{type(error).__name__}: {error}")
        ends = list(accumulate(len(found) for found in candidates))
        return [
            self._merged(found, _part(scores, end - len(found), end), blend=blend)
            for found, end in zip(candidates, ends, strict=True)
        ]

    def _merged(self, candidates: Sequence[Candidate], scores: PairScores, *, blend: bool) -> SecondStage:
        left = int(np.isnan(scores.logits).sum())
        if left and left == len(candidates):
            return _degraded([candidates], "the deadline passed before stage 2 scored anything")[0]
        entries = reranked_order(candidates, scores, self._reranker.profile, blend=blend)
        if not left:
            return SecondStage(entries, "reranked", None, scores.engine)
        reason = f"the deadline stopped stage 2 after {len(candidates) - left} of {len(candidates)} windows"
        return SecondStage(entries, "partial", reason, scores.engine)

    def _cut(self, stage: SecondStage, request: SearchRequest) -> tuple[Hit, ...]:
        entries = stage.entries
        if request.group_by is not None:
            entries = one_per_group(entries, request.group_by)
        if request.min_score is not None and stage.status != "degraded":
            entries = [entry for entry in entries if entry.logit is not None and entry.score >= request.min_score]
        entries = entries[: request.top_k]
        windowed = [entry.candidate.id for entry in entries if entry.candidate.window.count > 1]
        whole = {passage.id: passage.text for passage in self._get(windowed)} if windowed else {}
        return make_hits(entries, {key: text for key, text in whole.items() if key is not None})

    def _query_truncation(self, query: str, mode: SearchMode) -> int:
        # A token is at least one character long, so most queries need no count.
        room = self._encoder.max_tokens - 2
        if mode == "sparse" or len(query) <= room:
            return 0
        return max(0, len(self._encoder.token_spans(query)) - room)


def _result(query: str, request: SearchRequest, stage: SecondStage, hits: tuple[Hit, ...]) -> SearchResult:
    reason = stage.reason
    if stage.status == "degraded" and request.min_score is not None:
        reason = f"{reason}; min_score was not applied, because no hit has a probability"
    return SearchResult(
        hits=hits,
        query=query,
        criteria=request.criteria,
        status=stage.status,
        reason=reason,
        candidate_count=len(stage.entries),
        scored_count=sum(entry.logit is not None for entry in stage.entries),
        truncated_count=sum(entry.truncated_tokens > 0 for entry in stage.entries),
        engine=stage.engine,
    )


def _part(scores: PairScores, start: int, end: int) -> PairScores:
    return PairScores(scores.logits[start:end], scores.truncated_tokens[start:end], scores.engine)


def _degraded(candidates: Sequence[Sequence[Candidate]], reason: str) -> list[SecondStage]:
    return [SecondStage(first_stage_order(found), "degraded", reason) for found in candidates]


def _in_words(blend: Blend) -> str:
    parts = [f"{blend.logit_weight:.3g} * logit"]
    if blend.rank_weight:
        parts.append(f"{blend.rank_weight:.3g} * {blend.k + 1} / ({blend.k} + first-stage rank)")
    if blend.dense_weight:
        parts.append(f"{blend.dense_weight:.3g} * cosine")
    if blend.sparse_weight:
        parts.append(f"{blend.sparse_weight:.3g} * log(1 + BM25)")
    return f"sigmoid({' + '.join(parts)} {blend.intercept:+.3g})"
