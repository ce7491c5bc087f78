"""The end of the process: what is in an engine comes back first, what hangs does not keep it."""

from __future__ import annotations

import subprocess
import sys

import pytest

BOUNDED = """
from searchkit.bounded import BoundedThreads, StillRunningError
from searchkit.deadline import Deadline
try:
    BoundedThreads().run(work, Deadline.after(0.05))
except StillRunningError:
    print("late")
"""
BOUNDED_KEPT = BOUNDED.replace("    BoundedThreads().run", "    threads = BoundedThreads()\n    threads.run")
SCHEDULED = """
import numpy as np
from searchkit.config import RerankerProfile
from searchkit.deadline import Deadline
from searchkit.reranking.scheduler import ScheduledReranker
from searchkit.stages import PairScores
class Slow:
    name = "slow"
    profile = RerankerProfile()
    def score_pairs(self, pairs, *, deadline=None):
        work()
        return PairScores(np.zeros(len(pairs), np.float32), np.zeros(len(pairs), np.int64), "slow")
scheduled = ScheduledReranker(Slow())
if np.isnan(scheduled.score_pairs([("query", "text")], deadline=Deadline.after(0.05)).logits).all():
    print("late")
"""


def run(code, *, seconds):
    lines = ["import sys, time", "import searchkit.at_exit", "searchkit.at_exit.PATIENCE_S = float(sys.argv[2])"]
    lines += ["def work():", "    time.sleep(float(sys.argv[1]))", "    print('done', flush=True)"]
    patience_s = 20.0 if seconds < 5 else 0.3
    command = [sys.executable, "-c", "\n".join([*lines, code]), str(seconds), str(patience_s)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("code", [BOUNDED_KEPT, SCHEDULED], ids=["bounded", "scheduled"])
def test_the_process_ends_when_what_a_search_left_behind_is_done(code):
    ended = run(code, seconds=1)
    assert (ended.stdout.split(), ended.stderr, ended.returncode) == (["late", "done"], "", 0)


@pytest.mark.parametrize("code", [BOUNDED, BOUNDED_KEPT, SCHEDULED], ids=["dropped", "bounded", "scheduled"])
def test_work_that_hangs_does_not_keep_the_process(code):
    ended = run(code, seconds=300)
    assert (ended.stdout.split(), ended.stderr, ended.returncode) == (["late"], "", 0)
