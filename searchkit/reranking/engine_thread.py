"""The one thread that runs a cross-encoder for all callers, and what happens when the model fails, hangs or dies."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from searchkit.at_exit import end_at_exit
from searchkit.deadline import Deadline
from searchkit.errors import DeviceMemoryError, RerankError, error_classes
from searchkit.reranking.answers import check_answer
from searchkit.reranking.engine_limits import EngineLimits
from searchkit.reranking.pair_queue import Cell, Chunk, PairQueue, Ticket, by_ticket, halved
from searchkit.stages import PairScores, Reranker, TokenReader

logger = logging.getLogger(__name__)

FIRST_COST = 2**13
"""Characters of the first engine call, before anything is known of the model's speed."""

RECOVERY_CALLS = 64
"""After so many calls without running out of memory, a halved budget is doubled again."""


@dataclass(eq=False)
class _Worker:
    """One thread, and the call it is in."""

    thread: threading.Thread | None = None
    cells: list[Cell] = field(default_factory=list)
    call_started_at: float | None = None


class EngineThread:
    """Owns a reranker: a queue of pairs and at most one live thread that scores them.

    The thread is a daemon, starts with the first ticket and ends when idle or closed. A thread whose call hangs is left
    behind and another takes its place; threads cannot be killed, so there are at most ``limits.max_hung`` of those.

    Args:
        reranker: What scores; called from one thread at a time, hung calls aside.
        limits: See `EngineLimits`.
    """

    def __init__(self, reranker: Reranker, limits: EngineLimits) -> None:
        self.reranker = reranker
        self._token_reader = reranker if isinstance(reranker, TokenReader) else None
        self._limits = limits
        self._users = 0
        self.reset_after_fork()
        end_at_exit(self)

    def reset_after_fork(self) -> None:
        """Forget threads, locks and waiting callers: after a fork the child has none of them."""
        self._lock = threading.RLock()
        self._has_work = threading.Condition(self._lock)
        self._queue = PairQueue()
        self._worker: _Worker | None = None
        self._ending: _Worker | None = None
        self._hung: set[_Worker] = set()
        self._max_cost = self._limits.max_cost
        self._calls_since_oom = 0
        self._cost_per_s: float | None = None
        self._has_scored = False

    def acquire(self) -> None:
        """Count one more user."""
        with self._lock:
            self._users += 1

    def release(self) -> None:
        """Count one user less; without users the thread ends after its current call and waiting callers fail."""
        with self._lock:
            self._users -= 1
            if self._users:
                return
            self.stop()
        self.join(1.0)

    def stop(self) -> None:
        """Let the thread end after its current call; waiting callers fail, and so do calls until `acquire`."""
        with self._lock:
            self._users = 0
            self._queue.fail_all(RerankError("the reranker was closed while this call waited: close the kit last"))
            self._ending, self._worker = self._worker or self._ending, None
            self._has_work.notify_all()

    def join(self, patience_s: float) -> None:
        """Wait until the current call of a stopped thread is over, ``patience_s`` seconds at most."""
        thread = None if self._ending is None else self._ending.thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(patience_s)

    def submit(self, ticket: Ticket, rows: Sequence[int]) -> None:
        """Enqueue the given rows of a ticket.

        Raises:
            RerankError: Too many threads hang in the model, or the last user has left.
        """
        with self._lock:
            if not self._users:
                raise RerankError("this reranker was closed meanwhile: close the kit last")
            self._leave_hung_worker()
            if len(self._hung) >= self._limits.max_hung and self._worker is None:
                raise RerankError(self._hung_sentence())
            self._queue.add(ticket, rows)
            if self._worker is None:
                self._start_worker()
            self._has_work.notify_all()

    def wait(self, ticket: Ticket) -> None:
        """Wait until a ticket is closed or its deadline is over; then it is out of the queue, also on an exception."""
        try:
            while not ticket.done.wait(min(ticket.deadline.remaining_s, self._limits.hang_s)):
                if ticket.deadline.is_over:
                    return
                with self._lock:
                    self._leave_hung_worker()
        finally:
            with self._lock:
                self._queue.close(ticket)

    def _start_worker(self) -> None:
        worker = _Worker()
        worker.thread = threading.Thread(
            target=self._run, args=(worker,), name=f"searchkit-engine-{self.reranker.name}"[:60], daemon=True
        )
        self._worker = worker
        try:
            worker.thread.start()
        except RuntimeError as error:
            self._worker = None
            failed = RerankError(f"no thread could be started for the model: {error}")
            self._queue.fail_all(failed)
            raise failed from error

    def _leave_hung_worker(self) -> None:
        worker = self._worker
        started = None if worker is None else worker.call_started_at  # once: the worker sets it without the lock
        if worker is None or started is None:
            return
        patience = self._limits.hang_s if self._has_scored else self._limits.first_call_s
        if time.monotonic() - started < patience:
            return
        self._hung.add(worker)
        self._worker = None
        error = RerankError(f"the model did not answer within {patience:g} s: the thread that runs it is left behind")
        logger.error("%s; %d of at most %d", error, len(self._hung), self._limits.max_hung)
        self._queue.fail(worker.cells, error)
        if len(self._hung) >= self._limits.max_hung:
            self._queue.fail_all(RerankError(self._hung_sentence()))
        elif len(self._queue):
            self._start_worker()

    def _hung_sentence(self) -> str:
        return (
            f"{len(self._hung)} threads hang in the model {self.reranker.name!r} and no more are started:"
            " restart the process, or wait until the model answers"
        )

    def _run(self, worker: _Worker) -> None:
        try:
            while chunks := self._next_batch(worker):
                self._work_off(worker, chunks)
        except BaseException as error:  # a SystemExit from a model must not leave callers waiting
            logger.error("the engine thread ended with %s; the next call starts one", error_classes(error))  # noqa: TRY400
            logger.debug("the engine thread ended", exc_info=True)
            with self._lock:
                if self._worker is worker:
                    self._worker = None
                    self._queue.fail_all(_as_crash(error))
        finally:
            with self._lock:
                self._hung.discard(worker)

    def _next_batch(self, worker: _Worker) -> list[Chunk]:
        """Wait for work; an empty list tells the thread to end."""
        with self._lock:
            while self._worker is worker:
                budget = self._budget()
                chunks = self._queue.take(budget, max(1, budget // 2))
                if chunks:
                    worker.cells = [cell for chunk in chunks for cell in chunk.cells]
                    for chunk in chunks:
                        chunk.ticket.begin()
                    return chunks
                if not self._has_work.wait(self._limits.idle_s) and not len(self._queue):
                    self._worker = None
            return []

    def _budget(self) -> int:
        """Return the characters of the next call: a slice of time, less when a waiting caller is in a hurry."""
        if self._cost_per_s is None:
            return min(FIRST_COST, self._max_cost)
        slice_s = self._limits.slice_s
        deadlines = [ticket.deadline for ticket in self._queue.waiting if not ticket.deadline.is_over]
        remaining = min((deadline.remaining_s for deadline in deadlines), default=np.inf)
        seconds = min(slice_s, max(remaining / 4, slice_s / 8))  # not less: tiny calls would cost everybody
        return max(1, min(int(self._cost_per_s * seconds), self._max_cost))

    def _work_off(self, worker: _Worker, chunks: list[Chunk]) -> None:
        """Score a batch, in smaller parts where it fails or memory ran out since it was put together."""
        parts = [chunks]
        while parts:
            part = parts.pop()
            cells = [cell for chunk in part for cell in chunk.cells if not cell.is_settled]
            if len(cells) > 1 and _cost(cells) > self._max_cost:
                parts.extend(reversed(halved(part)))
            elif cells:
                parts.extend(reversed(self._attempt(worker, part, cells)))

    def _attempt(self, worker: _Worker, part: list[Chunk], cells: list[Cell]) -> list[list[Chunk]]:
        """Score the cells of a part and settle them; where that fails, return what to try instead."""
        try:
            scores = self._call(worker, cells, _latest([chunk.ticket for chunk in part]))
        except Exception as error:  # whatever a model raises belongs to the callers
            smaller = self._smaller(part, error)
            if smaller:
                logger.warning("%d pairs failed with %s, trying again in parts", len(cells), error_classes(error))
                logger.debug("an engine call failed", exc_info=error)
            else:
                with self._lock:
                    self._queue.fail(cells, error)
            return smaller
        with self._lock:  # what was given up meanwhile (closed, hung) is settled already and stays as it is
            self._queue.settle(cells, scores)
            if np.isnan(scores.logits).all():  # the model sees no time for a single pair: nobody need wait
                for chunk in part:
                    self._queue.close(chunk.ticket)
        return []

    def _smaller(self, part: list[Chunk], error: Exception) -> list[list[Chunk]]:
        """Return what to try instead of a failed part; empty when it has to fail."""
        cells = [cell for chunk in part for cell in chunk.cells]
        if isinstance(error, DeviceMemoryError):
            with self._lock:
                self._max_cost = max(1, min(self._max_cost, _cost(cells) // 2))
                self._calls_since_oom = 0
            return halved(part) if len(cells) > 1 else []
        alone = by_ticket(part)
        return alone if len(alone) > 1 else []

    def _call(self, worker: _Worker, cells: list[Cell], deadline: Deadline | None) -> PairScores:
        """Call the engine once and learn its speed.

        Raises:
            RerankError: The engine's answer cannot be used.
        """
        started = worker.call_started_at = time.monotonic()
        try:
            pairs = [cell.pair for cell in cells]
            if self._token_reader is None:
                scores = self.reranker.score_pairs(pairs, deadline=deadline)
            else:
                tokens = [cell.tokens for cell in cells]
                scores = self._token_reader.score_pairs(pairs, deadline=deadline, tokens=tokens)
        finally:
            worker.call_started_at = None
        seconds = max(time.monotonic() - started, 1e-6)
        check_answer(scores, len(cells), deadline)
        scored = np.flatnonzero(~np.isnan(scores.logits))
        if scored.size:
            with self._lock:
                self._learn(_cost([cells[row] for row in scored]) / seconds)
        return scores

    def _learn(self, cost_per_s: float) -> None:
        self._calls_since_oom += 1
        if self._calls_since_oom >= RECOVERY_CALLS and self._max_cost < self._limits.max_cost:
            self._max_cost, self._calls_since_oom = min(self._max_cost * 2, self._limits.max_cost), 0
        if not self._has_scored:  # the first call may have loaded the model: it says nothing about speed
            self._has_scored = True
        elif self._cost_per_s is None:
            self._cost_per_s = cost_per_s
        else:
            self._cost_per_s = (self._cost_per_s + cost_per_s) / 2


def _latest(tickets: Sequence[Ticket]) -> Deadline | None:
    """Return the deadline after which nobody waits for the batch; ``None`` if somebody waits for ever."""
    at = max(ticket.deadline.at for ticket in tickets)
    return None if np.isinf(at) else Deadline(at)  # one caller's cancellation must not end the others' batch


def _cost(cells: Sequence[Cell]) -> int:
    return sum(cell.cost for cell in cells)


def _as_crash(error: BaseException) -> RerankError:
    crash = RerankError(f"the engine thread ended with {type(error).__name__}: {error}; the next call starts another")
    crash.__cause__ = error
    return crash
