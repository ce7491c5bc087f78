"""Runs contestants on workloads in turns, so that what disturbs the machine disturbs them alike, and takes the time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from searchkit.benchmarking.contestants import Batched, Contestant, Pair
from searchkit.benchmarking.gemm import Peak
from searchkit.benchmarking.report import Failure
from searchkit.benchmarking.workloads import Workload


@dataclass(frozen=True, slots=True)
class Sample:
    """One contestant's turn at one workload.

    Attributes:
        workload: Name of the workload.
        contestant: Name of the contestant.
        round: 0-based round.
        wall_s: Wall-clock seconds of the turn.
        cpu_s: CPU seconds of the process in the turn.
        calls_s: Wall-clock seconds of each call.
    """

    workload: str
    contestant: str
    round: int
    wall_s: float
    cpu_s: float
    calls_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Timings:
    """All samples of the turns that were finished.

    Attributes:
        samples: In the order they were taken.
        failures: Workloads that a contestant did not finish; it has no samples of those.
        peaks: What the matrix product reached, one a round; empty if it was not asked for.
    """

    samples: tuple[Sample, ...]
    failures: tuple[Failure, ...]
    peaks: tuple[Peak, ...]


def time_in_turns(
    contestants: Sequence[Contestant],
    workloads: Sequence[Workload],
    rounds: int,
    *,
    measure_peak: Callable[[], Peak] | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Timings:
    """Let every contestant do every workload ``rounds`` times, in turns; who starts changes with the round.

    A contestant that raises is not asked for that workload again and loses its samples of it; the rest goes on.

    Args:
        contestants: Loaded and warm.
        workloads: What to do.
        rounds: How often.
        measure_peak: Called at the start of each round.
        on_progress: Told after each turn how many turns were done or dropped, 1.
    """
    samples: list[Sample] = []
    failures: dict[tuple[str, str], Failure] = {}
    peaks: list[Peak] = []
    for number in range(rounds):
        if measure_peak is not None:
            peaks.append(measure_peak())
        first = number % max(len(contestants), 1)
        for workload in workloads:
            for contestant in (*contestants[first:], *contestants[:first]):
                key = (contestant.name, workload.name)
                if key not in failures:
                    try:
                        samples.append(_turn(contestant, workload, number))
                    except Exception as error:  # noqa: BLE001  # any library may raise anything; it becomes a finding
                        failures[key] = Failure(contestant=key[0], workload=key[1], reason=why(error))
                on_progress(1)
    finished = tuple(sample for sample in samples if (sample.contestant, sample.workload) not in failures)
    return Timings(finished, tuple(failures.values()), tuple(peaks))


def why(error: BaseException) -> str:
    """Return an error as one line of a report."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def choose_batch_size(contestant: Batched, score: Callable[[], object], *, by_cpu: bool = True) -> None:
    """Set the batch size that took the least time; each is tried once after a warm-up.

    Args:
        contestant: Whose ``batch_size`` is set.
        score: Scores a typical call.
        by_cpu: Whether CPU time decides, which other processes disturb less; wall-clock time on an accelerator.
    """
    score()
    clock = time.process_time if by_cpu else time.perf_counter
    times: dict[int, float] = {}
    for size in contestant.batch_sizes:
        contestant.batch_size = size
        started = clock()
        score()
        times[size] = clock() - started
    contestant.batch_size = min(times, key=lambda size: times[size])


def _turn(contestant: Contestant, workload: Workload, number: int) -> Sample:
    wall, cpu = time.perf_counter(), time.process_time()
    if workload.load.callers > 1:
        calls = _at_once(contestant, workload.queries)
    else:
        calls = [_timed_call(contestant, pairs) for pairs in workload.queries]
    return Sample(
        workload=workload.name,
        contestant=contestant.name,
        round=number,
        wall_s=time.perf_counter() - wall,
        cpu_s=time.process_time() - cpu,
        calls_s=tuple(calls),
    )


def _timed_call(contestant: Contestant, pairs: Sequence[Pair]) -> float:
    started = time.perf_counter()
    found = contestant.score(pairs)
    seconds = time.perf_counter() - started
    if found.shape != (len(pairs),):
        raise ValueError(f"it returned scores of shape {found.shape} for {len(pairs)} pairs")
    return seconds


def _at_once(contestant: Contestant, queries: Sequence[Sequence[Pair]]) -> list[float]:
    """Make all calls at the same moment, each from a thread of its own."""
    gate = threading.Barrier(len(queries))

    def call(pairs: Sequence[Pair]) -> float:
        gate.wait()
        return _timed_call(contestant, pairs)

    with ThreadPoolExecutor(len(queries), thread_name_prefix="searchkit-bench") as pool:
        return list(pool.map(call, queries))
