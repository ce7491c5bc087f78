"""What a benchmark found, as data: JSON with `model_dump_json`. Nothing in it is about an engine that did not run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from searchkit.types import Frozen


class Machine(Frozen):
    """What the numbers depend on.

    Attributes:
        processor: Name of the processor.
        usable_cores: Cores that the process may use.
        threads: Cores that every contestant was held to.
        is_pinned: Whether the operating system held the process to them.
        device: What the model ran on.
        accelerator: Name of the accelerator, if the device is one.
        load_before: Processes waiting for a core in the minute before, as the system counts them.
        platform: Operating system and architecture.
        python: Version of Python.
        libraries: Versions of the libraries that took part.
    """

    processor: str
    usable_cores: int = Field(ge=1)
    threads: int = Field(ge=1)
    is_pinned: bool
    device: str
    accelerator: str | None = None
    load_before: float | None = None
    platform: str
    python: str
    libraries: dict[str, str] = Field(default_factory=dict)


class Entry(Frozen):
    """A contestant and what became of it.

    Attributes:
        name: What it is called everywhere else in the report.
        is_ours: Whether it is an engine of this library.
        status: "run", "not run" (it cannot run here) or "failed".
        reason: Why it did not run, or failed.
        setup: Library, precision, device, batch size.
        load_s: Seconds to load it, imports included where it was the first to need them.
    """

    name: str
    is_ours: bool
    status: Literal["run", "not run", "failed"]
    reason: str | None = None
    setup: str = ""
    load_s: float | None = None


class Failure(Frozen):
    """A workload that a contestant did not finish; its numbers for it are left out."""

    contestant: str
    workload: str
    reason: str


class WorkloadSize(Frozen):
    """What one round of a workload consists of.

    Attributes:
        name: What it is called in the report.
        queries: Calls a round.
        candidates: Pairs a call.
        callers: Calls that are made at once.
        tokens: Tokens of all pairs of a round, special tokens included, nothing padded.
        digest: Identifies the texts.
    """

    name: str
    queries: int = Field(ge=1)
    candidates: int = Field(ge=1)
    callers: int = Field(ge=1)
    tokens: int = Field(ge=1)
    digest: str


class Speed(Frozen):
    """How fast a contestant was in a workload, over all rounds.

    Attributes:
        workload: Name of the workload.
        contestant: Name of the contestant.
        calls: How many calls were timed; a p99 of fewer than 100 is their maximum.
        p50_ms: Median wall-clock time of a call.
        p95_ms: 95th percentile.
        p99_ms: 99th percentile.
        pairs_per_s: Pairs a second of wall-clock time; median over the rounds.
        tokens_per_s: Tokens a second of wall-clock time; median over the rounds.
        pairs_per_cpu_s: Pairs a second of the process's CPU time; median over the rounds.
        cpu_ms_per_call: CPU time of a call; median over the rounds.
        peak_share: Arithmetic of the whole model a second over that of a plain matrix product measured in the same
            round (CPU time on a CPU, else wall-clock time); ``None`` where the model's arithmetic is not known.
    """

    workload: str
    contestant: str
    calls: int = Field(ge=1)
    p50_ms: float = Field(ge=0)
    p95_ms: float = Field(ge=0)
    p99_ms: float = Field(ge=0)
    pairs_per_s: float = Field(ge=0)
    tokens_per_s: float = Field(ge=0)
    pairs_per_cpu_s: float = Field(ge=0)
    cpu_ms_per_call: float = Field(ge=0)
    peak_share: float | None = None


class Spread(Frozen):
    """A number measured in every round: its median, smallest and largest value."""

    median: float
    low: float
    high: float


class Ratio(Frozen):
    """How many times faster ``contestant`` was than ``against``: each round gives one ratio, of the same work.

    Attributes:
        workload: Name of the workload.
        contestant: One of ours.
        against: Another library.
        rounds: Rounds that both finished.
        wall: Ratio of wall-clock times.
        cpu: Ratio of CPU times, which other processes on the machine disturb less; ``None`` on an accelerator.
    """

    workload: str
    contestant: str
    against: str
    rounds: int = Field(ge=1)
    wall: Spread
    cpu: Spread | None = None


class Fidelity(Frozen):
    """How far a contestant's logits are from the reference's.

    Attributes:
        contestant: Whose logits.
        reference: Compared with whose.
        pairs: Pairs compared.
        spearman_mean: Rank correlation, mean over the queries.
        spearman_min: Worst query.
        kendall_mean: Kendall's tau-b, mean over the queries.
        top10_overlap: Share of the reference's ten best that are among the ten best, mean over the queries.
        max_logit_difference: Largest absolute difference.
        error_over_std: Standard deviation of the difference over that of the reference's logits.
    """

    contestant: str
    reference: str
    pairs: int = Field(ge=1)
    spearman_mean: float
    spearman_min: float
    kendall_mean: float
    top10_overlap: float
    max_logit_difference: float
    error_over_std: float


class BenchReport(Frozen):
    """Everything a benchmark found.

    Attributes:
        model: Name of the model's folder.
        model_hash: SHA-256 of its weights.
        seed: Of the texts.
        rounds: Interleaved repetitions.
        seconds: Wall-clock time of the benchmark.
        peak_gflops: What a matrix product reached: a second of CPU time on a CPU, of wall-clock time elsewhere.
    """

    model: str
    model_hash: str
    seed: int
    rounds: int = Field(ge=1)
    seconds: float = Field(ge=0)
    machine: Machine
    peak_gflops: Spread | None = None
    workloads: tuple[WorkloadSize, ...]
    contestants: tuple[Entry, ...]
    failures: tuple[Failure, ...] = ()
    speeds: tuple[Speed, ...] = ()
    ratios: tuple[Ratio, ...] = ()
    fidelities: tuple[Fidelity, ...] = ()
    notes: tuple[str, ...] = ()
