"""How much is measured: so many rounds of so many calls of so many candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from searchkit.benchmarking.report import WorkloadSize
from searchkit.models.sample_texts import Pair, TextSource, digest
from searchkit.models.tokenizer import load_tokenizer


@dataclass(frozen=True, slots=True)
class Load:
    """One workload of a plan.

    Attributes:
        candidates: Pairs a call.
        queries: Calls a round.
        callers: Calls at once; more than 1 makes ``queries`` that many.
    """

    candidates: int
    queries: int = 1
    callers: int = 1

    @property
    def name(self) -> str:
        """Its name in reports."""
        callers = f"{self.callers} callers x " if self.callers > 1 else ""
        return f"{callers}{self.candidates} candidates"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a benchmark does.

    Attributes:
        loads: The workloads of a round.
        rounds: How often every contestant does every workload, in turns.
        fidelity_queries: Queries whose logits are compared.
        finds_batch_size: Whether contestants with a batch size of the user's choice are measured at their best one.
        fidelity_candidates: Candidates of each of the queries whose logits are compared.
    """

    loads: tuple[Load, ...]
    rounds: int
    fidelity_queries: int
    finds_batch_size: bool
    fidelity_candidates: int = 100


QUICK = Plan((Load(20, 2), Load(100), Load(10, callers=4)), rounds=2, fidelity_queries=1, finds_batch_size=False)
"""About a minute on two cores: enough to see that everything runs."""

STANDARD = Plan(
    (Load(20, 5), Load(100, 2), Load(20, callers=4), Load(20, callers=16)),
    rounds=5,
    fidelity_queries=3,
    finds_batch_size=True,
)
"""A few minutes on two cores."""

FULL = Plan(
    (Load(20, 10), Load(100, 5), Load(1000), Load(20, callers=4), Load(20, callers=16), Load(20, callers=64)),
    rounds=5,
    fidelity_queries=10,
    finds_batch_size=True,
)
"""Half an hour on two cores; every number that is claimed anywhere."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload with its texts.

    Attributes:
        load: Its size.
        queries: The pairs of each call.
        lengths: Tokens of each pair of all calls, special tokens included.
    """

    load: Load
    queries: tuple[tuple[Pair, ...], ...]
    lengths: tuple[int, ...]

    @property
    def name(self) -> str:
        """Its name in reports."""
        return self.load.name

    @property
    def size(self) -> WorkloadSize:
        """What a report says of it."""
        return WorkloadSize(
            name=self.name,
            queries=len(self.queries),
            candidates=self.load.candidates,
            callers=self.load.callers,
            tokens=sum(self.lengths),
            digest=digest([pair for query in self.queries for pair in query]),
        )


class PairLengths:
    """Counts the tokens of pairs as the model sees them.

    Args:
        folder: The model.
        max_length: Longest pair in tokens, special tokens included.
    """

    def __init__(self, folder: Path, max_length: int) -> None:
        self._tokenizer = load_tokenizer(folder)
        self._tokenizer.enable_truncation(max_length)

    def __call__(self, pairs: Sequence[Pair]) -> list[int]:
        """Return the length of each pair, special tokens included."""
        return [len(encoding.ids) for encoding in self._tokenizer.encode_batch_fast(list(pairs))]


def make_workload(load: Load, source: TextSource, lengths: PairLengths) -> Workload:
    """Draw the texts of a workload; no text is drawn twice for a call, so that nothing can be answered from memory."""
    count = load.callers if load.callers > 1 else load.queries
    queries = tuple(tuple(source.pairs(load.candidates)) for _ in range(count))
    return Workload(load, queries, tuple(lengths([pair for query in queries for pair in query])))
