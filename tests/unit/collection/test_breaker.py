"""The circuit breaker: when it opens, whom it lets through, what its error says."""

from __future__ import annotations

import pickle

import pytest

from searchkit.collection.backends.breaker import CircuitBreaker
from searchkit.config import CircuitBreakerConfig
from searchkit.errors import CircuitOpenError


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return CircuitBreaker("the place", CircuitBreakerConfig(failures=3, open_s=5.0), clock)


def fail(breaker, times):
    for _ in range(times):
        breaker.admit()
        breaker.failed(OSError("reset"))


def test_it_opens_after_so_many_failures_in_a_row_and_says_when_it_tries_again(breaker, clock):
    fail(breaker, 3)
    clock.now += 1.5
    with pytest.raises(
        CircuitOpenError, match=r"the place failed 3 times in a row.*OSError: reset.*in 3\.5 s"
    ) as caught:
        breaker.admit()
    assert caught.value.retry_after_s == pytest.approx(3.5)


def test_a_success_between_failures_starts_the_count_anew(breaker):
    for _ in range(5):
        fail(breaker, 2)
        breaker.admit()
        breaker.succeeded()
    breaker.admit()


def test_after_the_pause_one_probe_is_let_through_at_a_time(breaker, clock):
    fail(breaker, 3)
    clock.now += 5.0
    breaker.admit()
    with pytest.raises(CircuitOpenError, match="as soon as the request that probes it is answered"):
        breaker.admit()


def test_a_probe_that_succeeds_closes_it(breaker, clock):
    fail(breaker, 3)
    clock.now += 5.0
    breaker.admit()
    breaker.succeeded()
    fail(breaker, 2)
    breaker.admit()


def test_a_probe_that_fails_opens_it_for_another_pause(breaker, clock):
    fail(breaker, 3)
    clock.now += 5.0
    fail(breaker, 1)
    clock.now += 4.9
    with pytest.raises(CircuitOpenError, match="failed 4 times"):
        breaker.admit()
    clock.now += 0.2
    breaker.admit()


def test_a_probe_that_was_abandoned_lets_the_next_one_through(breaker, clock):
    fail(breaker, 3)
    clock.now += 5.0
    breaker.admit()
    breaker.abandoned()
    breaker.admit()


def test_it_can_be_switched_off(clock):
    breaker = CircuitBreaker("the place", CircuitBreakerConfig(failures=None), clock)
    fail(breaker, 1000)
    breaker.admit()


def test_its_error_survives_pickling():
    error = pickle.loads(pickle.dumps(CircuitOpenError("words", 2.5)))
    assert (str(error), error.retry_after_s) == ("words", 2.5)
