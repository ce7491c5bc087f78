"""One model, many callers: concurrent requests share engine calls, each comes back in time and with its own scores."""

from __future__ import annotations

import copy
import os
import threading
import uuid
import weakref
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType

import numpy as np

from searchkit.config import RerankerProfile
from searchkit.deadline import Deadline
from searchkit.errors import ClosedRerankerError, ConfigError, MissingExtraError, RerankError, SearchkitError
from searchkit.reranking.engine_limits import EngineLimits
from searchkit.reranking.engine_thread import EngineThread
from searchkit.reranking.pair_queue import Pair, Ticket
from searchkit.reranking.score_cache import CachedScore, PairScoreCache, pair_keys
from searchkit.stages import PairScores, Reranker, TokenReader, TokenWriter


class ScheduledReranker:
    """A reranker that many threads may call at once; satisfies `searchkit.stages.Reranker` itself.

    - Calls that wait at the same time are merged into one engine call of bounded size; there is no timer, so a lone
      call starts at once. The same pair asked twice at once is scored once.
    - Fair: callers take turns, a chunk each, so that a small request beside a large one is served soon.
    - A deadline holds whatever the model does: the call returns what is scored by then, NaN for the rest, and its
      pairs leave the queue. So they do when the caller is interrupted.
    - A failing batch of several callers is tried again caller by caller. Out of memory halves the batch first.
    - A call that hangs fails its callers after ``limits.hang_s``, and another thread takes over.

    Scores do not depend on the merging where the engine is batch-invariant. Scheduled rerankers around the same
    reranker object share one thread. After a fork the child starts a thread of its own.

    Args:
        reranker: What scores; a `ScheduledReranker` is unwrapped.
        cache_bytes: Memory for scores of pairs asked before; 0 keeps none.
        limits: Size and patience of an engine call; where the model is shared, those of the first hold.
    """

    def __init__(
        self, reranker: Reranker, *, cache_bytes: int = 64 * 2**20, limits: EngineLimits | None = None
    ) -> None:
        self._reranker: Reranker = reranker.reranker if isinstance(reranker, ScheduledReranker) else reranker
        self._token_reader = self._reranker if isinstance(self._reranker, TokenReader) else None
        self._engine_thread: EngineThread = _engine_thread_of(self._reranker, limits or EngineLimits())
        self._cache = PairScoreCache(cache_bytes) if cache_bytes else None
        self._identity = uuid.uuid4().hex
        self._profile: list[RerankerProfile] = []  # one or none; a list, because views of this one share it
        self._closing = threading.Lock()
        self._closed = threading.Event()

    @property
    def reranker(self) -> Reranker:
        """The reranker that does the work."""
        return self._reranker

    @property
    def name(self) -> str:
        """Name of the model, as shown in results."""
        return self._reranker.name

    @property
    def profile(self) -> RerankerProfile:
        """Calibration, blend and criteria template of the model; asked for once."""
        if not self._profile:
            self._profile[:] = [self._reranker.profile]
        return self._profile[0]

    def apart(self, name: str) -> ScheduledReranker:
        """Return a view that shares model, thread and memory of the cache, but no scores with views of another name.

        So nobody learns from a score being known which pairs others have asked. Closing a view closes them all.
        """
        view = copy.copy(self)
        view._identity = f"{self._identity}:{name}"
        return view

    def use_profile(self, profile: RerankerProfile) -> None:
        """Use another calibration, blend and template from now on, in views too; the reranker stays as it is."""
        self._profile[:] = [profile]

    def __enter__(self) -> ScheduledReranker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the thread; it ends when nobody else uses this model. The reranker itself stays usable."""
        with self._closing:
            if not self._closed.is_set():
                self._closed.set()
                self._engine_thread.release()

    def token_writer(self) -> TokenWriter | None:
        """Return what makes token ids to be stored with texts; ``None`` where the reranker reads none."""
        return None if self._token_reader is None else self._token_reader.token_writer()

    def token_count(self, text: str, stored: str) -> int | None:
        """Return how many tokens ``text`` has if ``stored`` is right for it, else ``None``."""
        return None if self._token_reader is None else self._token_reader.token_count(text, stored)

    def score_pairs(
        self,
        pairs: Sequence[Pair],
        *,
        deadline: Deadline | None = None,
        tokens: Sequence[str | None] | None = None,
    ) -> PairScores:
        """Score (query, text) pairs; what the deadline leaves unscored is NaN.

        With a deadline, pairs are scored in the order given; put the most promising first.

        Args:
            pairs: What to score.
            deadline: When the call returns at the latest.
            tokens: Token ids stored with each text, for a reranker that reads them.

        Raises:
            RerankError: The model could not be loaded or run, hangs, or returned NaN; or this object is closed.
            ConfigError: It was made with settings that cannot work here.
            MissingExtraError: It needs a library that is not installed.
        """
        if self._closed.is_set():
            raise ClosedRerankerError("this reranker is closed: make a new one, or close the kit last")
        pairs = [(query, text) for query, text in pairs]
        ticket = Ticket(pairs, deadline or Deadline(), tokens)
        keys = pair_keys(self._identity, pairs) if self._cache is not None else []
        cached = self._recall(ticket, keys)
        missing = np.flatnonzero(~cached).tolist()
        if missing and not ticket.deadline.is_over:
            self._engine_thread.submit(ticket, missing)
            self._engine_thread.wait(ticket)
        if ticket.error is not None:
            raise _for_this_caller(ticket.error) from ticket.error
        self._remember(ticket, keys, missing)
        return replace(ticket.scores(), cached=cached)

    def _recall(self, ticket: Ticket, keys: Sequence[bytes]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        cached = np.zeros(len(ticket.pairs), dtype=np.bool_)
        if self._cache is None:
            return cached
        for row, known in enumerate(self._cache.find(keys)):
            if known is not None:
                ticket.logits[row], ticket.truncated_tokens[row] = known.logit, known.truncated_tokens
                ticket.query_truncated_tokens[row], ticket.engine = known.query_truncated_tokens, known.engine
                cached[row] = True
        return cached

    def _remember(self, ticket: Ticket, keys: Sequence[bytes], rows: Sequence[int]) -> None:
        if self._cache is None:
            return
        logits, truncated = ticket.logits.tolist(), ticket.truncated_tokens.tolist()
        unread = ticket.query_truncated_tokens.tolist()
        self._cache.store(
            (keys[row], CachedScore(logits[row], truncated[row], unread[row], ticket.engine))
            for row in rows
            if not np.isnan(logits[row])
        )


def _for_this_caller(error: BaseException) -> SearchkitError:
    """Return an exception of this caller's own: one object raised in several threads would mix their tracebacks.

    A mistake of set-up stays what it is; of what else a foreign reranker raises, a `RerankError` tells.
    """
    if isinstance(error, RerankError | ConfigError | MissingExtraError):
        try:
            return copy.copy(error)
        except TypeError:  # of a class whose constructor wants more than its message
            return RerankError(f"{type(error).__name__}: {error}")
    return RerankError(f"the reranker raised {type(error).__name__}: {error}")


_threads: weakref.WeakValueDictionary[int, EngineThread] = weakref.WeakValueDictionary()
_threads_lock = threading.Lock()


def _engine_thread_of(reranker: Reranker, limits: EngineLimits) -> EngineThread:
    """Return the one `EngineThread` of this reranker object, acquired; the first caller's ``limits`` hold.

    By identity, not by equality: an EngineThread keeps its reranker alive, so no other object can get its id.
    """
    with _threads_lock:
        thread = _threads.get(id(reranker))
        if thread is None:
            thread = _threads[id(reranker)] = EngineThread(reranker, limits)
        thread.acquire()
        return thread


def _after_fork() -> None:
    global _threads_lock  # the parent's lock may be held by a thread that the child does not have
    _threads_lock = threading.Lock()
    for thread in list(_threads.values()):
        thread.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
