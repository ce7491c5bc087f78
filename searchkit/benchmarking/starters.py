"""Who takes part: contestants are loaded and warmed up one by one, and whoever cannot run is named with the reason."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searchkit.benchmarking.contestants import Batched, Contestant, NotRunError
from searchkit.benchmarking.fidelity import fidelity
from searchkit.benchmarking.report import Entry, Fidelity
from searchkit.benchmarking.timing import choose_batch_size, why
from searchkit.benchmarking.workloads import Workload

Logits = list[NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class _Runner:
    contestant: Contestant
    load_s: float
    logits: Logits


class Starters:
    """The contestants of a run, as far as they can run.

    Args:
        judged: The queries whose logits are compared; scoring them is the warm-up too.
        finds_batch_size: Whether a contestant's batch size is chosen by trying.
        is_cpu: Whether CPU time says how fast something is.
    """

    def __init__(self, judged: Workload, *, finds_batch_size: bool, is_cpu: bool = True) -> None:
        self._judged = judged
        self._is_cpu = is_cpu
        self._finds_batch_size = finds_batch_size
        self._runners: dict[str, _Runner] = {}
        self._dropped: dict[str, Entry] = {}
        self._order: list[str] = []

    @property
    def running(self) -> list[Contestant]:
        """Those that are loaded and have scored the warm-up."""
        return [runner.contestant for runner in self._runners.values()]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What became of each, in the order of admission."""
        return tuple(self._dropped[name] if name in self._dropped else self._entry(name) for name in self._order)

    def admit(self, contestant: Contestant) -> None:
        """Load a contestant, let it score the warm-up and find its batch size; an error drops it, not the run."""
        self._order.append(contestant.name)
        try:
            self._runners[contestant.name] = self._loaded(contestant)
        except NotRunError as error:
            self._drop(contestant, "not run", str(error))
        except Exception as error:  # noqa: BLE001  # any library may raise anything; it becomes a finding
            self._drop(contestant, "failed", why(error))

    def compare(self, reference: Contestant | None) -> tuple[tuple[Fidelity, ...], str | None]:
        """Return how far each is from the reference's logits, and what is to be said about the reference.

        Args:
            reference: Whose logits count as right; loaded if it does not take part. ``None`` takes the first that runs
                and is not ours, else the first that runs.
        """
        if not self._runners:
            return (), None
        if reference is None:
            others = [runner for runner in self._runners.values() if not runner.contestant.is_ours]
            chosen = (others or list(self._runners.values()))[0]
        elif reference.name in self._runners:
            chosen = self._runners[reference.name]
        elif reference.name in self._dropped:
            return (), f"logits were not compared: {reference.name} did not run"
        else:
            try:
                chosen = self._loaded(reference)
            except Exception as error:  # noqa: BLE001  # as in `admit`
                return (), f"logits were not compared: {reference.name} did not run ({why(error)})"
        name = chosen.contestant.name
        found = {runner.contestant.name: runner.logits for runner in self._runners.values()}
        return tuple(fidelity(one, name, logits, chosen.logits) for one, logits in found.items() if one != name), None

    def _loaded(self, contestant: Contestant) -> _Runner:
        started = time.perf_counter()
        contestant.load()
        load_s = time.perf_counter() - started
        queries = self._judged.queries
        if self._finds_batch_size and isinstance(contestant, Batched):
            choose_batch_size(contestant, lambda: contestant.score(queries[0]), by_cpu=self._is_cpu)
        return _Runner(
            contestant, load_s, [self._checked(contestant, len(pairs), contestant.score(pairs)) for pairs in queries]
        )

    @staticmethod
    def _checked(contestant: Contestant, count: int, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        if logits.shape != (count,) or not np.isfinite(logits).all():
            raise ValueError(
                f"{contestant.name} returned {logits.shape} scores for {count} pairs, or some are no numbers"
            )
        return logits

    def _drop(self, contestant: Contestant, status: str, reason: str) -> None:
        self._dropped[contestant.name] = Entry.model_validate(
            {"name": contestant.name, "is_ours": contestant.is_ours, "status": status, "reason": reason}
        )

    def _entry(self, name: str) -> Entry:
        runner = self._runners[name]
        return Entry(
            name=name,
            is_ours=runner.contestant.is_ours,
            status="run",
            setup=runner.contestant.setup,
            load_s=round(runner.load_s, 3),
        )
