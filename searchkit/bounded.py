"""Work that may outlast its deadline: done in a thread that nobody has to wait for."""

from __future__ import annotations

import contextvars
import math
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from searchkit.at_exit import end_at_exit
from searchkit.deadline import Deadline

T = TypeVar("T")


class StillRunningError(TimeoutError):
    """The deadline passed and the work goes on without the caller."""


_Inbox = queue.SimpleQueue["_Job[Any] | None"]
"""Where a thread gets its next job; ``None`` ends it."""


class _Job(Generic[T]):
    """One piece of work and, later, its outcome."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._context = contextvars.copy_context()
        self._outcome: list[T] = []
        self._error: BaseException | None = None
        self.done = threading.Event()

    def run(self) -> None:
        try:
            self._outcome.append(self._context.run(self._work))
        except BaseException as error:  # noqa: BLE001  # raised again where the result is wanted
            self._error = error

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._outcome[0]


class BoundedThreads:
    """Runs work in reused daemon threads and stops waiting at a deadline.

    A thread cannot be killed: work that hangs keeps its thread, and at most ``max_threads`` exist. They do not keep the
    process alive and end when idle. (A ThreadPoolExecutor would wait for a hung thread when the interpreter exits.)

    Args:
        max_threads: Threads at most; further work waits for one, within its deadline.
        idle_s: Seconds after which a thread without work ends.
    """

    def __init__(self, max_threads: int = 128, *, idle_s: float = 30.0) -> None:
        self._max_threads = max_threads
        self._idle_s = idle_s
        self._is_stopped = False
        self._reset()
        end_at_exit(self)

    def _reset(self) -> None:
        self._process = os.getpid()
        self._slots = threading.BoundedSemaphore(self._max_threads)
        self._idle: list[_Inbox] = []
        self._lock = threading.Lock()

    def stop(self) -> None:
        """End the threads without work now, and the others when theirs is done; work that still comes is done."""
        if self._process != os.getpid():  # a forked child has none of them, and the lock may be held for ever
            return
        with self._lock:
            self._is_stopped = True
            idle, self._idle = self._idle, []
        for inbox in idle:
            inbox.put(None)

    def join(self, patience_s: float) -> None:
        """Wait until no work is running, ``patience_s`` seconds at most."""
        if self._process != os.getpid():
            return
        until = time.monotonic() + patience_s
        held = 0
        while held < self._max_threads and self._slots.acquire(timeout=max(until - time.monotonic(), 0.0)):
            held += 1
        if held:
            self._slots.release(held)

    def run(self, work: Callable[[], T], deadline: Deadline) -> T:
        """Return what ``work`` returns, or raise what it raises; without a deadline in the caller's own thread.

        Raises:
            StillRunningError: The deadline passed first.
        """
        if math.isinf(deadline.at):
            return work()
        if self._process != os.getpid():  # after a fork the parent's threads do not exist
            self._reset()
        if not self._slots.acquire(timeout=deadline.remaining_s):
            raise StillRunningError("all threads are busy with earlier work that has not ended")
        job = _Job(work)
        try:
            self._hand_over(job)
        except RuntimeError:  # no thread can be started
            self._slots.release()
            raise
        if not job.done.wait(deadline.remaining_s):
            raise StillRunningError("the deadline passed before the work was done")
        return job.result()

    def _hand_over(self, job: _Job[Any]) -> None:
        with self._lock:
            inbox = self._idle.pop() if self._idle else None
            if inbox is not None:
                inbox.put(job)
                return
        fresh: _Inbox = queue.SimpleQueue()
        fresh.put(job)  # not an argument: a thread keeps its arguments, and so the first search, as long as it lives
        threading.Thread(target=self._serve, args=(fresh,), name="searchkit-bounded", daemon=True).start()

    def _serve(self, inbox: _Inbox) -> None:
        while (job := self._next(inbox)) is not None:
            job.run()
            with self._lock:
                if not self._is_stopped:
                    self._idle.append(inbox)
                is_last = self._is_stopped
            self._slots.release()
            job.done.set()
            if is_last:
                return
            del job  # it holds the search, and with it the kit, while this thread waits for another

    def _next(self, inbox: _Inbox) -> _Job[Any] | None:
        try:
            return inbox.get(timeout=self._idle_s)
        except queue.Empty:
            with self._lock:
                if inbox in self._idle:
                    self._idle.remove(inbox)
                    return None
        return inbox.get()  # handed over between the two lines above
