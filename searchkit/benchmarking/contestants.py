"""What is measured: anything that loads a model once and then turns (query, text) pairs into logits."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, get_args, get_type_hints, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from searchkit.reranking import CrossEncoderReranker
from searchkit.reranking.scheduler import ScheduledReranker

Pair = tuple[str, str]


class NotRunError(Exception):
    """A contestant cannot run here; the message says why ("fastembed is not installed") and enters the report."""


@runtime_checkable
class Contestant(Protocol):
    """One way to score pairs. Called from one thread, except where several callers are measured."""

    @property
    def name(self) -> str:
        """What reports call it; unique among the contestants of a run."""

    @property
    def is_ours(self) -> bool:
        """Whether it is an engine of this library, which the others are compared with."""

    @property
    def setup(self) -> str:
        """How it runs, in words, once loaded: library, precision, device, batch size."""

    def load(self) -> None:
        """Get ready to score.

        Raises:
            NotRunError: It cannot run here.
        """

    def score(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        """Return the logits, shape ``(len(pairs),)``, in order; done when this returns, also on an accelerator."""


@runtime_checkable
class Batched(Protocol):
    """A contestant that leaves its batch size to its user, so that it can be measured at its best one.

    Attributes:
        batch_size: Pairs in a batch.
        batch_sizes: Sizes worth trying.
    """

    batch_size: int
    batch_sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What all contestants of a run have in common.

    Attributes:
        folder: The model.
        device: A resolved device ("cpu", "cuda", "cuda:1", "mps").
        threads: Cores to use on a CPU.
        max_length: Longest pair in tokens, special tokens included.
    """

    folder: Path
    device: str
    threads: int
    max_length: int


class OwnEngine:
    """An engine of this library behind its scheduler, as `searchkit.SearchKit` runs it; without the score cache.

    Args:
        circumstances: Model, device, threads and length.
        engine: What to pass as ``engine``; ``None`` leaves the choice to the library.
    """

    is_ours = True

    def __init__(self, circumstances: Circumstances, engine: str | None = None) -> None:
        self._circumstances = circumstances
        self._engine = engine
        self._scheduled: ScheduledReranker | None = None
        self._setup = ""

    @property
    def name(self) -> str:
        """What reports call it."""
        return f"searchkit {self._engine}" if self._engine else "searchkit"

    @property
    def setup(self) -> str:
        """Library, precision and device."""
        return self._setup

    def load(self) -> None:
        """Load the model.

        Raises:
            ConfigError: The engine does not run on this device.
            ModelLoadError: The model cannot be loaded.
            MissingExtraError: What the engine needs is not installed.
        """
        reranker = CrossEncoderReranker(self._circumstances.folder, **self._arguments())
        reranker.load()
        self._scheduled = ScheduledReranker(reranker, cache_bytes=0)

    def score(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        """Return the logits."""
        if self._scheduled is None:
            raise NotRunError(f"{self.name} is not loaded")
        scores = self._scheduled.score_pairs(pairs)
        self._setup = scores.engine
        return scores.logits

    def _arguments(self) -> dict[str, Any]:
        here = self._circumstances
        wanted = {"device": here.device, "max_length": here.max_length, "threads": here.threads, "engine": self._engine}
        known = inspect.signature(CrossEncoderReranker).parameters
        return {name: value for name, value in wanted.items() if name in known and value is not None}


def own_engines(circumstances: Circumstances) -> list[Contestant]:
    """Return one contestant for each engine that `CrossEncoderReranker` offers by name, whether it runs here or not."""
    hint = get_type_hints(CrossEncoderReranker.__init__).get("engine")
    engines: list[str | None] = [name for name in get_args(hint) if isinstance(name, str) and name != "auto"]
    return [OwnEngine(circumstances, engine) for engine in engines or [None]]
