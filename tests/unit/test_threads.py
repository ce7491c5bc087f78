import os
import signal

import pytest

from searchkit.models.lanes import Lanes
from searchkit.threads import ForkSafeThreads

PATIENCE_S = 20


def test_work_is_done_side_by_side_and_comes_back_in_order():
    assert Lanes(2, "test").map(lambda n: n * n, range(9)) == [n * n for n in range(9)]


def test_after_shutdown_no_work_is_taken():
    threads = ForkSafeThreads(1, "test")
    assert threads.executor.submit(lambda: 3).result() == 3
    threads.shutdown()
    with pytest.raises(RuntimeError):
        threads.executor.submit(lambda: 3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_a_forked_child_works_with_threads_of_its_own():
    lanes = Lanes(2, "test")
    assert lanes.map(str, range(4)) == list("0123")
    child = os.fork()
    if child == 0:
        signal.alarm(PATIENCE_S)  # a pool of dead threads would wait for ever
        os._exit(0 if lanes.map(str, range(4)) == list("0123") else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
