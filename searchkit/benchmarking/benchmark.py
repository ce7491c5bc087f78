"""The whole benchmark: load, warm up, compare logits, take times in turns, and say what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from searchkit.benchmarking.contestants import Circumstances, Contestant
from searchkit.benchmarking.gemm import MatrixProduct, arithmetic_of
from searchkit.benchmarking.machine import describe, held_to
from searchkit.benchmarking.report import BenchReport, Fidelity, Machine
from searchkit.benchmarking.starters import Starters
from searchkit.benchmarking.summary import ratios, speeds, spread
from searchkit.benchmarking.timing import Timings, time_in_turns
from searchkit.benchmarking.workloads import Load, PairLengths, Plan, Workload, make_workload
from searchkit.errors import ConfigError
from searchkit.models.device import device_kind
from searchkit.models.hashing import weight_hash
from searchkit.models.onnx_session import usable_cores
from searchkit.models.sample_texts import TextSource

_BUSY = 0.5  # processes waiting for each core; above it somebody else is computing
_FEW_ROUNDS = 3


def step_count(plan: Plan, contestants: int) -> int:
    """Return how many steps `run_benchmark` reports at most, for a progress bar."""
    return contestants * (1 + plan.rounds * len(plan.loads))


def run_benchmark(
    contestants: Sequence[Contestant],
    circumstances: Circumstances,
    plan: Plan,
    *,
    reference: Contestant | None = None,
    seed: int = 0,
    source: TextSource | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> BenchReport:
    """Measure contestants on the same pairs of the same model, interleaved.

    Whoever cannot run or fails is named in the report with the reason; the rest goes on.

    Args:
        contestants: Ours and others, each with a name of its own.
        circumstances: Model, device, threads and length that the contestants were made with.
        plan: How much to measure.
        reference: Whose logits count as right, see `searchkit.benchmarking.starters.Starters.compare`.
        seed: Of the texts.
        source: Where texts come from; ``None`` draws from `searchkit.models.sample_texts.real_sentences`.
        on_progress: Told how many more steps are done, see `step_count`.

    Raises:
        ConfigError: Two contestants have one name, or there are none; or there are no texts.
    """
    names = [contestant.name for contestant in contestants]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"a benchmark needs contestants with different names, not {names}.")
    started = time.perf_counter()
    cores = usable_cores()
    with held_to(circumstances.threads) as is_pinned:
        machine = describe(circumstances.device, circumstances.threads, is_pinned=is_pinned, cores=cores)
        judged, workloads = _texts(circumstances, plan, source or TextSource(seed))
        is_cpu = device_kind(circumstances.device) == "cpu"
        starters = Starters(judged, finds_batch_size=plan.finds_batch_size, is_cpu=is_cpu)
        for contestant in contestants:
            starters.admit(contestant)
            on_progress(1)
        fidelities, remark = starters.compare(reference)
        timings = time_in_turns(
            starters.running,
            workloads,
            plan.rounds,
            measure_peak=MatrixProduct(circumstances.device).measure,
            on_progress=on_progress,
        )
    seconds = time.perf_counter() - started
    notes = [*([remark] if remark else []), *_notes(machine, plan)]
    return _report(circumstances, seed, seconds, machine, starters, workloads, timings, fidelities, notes)


def _texts(circumstances: Circumstances, plan: Plan, source: TextSource) -> tuple[Workload, list[Workload]]:
    lengths = PairLengths(circumstances.folder, circumstances.max_length)
    judged = make_workload(Load(plan.fidelity_candidates, plan.fidelity_queries), source, lengths)
    return judged, [make_workload(load, source, lengths) for load in plan.loads]


def _report(
    circumstances: Circumstances,
    seed: int,
    seconds: float,
    machine: Machine,
    starters: Starters,
    workloads: Sequence[Workload],
    timings: Timings,
    fidelities: Sequence[Fidelity],
    notes: Sequence[str],
) -> BenchReport:
    is_cpu = device_kind(circumstances.device) == "cpu"
    ours, others = ([one.name for one in starters.running if one.is_ours is whose] for whose in (True, False))
    peaks = [(peak.per_cpu_s if is_cpu else peak.per_wall_s) / 1e9 for peak in timings.peaks]
    return BenchReport(
        model=circumstances.folder.name,
        model_hash=weight_hash(circumstances.folder),
        seed=seed,
        rounds=len(timings.peaks),
        seconds=round(seconds, 3),
        machine=machine,
        peak_gflops=spread(peaks) if peaks else None,
        workloads=tuple(workload.size for workload in workloads),
        contestants=starters.entries,
        failures=timings.failures,
        speeds=speeds(timings, workloads, arithmetic=arithmetic_of(circumstances.folder), is_cpu=is_cpu),
        ratios=ratios(timings.samples, ours, others, is_cpu=is_cpu),
        fidelities=tuple(fidelities),
        notes=tuple(notes),
    )


def _notes(machine: Machine, plan: Plan) -> list[str]:
    notes = []
    if machine.load_before is not None and machine.load_before > _BUSY * machine.usable_cores:
        notes.append(
            f"the machine was busy before the start (load {machine.load_before:.1f} on {machine.usable_cores} cores): "
            "trust ratios of CPU time more than any wall-clock time, and repeat on a quiet machine"
        )
        if machine.threads > 1:
            notes.append(
                "on a busy machine threads that wait for each other burn CPU time too, so libraries that spread a "
                "batch over several cores look slower than they are: only --threads 1 is fair to all here"
            )
    if plan.rounds < _FEW_ROUNDS:
        notes.append(f"{plan.rounds} rounds show that everything runs; they are too few for a claim")
    if not machine.is_pinned and machine.threads < machine.usable_cores:
        notes.append(
            f"this system cannot hold a process to {machine.threads} cores; each library was asked to keep to them"
        )
    return notes
