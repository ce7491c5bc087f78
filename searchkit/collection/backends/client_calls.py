"""Calls of one client: errors mapped, transient ones repeated within the deadline, a failing server left alone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import grpc  # type: ignore[import-untyped]
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import UnexpectedResponse
from tenacity import RetryCallState, Retrying, retry_if_exception, sleep, sleep_using_event, wait_random_exponential

from searchkit.collection.backends.breaker import CircuitBreaker
from searchkit.collection.backends.client_errors import VENDOR_EXCEPTIONS, meaning_of
from searchkit.collection.backends.client_retries import asked_wait, is_breakdown, is_timeout, is_transient
from searchkit.collection.backends.client_transport import request_end
from searchkit.config import SearchKitConfig
from searchkit.deadline import Deadline, current_deadline
from searchkit.errors import SearchkitError

T = TypeVar("T")

_ANSWERS = (UnexpectedResponse, QdrantException, grpc.RpcError)

_log = logging.getLogger(__name__)


class ClientCalls:
    """Runs calls of a client; safe to use from several threads.

    All calls that searchkit makes may be repeated: a write stores the same points under the same ids again.

    Args:
        collection: Name of the collection.
        location: Where it is, for messages.
        config: Times, retries and the circuit breaker.
        lock: Held during each call of the in-memory mode; ``None`` for a server.
        can_declare: Whether an index that is missing can be declared in ``config``.
    """

    def __init__(
        self,
        collection: str,
        location: str,
        config: SearchKitConfig,
        lock: AbstractContextManager[Any] | None,
        *,
        can_declare: bool = True,
    ) -> None:
        self._collection = collection
        self._can_declare = can_declare
        self._location = location
        self._timeout_s = config.timeout_s
        self._retry = config.server.retry
        self._breaker = CircuitBreaker(location, config.server.breaker)
        self._lock = lock
        self._jitter = wait_random_exponential(multiplier=self._retry.base_s, max=self._retry.cap_s)

    def run(self, action: str, call: Callable[[], T]) -> T:
        """Return what ``call`` returns.

        Args:
            action: What it does, as a verb before the location ("search").
            call: One request; may be made again.

        Raises:
            SearchkitError: It failed for good.
        """
        failure = f"cannot {action} {self._location}"
        attempts = 0

        def attempt() -> T:
            nonlocal attempts
            attempts += 1
            return self._attempt(call)

        try:
            if self._lock is not None:
                with self._lock:
                    return call()
            return self._retrying(action)(attempt)
        except SearchkitError:  # some of ours are ValueErrors too
            raise
        except VENDOR_EXCEPTIONS as error:
            meaning = meaning_of(error, failure, self._collection, can_declare=self._can_declare)
            raise type(meaning)(f"{meaning} ({attempts} attempts)") if attempts > 1 else meaning from error

    def _retrying(self, action: str) -> Retrying:
        deadline = current_deadline()

        def announce(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome is not None else None
            _log.info(
                "%s: attempt %d to %s failed with %s; the next is made in %.2f s",
                self._location,
                state.attempt_number,
                action,
                type(error).__name__,
                state.upcoming_sleep,
            )

        return Retrying(
            retry=retry_if_exception(is_transient),
            wait=self._wait,
            stop=lambda state: self._is_enough(state, deadline),
            sleep=sleep if deadline.cancelled is None else sleep_using_event(deadline.cancelled),
            before_sleep=announce,
            reraise=True,
        )

    def _wait(self, state: RetryCallState) -> float:
        asked = asked_wait(state.outcome.exception() if state.outcome is not None else None)
        return float(self._jitter(state)) if asked is None else asked

    def _is_enough(self, state: RetryCallState, deadline: Deadline) -> bool:
        wait = state.upcoming_sleep
        longest = max(self._retry.longest_wait_s, self._retry.cap_s)
        return state.attempt_number >= self._retry.attempts or wait > longest or wait >= deadline.remaining_s

    def _attempt(self, call: Callable[[], T]) -> T:
        left = current_deadline().remaining_s
        self._breaker.admit()
        try:
            with request_end(min(self._timeout_s, left)):
                result = call()
        except BaseException as error:
            self._learn(error, is_cut=left < self._timeout_s)
            raise
        self._breaker.succeeded()
        return result

    def _learn(self, error: BaseException, *, is_cut: bool) -> None:
        """Tell the breaker what a failed request says about the server."""
        if is_breakdown(error) and not (is_cut and is_timeout(error)):
            self._breaker.failed(error)
        elif isinstance(error, _ANSWERS):
            self._breaker.succeeded()  # it works, though it refuses this request
        else:
            self._breaker.abandoned()  # a short deadline, or a fault on our side: nothing is known
