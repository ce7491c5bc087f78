"""What a comparison found, as data: JSON with `model_dump_json`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from searchkit.evaluation.configurations import Configuration
from searchkit.types import Frozen

LintCode = Literal[
    "depth-caps-recall",
    "depth-below-cutoff",
    "rerank-hurts",
    "degraded",
    "partial",
    "truncated",
    "unanswered",
    "no-relevant",
    "ids-unknown",
    "few-queries",
    "unjudged",
    "few-timings",
]


class Latency(Frozen):
    """Milliseconds of searches made one at a time, each returning every candidate.

    Attributes:
        p50_ms: Median of the whole search.
        p95_ms: 95th percentile of the whole search.
        rerank_p50_ms: Median of the second stage.
        sample_count: Searches that were timed.
    """

    p50_ms: float = Field(ge=0)
    p95_ms: float = Field(ge=0)
    rerank_p50_ms: float = Field(ge=0)
    sample_count: int = Field(ge=1)


class Difference(Frozen):
    """How a system compares with the baseline on the primary measure, query by query.

    Attributes:
        mean: Mean difference; above 0 is better than the baseline.
        low: Lower end of its 95% bootstrap interval.
        high: Upper end of it.
        p_value: Two-sided permutation test.
        p_corrected: The same, corrected for the number of comparisons in the report (Holm).
        wins: Queries that are better.
        losses: Queries that are worse.
        ties: Queries that are equal.
    """

    mean: float
    low: float
    high: float
    p_value: float = Field(ge=0, le=1)
    p_corrected: float = Field(ge=0, le=1)
    wins: int = Field(ge=0)
    losses: int = Field(ge=0)
    ties: int = Field(ge=0)

    @property
    def shown_p(self) -> str:
        """The corrected p-value in three digits; what would read 0.000 is "<0.001"."""
        return "<0.001" if self.p_corrected < 0.001 else f"{self.p_corrected:.3f}"


class SystemReport(Frozen):
    """One system: a configuration of a kit, or a run from a file.

    Attributes:
        name: Unique within the report.
        configuration: How it searched; ``None`` for a run from a file.
        measures: Mean of each measure over all queries.
        pool_recall: Share of the relevant passages among its candidates: what reranking cannot exceed.
        oracle_ceiling: The primary measure if its candidates were ordered perfectly.
        difference: Against the baseline; ``None`` for the baseline itself.
        calibration_error: Expected calibration error of its probabilities over all candidates, ten bins of equal size;
            ``None`` where scores are no probabilities. Too high where few passages a query are judged.
        latency: ``None`` where nothing was timed.
        statuses: How many searches ended in each status.
        truncated_count: Scored windows that the reranker could not read to the end.
        reranker: Name of the cross-encoder.
        engine: What ran it.
        blend: How both stages became the score, in words.
    """

    name: str
    configuration: Configuration | None = None
    measures: dict[str, float]
    pool_recall: float = Field(ge=0, le=1)
    oracle_ceiling: float = Field(ge=0, le=1)
    difference: Difference | None = None
    calibration_error: float | None = Field(default=None, ge=0, le=1)
    latency: Latency | None = None
    statuses: dict[str, int] = Field(default_factory=dict)
    truncated_count: int = Field(default=0, ge=0)
    reranker: str | None = None
    engine: str | None = None
    blend: str | None = None


class Lint(Frozen):
    """Something that makes the numbers smaller, or less trustworthy, than they need be.

    Attributes:
        code: Stable name.
        message: A sentence with the numbers in it.
        system: Which system it concerns; ``None`` concerns the whole evaluation.
    """

    code: LintCode
    message: str
    system: str | None = None


class Recommendation(Frozen):
    """Which system to use.

    Attributes:
        system: Its name.
        is_reranking: False means: do not rerank. ``None`` where that is not known (runs from files).
        sentences: The choice, then the reasons, with numbers.
    """

    system: str
    is_reranking: bool | None
    sentences: tuple[str, ...]


class ComparisonReport(Frozen):
    """Several systems on the same queries.

    Attributes:
        queries_name: Name of the set of queries.
        query_count: Queries that every mean is over; a query without an answer counts 0.
        judgment_count: Judgments on them, relevant or not.
        primary_measure: What decides.
        baseline: Name of the system that the others are compared with: the best that does not rerank, or the first.
        systems: In the order they were tried.
        lint: What to know before believing the numbers.
        recommendation: What to use, and why.
        versions: Versions of what computed this.
    """

    queries_name: str
    query_count: int = Field(ge=1)
    judgment_count: int = Field(ge=1)
    primary_measure: str
    baseline: str
    systems: tuple[SystemReport, ...] = Field(min_length=1)
    lint: tuple[Lint, ...] = ()
    recommendation: Recommendation
    versions: dict[str, str] = Field(default_factory=dict)

    def system(self, name: str) -> SystemReport:
        """Return the system called ``name``; raises KeyError if there is none."""
        for system in self.systems:
            if system.name == name:
                return system
        raise KeyError(name)
