"""From samples to what a report says: quantiles of calls, medians over rounds, ratios round by round."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from searchkit.benchmarking.gemm import Arithmetic, Peak
from searchkit.benchmarking.report import Ratio, Speed, Spread
from searchkit.benchmarking.timing import Sample, Timings
from searchkit.benchmarking.workloads import Workload


def spread(values: Sequence[float]) -> Spread:
    """Return the median and the range of at least one value."""
    return Spread(median=statistics.median(values), low=min(values), high=max(values))


def speeds(
    timings: Timings, workloads: Sequence[Workload], *, arithmetic: Arithmetic | None, is_cpu: bool
) -> tuple[Speed, ...]:
    """Return one row for each workload and contestant that finished it, in the order of the first round."""
    rows: list[Speed] = []
    for workload in workloads:
        flops = arithmetic.flops(workload.lengths) if arithmetic is not None else None
        for name, samples in _by_contestant(timings.samples, workload.name).items():
            shares = _peak_shares(samples, timings.peaks, flops, is_cpu=is_cpu)
            rows.append(_speed(workload, name, samples, shares))
    return tuple(rows)


def ratios(samples: Sequence[Sample], ours: Sequence[str], others: Sequence[str], *, is_cpu: bool) -> tuple[Ratio, ...]:
    """Return how many times faster each of ours was than each other, in every workload that both finished.

    Args:
        samples: Of all contestants.
        ours: Names of our engines.
        others: Names of what they are compared with.
        is_cpu: Whether CPU time says anything about the work.
    """
    rows: list[Ratio] = []
    for workload in dict.fromkeys(sample.workload for sample in samples):
        by_name = _by_contestant(samples, workload)
        for one in (name for name in ours if name in by_name):
            for other in (name for name in others if name in by_name):
                both = _same_rounds(by_name[one], by_name[other])
                if both:
                    rows.append(_ratio(workload, one, other, both, is_cpu=is_cpu))
    return tuple(rows)


def _ratio(workload: str, one: str, other: str, both: Sequence[tuple[Sample, Sample]], *, is_cpu: bool) -> Ratio:
    cpu = [theirs.cpu_s / max(mine.cpu_s, 1e-9) for mine, theirs in both]
    return Ratio(
        workload=workload,
        contestant=one,
        against=other,
        rounds=len(both),
        wall=spread([theirs.wall_s / max(mine.wall_s, 1e-9) for mine, theirs in both]),
        cpu=spread(cpu) if is_cpu else None,
    )


def _same_rounds(mine: Sequence[Sample], theirs: Sequence[Sample]) -> list[tuple[Sample, Sample]]:
    by_round = {sample.round: sample for sample in theirs}
    return [(sample, by_round[sample.round]) for sample in mine if sample.round in by_round]


def _by_contestant(samples: Sequence[Sample], workload: str) -> Mapping[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.workload == workload:
            found.setdefault(sample.contestant, []).append(sample)
    return found


def _speed(workload: Workload, name: str, samples: Sequence[Sample], shares: Sequence[float]) -> Speed:
    calls = [seconds for sample in samples for seconds in sample.calls_s]
    p50, p95, p99 = (float(value) * 1e3 for value in np.quantile(calls, (0.5, 0.95, 0.99)))
    pairs = len(workload.lengths)
    wall = statistics.median(max(sample.wall_s, 1e-9) for sample in samples)
    cpu = statistics.median(max(sample.cpu_s, 1e-9) for sample in samples)
    return Speed(
        workload=workload.name,
        contestant=name,
        calls=len(calls),
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        pairs_per_s=pairs / wall,
        tokens_per_s=sum(workload.lengths) / wall,
        pairs_per_cpu_s=pairs / cpu,
        cpu_ms_per_call=cpu / len(workload.queries) * 1e3,
        peak_share=statistics.median(shares) if shares else None,
    )


def _peak_shares(samples: Sequence[Sample], peaks: Sequence[Peak], flops: float | None, *, is_cpu: bool) -> list[float]:
    """Return the share of the machine's peak, one a round, against the peak of the same round."""
    if flops is None or not peaks:
        return []
    if is_cpu:
        return [flops / max(sample.cpu_s, 1e-9) / peaks[sample.round].per_cpu_s for sample in samples]
    return [flops / max(sample.wall_s, 1e-9) / peaks[sample.round].per_wall_s for sample in samples]
