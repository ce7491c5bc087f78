import itertools

import pytest

from searchkit.benchmarking.gemm import Peak
from searchkit.benchmarking.timing import choose_batch_size, time_in_turns
from searchkit.benchmarking.workloads import Load, make_workload
from tests.unit.benchmarking.stubs import Stub


def workload(source, load):
    return make_workload(load, source, lambda pairs: [10] * len(pairs))


def test_contestants_take_turns_and_each_round_starts_with_the_next(source):
    log = []
    stubs = [Stub(name, log=log) for name in "abc"]
    steps = []
    timings = time_in_turns(stubs, [workload(source, Load(5))], 4, on_progress=steps.append)
    assert "".join(log) == "abc" + "bca" + "cab" + "abc"
    assert sum(steps) == 12
    assert [sample.round for sample in timings.samples] == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3


def test_everyone_gets_the_same_pairs(source):
    seen = {}

    class Recorder(Stub):
        def score(self, pairs):
            seen.setdefault(self.name, []).append(tuple(pairs))
            return super().score(pairs)

    time_in_turns([Recorder("a"), Recorder("b")], [workload(source, Load(5, queries=3))], 2)
    assert seen["a"] == seen["b"]
    assert len(seen["a"]) == 6
    assert len(set(seen["a"])) == 3


def test_times_are_those_of_the_calls(source):
    (sample,) = time_in_turns([Stub("slow", seconds=0.02)], [workload(source, Load(5, queries=3))], 1).samples
    assert len(sample.calls_s) == 3
    assert min(sample.calls_s) >= 0.02
    assert sample.wall_s >= sum(sample.calls_s)
    assert sample.cpu_s < sample.wall_s  # it slept


def test_callers_come_at_once_each_in_a_thread_of_its_own(source):
    stub = Stub("slow", seconds=0.05)
    (sample,) = time_in_turns([stub], [workload(source, Load(5, callers=8))], 1).samples
    assert len(stub.callers) == 8
    assert len(sample.calls_s) == 8
    assert sample.wall_s < 8 * 0.05


def test_a_failure_is_kept_with_its_reason_and_the_rest_goes_on(source):
    broken = Stub("broken", fails_on=lambda pairs: len(pairs) == 7)
    loads = [workload(source, Load(5)), workload(source, Load(7))]
    timings = time_in_turns([broken, Stub("sound")], loads, 3)
    (failure,) = timings.failures
    assert (failure.contestant, failure.workload) == ("broken", "7 candidates")
    assert failure.reason == "RuntimeError: cannot score 7 pairs"
    done = [(sample.contestant, sample.workload) for sample in timings.samples]
    assert done.count(("broken", "5 candidates")) == 3
    assert done.count(("sound", "7 candidates")) == 3
    assert ("broken", "7 candidates") not in done


def test_samples_before_a_failure_do_not_count(source):
    calls = itertools.count()
    broken = Stub("broken", fails_on=lambda _: next(calls) == 2)
    timings = time_in_turns([broken], [workload(source, Load(5))], 4)
    assert timings.samples == ()
    assert len(timings.failures) == 1
    assert len(broken.log) == 3


def test_too_few_scores_are_a_failure(source):
    class Short(Stub):
        def score(self, pairs):
            return super().score(pairs)[:-1]

    timings = time_in_turns([Short("short")], [workload(source, Load(5))], 1)
    assert timings.failures[0].reason == "ValueError: it returned scores of shape (4,) for 5 pairs"


def test_the_peak_is_measured_in_every_round(source):
    peaks = iter([Peak(1, 1), Peak(2, 2), Peak(3, 3)])
    timings = time_in_turns([Stub("a")], [workload(source, Load(5))], 3, measure_peak=lambda: next(peaks))
    assert [peak.per_cpu_s for peak in timings.peaks] == [1, 2, 3]


def test_an_interrupt_is_no_finding(source):
    class Interrupted(Stub):
        def score(self, pairs):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        time_in_turns([Interrupted("a")], [workload(source, Load(5))], 1)


def test_the_fastest_batch_size_is_kept():
    class Batched:
        batch_size = 8
        batch_sizes = (8, 16, 32)

    contestant = Batched()
    costs = {8: 400_000, 16: 1_000, 32: 800_000}
    choose_batch_size(contestant, lambda: sum(range(costs[contestant.batch_size])))
    assert contestant.batch_size == 16
