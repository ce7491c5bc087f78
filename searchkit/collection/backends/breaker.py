"""A circuit breaker: a server that fails again and again is left alone for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from searchkit.config import CircuitBreakerConfig
from searchkit.errors import CircuitOpenError


class CircuitBreaker:
    """Counts failures in a row and refuses requests after too many; safe to use from several threads.

    Closed, it lets every request through. Open, it refuses all until ``open_s`` have passed. Then it is half-open: one
    request, the probe, is let through; its answer closes the circuit, its failure opens it again.

    Args:
        location: What is guarded, for messages.
        config: How many failures, and how long.
        clock: Seconds that only go up.
    """

    def __init__(
        self, location: str, config: CircuitBreakerConfig, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._location = location
        self._config = config
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._opened_at = 0.0
        self._is_open = False
        self._is_probing = False
        self._last = ""

    def admit(self) -> None:
        """Let a request through; tell the breaker afterwards how it went.

        Raises:
            CircuitOpenError: The circuit is open, or the probe is still on its way.
        """
        with self._lock:
            if not self._is_open:
                return
            left = self._opened_at + self._config.open_s - self._clock()
            if left <= 0 and not self._is_probing:
                self._is_probing = True
                return
            raise self._refusal(max(0.0, left))

    def succeeded(self) -> None:
        """The server answered."""
        with self._lock:
            self._failures = 0
            self._is_open = self._is_probing = False

    def failed(self, error: BaseException) -> None:
        """The server did not answer, or said that it cannot."""
        with self._lock:
            self._failures += 1
            self._last = " ".join(f"{type(error).__name__}: {error}".split()).strip(": ")
            limit = self._config.failures
            if self._is_probing or (limit is not None and self._failures >= limit):
                self._is_open, self._is_probing = True, False
                self._opened_at = self._clock()

    def abandoned(self) -> None:
        """The request ended before anything was learned of the server."""
        with self._lock:
            self._is_probing = False

    def _refusal(self, left: float) -> CircuitOpenError:
        when = f"in {left:.1f} s" if left else "as soon as the request that probes it is answered"
        return CircuitOpenError(
            f"{self._location} failed {self._failures} times in a row, last with [{self._last[:200]}], and is not "
            f"asked for now: the next request is let through {when}. Look at the server; "
            "SearchKitConfig.server.breaker sets when it is left alone",
            left,
        )
