from __future__ import annotations

import contextvars
import threading

import pytest

from searchkit.deadline import CANCELLATION, Deadline


def test_without_seconds_a_deadline_never_comes():
    never = Deadline.after(None)
    assert never == Deadline()
    assert not never.is_over
    assert never.remaining_s == float("inf")


@pytest.mark.parametrize("seconds", [9_223_372_037, 1e300, 10**400], ids=["centuries", "1e300", "no float"])
def test_a_deadline_beyond_what_a_lock_can_wait_for_is_none(seconds):
    assert Deadline.after(seconds) == Deadline()
    assert Deadline.after(seconds).remaining_s == float("inf")


def test_a_passed_deadline_has_no_time_left():
    past = Deadline.after(-1.0)
    assert past.is_over
    assert past.remaining_s == 0.0
    assert not Deadline.after(60).is_over
    assert 0 < Deadline.after(60).remaining_s <= 60


@pytest.mark.parametrize("seconds", [None, 60.0])
def test_a_cancelled_deadline_is_over_whatever_the_clock_says(seconds):
    cancelled = threading.Event()
    context = contextvars.copy_context()
    context.run(CANCELLATION.set, cancelled)
    deadline = context.run(Deadline.after, seconds)
    earlier = deadline.earlier(1.0)
    assert not deadline.is_over
    cancelled.set()
    assert deadline.is_over
    assert deadline.remaining_s == 0.0
    assert earlier.is_over
    assert not Deadline.after(seconds).is_over


def test_an_earlier_deadline_is_that_much_earlier():
    deadline = Deadline.after(60)
    assert deadline.earlier(20).at == pytest.approx(deadline.at - 20)
