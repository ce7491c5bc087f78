from __future__ import annotations

import contextvars
import os
import signal
import threading
import time
import weakref

import pytest

from searchkit.bounded import BoundedThreads, StillRunningError
from searchkit.deadline import Deadline

PATIENCE_S = 20.0


def soon() -> Deadline:
    return Deadline.after(PATIENCE_S)


def test_without_a_deadline_work_runs_in_the_callers_thread():
    assert BoundedThreads().run(threading.get_ident, Deadline()) == threading.get_ident()


def test_with_a_deadline_the_result_comes_back_and_the_thread_is_used_again():
    threads = BoundedThreads()
    idents = {threads.run(threading.get_ident, soon()) for _ in range(20)}
    assert len(idents) == 1
    assert threading.get_ident() not in idents


def test_an_error_comes_back_as_it_was_raised():
    def work():
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        BoundedThreads().run(work, soon())


def test_work_that_hangs_is_left_behind_at_the_deadline():
    threads, release = BoundedThreads(), threading.Event()
    started = time.monotonic()
    with pytest.raises(StillRunningError):
        threads.run(lambda: release.wait(PATIENCE_S), Deadline.after(0.05))
    assert time.monotonic() - started < PATIENCE_S / 2
    assert threads.run(lambda: "next", soon()) == "next"
    release.set()


def test_no_more_threads_than_allowed_and_room_again_when_one_comes_back():
    threads, release = BoundedThreads(max_threads=1), threading.Event()
    with pytest.raises(StillRunningError):
        threads.run(lambda: release.wait(PATIENCE_S), Deadline.after(0.02))
    with pytest.raises(StillRunningError, match="busy"):
        threads.run(lambda: "next", Deadline.after(0.02))
    release.set()
    assert threads.run(lambda: "next", soon()) == "next"


def test_many_callers_get_their_own_results():
    threads = BoundedThreads(max_threads=4)
    found = {}

    def ask(number):
        found[number] = [threads.run(lambda one=one: (number, one), soon()) for one in range(50)]

    callers = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(PATIENCE_S)
    assert found == {number: [(number, one) for one in range(50)] for number in range(16)}


def test_context_variables_reach_the_work():
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("set")
    assert BoundedThreads().run(variable.get, soon()) == "set"


def test_idle_threads_end():
    threads = BoundedThreads(idle_s=0.01)
    thread = threads.run(threading.current_thread, soon())
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert threads.run(lambda: "again", soon()) == "again"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_a_forked_child_starts_threads_of_its_own():
    threads = BoundedThreads()
    threads.run(lambda: "the parent has an idle thread now", soon())
    child = os.fork()
    if child == 0:
        os._exit(0 if threads.run(lambda: "child", soon()) == "child" else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_waiting_thread_holds_nothing_of_the_work_it_did():
    class Held:
        pass

    threads, held = BoundedThreads(), Held()
    gone = weakref.ref(held)
    for _ in range(2):  # the job that started the thread, and one that it took later
        threads.run(lambda held=held: str(held), soon())
    del held
    until = time.monotonic() + PATIENCE_S
    while gone() is not None and time.monotonic() < until:
        time.sleep(0.01)
    assert gone() is None


def test_stopped_threads_end_and_later_work_is_still_done():
    threads = BoundedThreads()
    thread = threads.run(threading.current_thread, soon())
    threads.stop()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    late = threads.run(threading.current_thread, soon())
    late.join(PATIENCE_S)
    assert not late.is_alive()


def test_join_waits_for_what_is_running_and_no_longer_than_asked():
    threads, release = BoundedThreads(max_threads=2), threading.Event()
    with pytest.raises(StillRunningError):
        threads.run(lambda: release.wait(PATIENCE_S), Deadline.after(0.02))
    threads.stop()
    threads.join(0.02)  # gives up, and gives back what it held
    assert threads.run(lambda: "beside it", soon()) == "beside it"
    release.set()
    started = time.monotonic()
    threads.join(PATIENCE_S)
    assert time.monotonic() - started < PATIENCE_S / 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_a_forked_child_stops_without_the_lock_that_another_thread_of_the_parent_holds():
    threads = BoundedThreads()
    with threads._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(int(PATIENCE_S))
            threads.stop()
            threads.join(PATIENCE_S)
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
