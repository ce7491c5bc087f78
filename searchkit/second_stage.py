"""Stage 2 for one or several queries: what is scored in which order, when to stop, and what to say of it."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from searchkit.assembly import Ranked, first_stage_order, one_per_group, reranked_order
from searchkit.bounded import BoundedThreads, StillRunningError
from searchkit.config import AdaptiveDepthConfig, Blend, RerankerProfile, SearchKitConfig
from searchkit.deadline import Deadline
from searchkit.errors import (
    ClosedRerankerError,
    ConfigError,
    MissingExtraError,
    ModelLoadError,
    RerankError,
    error_classes,
)
from searchkit.request import SearchRequest
from searchkit.rerank_task import RerankTask
from searchkit.reranking.adaptive import expected_missed
from searchkit.reranking.scheduler import ScheduledReranker
from searchkit.splitting import SpanReader, readable_windows
from searchkit.stages import Candidate, PairScores, Reranker, TokenReader, TokenUse
from searchkit.types import PassageId, SearchStatus

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What stage 2 did for one query.

    Attributes:
        entries: Passages in their final order, not cut yet.
        status: See `SearchResult`.
        reason: Why the status is "partial" or "degraded", or why scoring stopped early.
        engine: What scored the pairs.
        blend: How both stages' evidence became the score, in words.
        cached_count: Windows whose score was known before.
        tokens_used: Windows whose stored token ids were used.
        tokens_refused: Windows whose stored token ids were not right for the model or the text.
        reason_kind: ``reason`` in a word: "deadline", "adaptive_depth", or the class of the error.
        queue_s: Seconds that the query's pairs waited for the model, if that is known.
        unread_query_tokens: Tokens of the query and its criteria that the model could not see beside some window.
    """

    entries: list[Ranked]
    status: SearchStatus
    reason: str | None = None
    engine: str | None = None
    blend: str | None = None
    cached_count: int = 0
    tokens_used: int = 0
    tokens_refused: int = 0
    reason_kind: str | None = None
    queue_s: float | None = None
    unread_query_tokens: int = 0


class SecondStage:
    """Scores the candidates of one or several queries in shared calls.

    Args:
        reranker: What scores.
        config: Settings.
        threads: Where work runs that may hang.
    """

    def __init__(self, reranker: Reranker, config: SearchKitConfig, threads: BoundedThreads) -> None:
        self._reranker = reranker
        self._token_reader = reranker if isinstance(reranker, TokenReader) else None
        self._config = config
        self._threads = threads

    def run(
        self,
        queries: Sequence[str],
        requests: Sequence[SearchRequest],
        candidates: Sequence[Sequence[Candidate]],
        deadline: Deadline,
        *,
        blend: bool,
    ) -> list[Outcome]:
        """Return one outcome a query; first-stage order where stage 2 fails or the deadline leaves it no time.

        Args:
            queries: What the callers typed.
            requests: Their arguments; they differ in their criteria at most.
            candidates: Windows in first-stage order.
            deadline: When to stop.
            blend: Whether the model's blend may be used.

        Raises:
            ModelLoadError: The model of stage 2 cannot be found or loaded.
            ConfigError: It was made with settings that cannot work here.
            MissingExtraError: It needs a library that is not installed.
            RerankError: Stage 2 failed and the configuration says to raise, or it is closed.
        """
        if not requests[0].rerank:
            return [Outcome(first_stage_order(found), "retrieved") for found in candidates]
        if deadline.is_over:
            return _degraded(candidates, "the deadline passed before stage 2 could start")
        try:
            return self._outcomes(queries, requests, candidates, deadline, blend=blend)
        except StillRunningError:
            return _degraded(candidates, "the deadline passed before the model of stage 2 was ready")
        except (ModelLoadError, ClosedRerankerError):
            raise  # a mistake of the program, not a fault of the moment: degrading would hide it on every search
        except RerankError as error:
            if self._config.on_rerank_error == "raise":
                raise
            # Messages of foreign models may quote what they read.
            logger.warning("stage 2 failed, answering in first-stage order: %s", error_classes(error))
            logger.debug("stage 2 failed: %s", error, exc_info=True)
            return _degraded(candidates, f"{type(error).__name__}: {error}", type(error).__name__)

    def _outcomes(
        self,
        queries: Sequence[str],
        requests: Sequence[SearchRequest],
        candidates: Sequence[Sequence[Candidate]],
        deadline: Deadline,
        *,
        blend: bool,
    ) -> list[Outcome]:
        try:
            profile, tasks = self._threads.run(lambda: self._prepared(queries, requests, candidates), deadline)
            engine = self._score(tasks, deadline, profile, blend=blend)
        except (RerankError, StillRunningError, ConfigError, MissingExtraError):
            raise
        except Exception as error:  # whatever a reranker raises, stage 1's answer is still good
            raise RerankError(f"the reranker raised {type(error).__name__}: {error}") from error
        return [_outcome(task, profile, engine, blend=blend) for task in tasks]

    def _prepared(
        self, queries: Sequence[str], requests: Sequence[SearchRequest], candidates: Sequence[Sequence[Candidate]]
    ) -> tuple[RerankerProfile, list[RerankTask]]:
        """Compose what the model reads, and cut what it cannot read whole. May look for the model and load it."""
        profile = self._reranker.profile
        reader = self._reranker.reranker if isinstance(self._reranker, ScheduledReranker) else self._reranker
        tasks = []
        for query, request, found in zip(queries, requests, candidates, strict=True):
            composed = profile.compose(query, request.criteria)
            if isinstance(reader, SpanReader):
                overlap = self._config.windows.overlap_tokens
                found = readable_windows(found, composed, reader, overlap_tokens=overlap)
            tasks.append(RerankTask(composed, request, found, self._stretches(found)))
        return profile, tasks

    def _stretches(self, candidates: Sequence[Candidate]) -> list[list[int]]:
        """Return the rows in order of promise: by passage rank, the first window of each before any second one."""
        passages = list(dict.fromkeys(candidate.passage for candidate in candidates))
        stretch_of = _stretch_of_passage(passages, self._config.adaptive_depth)
        seen: Counter[PassageId] = Counter()
        keys = []
        for row, candidate in enumerate(candidates):
            keys.append((stretch_of[candidate.passage], seen[candidate.passage], row))
            seen[candidate.passage] += 1
        stretches: list[list[int]] = [[] for _ in range(max(stretch_of.values(), default=-1) + 1)]
        for stretch, _, row in sorted(keys):
            stretches[stretch].append(row)
        return stretches

    def _score(self, tasks: Sequence[RerankTask], deadline: Deadline, profile: RerankerProfile, *, blend: bool) -> str:
        """Fill the tasks' scores, most promising first and query by query in turn; return the engine's name."""
        engine = ""
        going = [task for task in tasks if task.stretches]
        while going:
            rows = sorted(
                (place, number, row)
                for number, task in enumerate(going)
                for place, row in enumerate(task.stretches.pop(0))
            )
            pairs = [(going[number].query, going[number].candidates[row]) for _, number, row in rows]
            scores = self._scored(pairs, deadline)
            engine = scores.engine or engine
            if scores.queue_s is not None:
                for task in going:
                    task.queue_s = (task.queue_s or 0.0) + scores.queue_s
            for place, (_, number, row) in enumerate(rows):
                going[number].record(row, scores, place)
            if np.isnan(scores.logits).any():
                break
            for task in going:
                task.is_settled = self._is_settled(task, profile, blend=blend)
            going = [task for task in going if task.stretches and not task.is_settled]
        return engine

    def _scored(self, pairs: Sequence[tuple[str, Candidate]], deadline: Deadline) -> PairScores:
        texts = [(query, candidate.text) for query, candidate in pairs]
        if self._token_reader is None:
            return self._reranker.score_pairs(texts, deadline=deadline)
        tokens = [candidate.token_ids for _, candidate in pairs]
        return self._token_reader.score_pairs(texts, deadline=deadline, tokens=tokens)

    def _is_settled(self, task: RerankTask, profile: RerankerProfile, *, blend: bool) -> bool:
        """Whether scoring more of the task's candidates is unlikely to change its hits."""
        settings = self._config.adaptive_depth
        if settings is None:
            return False
        ranked = reranked_order(task.candidates, task.scores, profile, blend=blend)
        scored = [entry for entry in ranked if entry.logit is not None]
        rest = [entry.candidate.evidence for entry in ranked if entry.logit is None]
        kept = scored if task.request.group_by is None else one_per_group(scored, task.request.group_by)
        if len(kept) < task.request.top_k:
            return False
        bar = max(kept[task.request.top_k - 1].score, task.request.min_score or 0.0)
        missed = expected_missed(
            [(entry.logit or 0.0, entry.candidate.evidence) for entry in scored], rest, profile, bar=bar, blend=blend
        )
        return missed <= settings.max_missed


