"""A point in time that a search must not outlast."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

CANCELLATION: ContextVar[threading.Event | None] = ContextVar("searchkit_cancellation", default=None)
"""Set by the asynchronous edge: told when the task that awaits the search is cancelled."""

_ARRIVED_AT: ContextVar[float | None] = ContextVar("searchkit_arrived_at", default=None)
"""When the call came in, on ``time.perf_counter()``, where it waited for something before the search began."""

_FURTHEST_S = threading.TIMEOUT_MAX / 2


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the monotonic clock; the whole search shares one.

    Attributes:
        at: Seconds on ``time.monotonic()``; infinity means no deadline.
        cancelled: Once set, the moment has passed, whatever the clock says.
    """

    at: float = math.inf
    cancelled: threading.Event | None = field(default=None, compare=False, repr=False)

    @classmethod
    def after(cls, seconds: float | None) -> Deadline:
        """Return the deadline ``seconds`` after the call came in; ``None`` means never. A cancelled task ends it early.

        One that is further away than a lock can wait for (years) is none.
        """
        at = math.inf if seconds is None or seconds > _FURTHEST_S else time.monotonic() + seconds - waited_s()
        return cls(at, CANCELLATION.get())

    @property
    def remaining_s(self) -> float:
        """Seconds left, 0 when it has passed, infinity without a deadline."""
        return 0.0 if self._is_cancelled else max(0.0, self.at - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether the moment has passed."""
        return self._is_cancelled or time.monotonic() >= self.at

    @property
    def _is_cancelled(self) -> bool:
        return self.cancelled is not None and self.cancelled.is_set()

    def earlier(self, seconds: float) -> Deadline:
        """Return a deadline so many seconds before this one, cancelled with it."""
        return Deadline(self.at - seconds, self.cancelled)


@contextmanager
def arrived() -> Iterator[None]:
    """Let the clock of a search that begins in this context run from now; the outermost moment holds."""
    before = _ARRIVED_AT.get()
    token = _ARRIVED_AT.set(time.perf_counter() if before is None else before)
    try:
        yield
    finally:
        _ARRIVED_AT.reset(token)


def waited_s() -> float:
    """Return the seconds since the call came in that now begins to be worked on."""
    at = _ARRIVED_AT.get()
    return 0.0 if at is None else time.perf_counter() - at


_CURRENT: ContextVar[Deadline | None] = ContextVar("searchkit_deadline", default=None)


@contextmanager
def bound_by(deadline: Deadline) -> Iterator[None]:
    """Let everything called in this context, in this thread or one that copies the context, see ``deadline``."""
    token = _CURRENT.set(deadline)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current_deadline() -> Deadline:
    """Return the deadline of the search on whose behalf the caller runs; one at infinity outside of a search."""
    return _CURRENT.get() or Deadline()