def _stretch_of_passage(passages: Sequence[PassageId], settings: AdaptiveDepthConfig | None) -> dict[PassageId, int]:
    if settings is None:
        return dict.fromkeys(passages, 0)
    return {key: max(0, math.ceil((n + 1 - settings.first) / settings.step)) for n, key in enumerate(passages)}


def _outcome(task: RerankTask, profile: RerankerProfile, engine: str, *, blend: bool) -> Outcome:
    total = len(task.candidates)
    if task.left and task.left == total:
        return _degraded([task.candidates], "the deadline passed before stage 2 scored anything")[0]
    status: SearchStatus = "reranked"
    reason = kind = None
    if task.left and task.is_settled:
        kind = "adaptive_depth"
        reason = f"stage 2 stopped after {total - task.left} of {total} windows: the rest is unlikely to be a hit"
    elif task.left:
        status, kind = "partial", "deadline"
        reason = f"the deadline stopped stage 2 after {total - task.left} of {total} windows"
    return Outcome(
        reranked_order(task.candidates, task.scores, profile, blend=blend),
        status,
        reason,
        engine or None,
        _in_words(profile.blend) if blend and profile.blend is not None and engine else None,
        0 if task.scores.cached is None else int(task.scores.cached.sum()),
        task.uses(TokenUse.USED),
        task.uses(TokenUse.REFUSED),
        kind,
        task.queue_s,
        task.unread_query_tokens,
    )


def _degraded(candidates: Sequence[Sequence[Candidate]], reason: str, kind: str = "deadline") -> list[Outcome]:
    return [Outcome(first_stage_order(found), "degraded", reason, reason_kind=kind) for found in candidates]


def _in_words(blend: Blend) -> str:
    parts = [f"{blend.logit_weight:.3g} * logit"]
    if blend.rank_weight:
        parts.append(f"{blend.rank_weight:.3g} * {blend.k + 1} / ({blend.k} + first-stage rank)")
    if blend.dense_weight:
        parts.append(f"{blend.dense_weight:.3g} * cosine")
    if blend.sparse_weight:
        parts.append(f"{blend.sparse_weight:.3g} * log(1 + BM25)")
    return f"sigmoid({' + '.join(parts)} {blend.intercept:+.3g})"
