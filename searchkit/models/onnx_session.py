"""One ONNX Runtime session that several threads share, each computing on its own core."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from searchkit.models.lanes import Lanes

T = TypeVar("T")
R = TypeVar("R")


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return max(len(os.sched_getaffinity(0)), 1)
    return os.cpu_count() or 1


class OnnxSession:
    """A model in ONNX Runtime on the CPU.

    A run computes on the calling thread alone, so that several threads can run batches side by side on the same
    weights. That beats one run on several threads: nobody waits at the end of each operator.

    Args:
        path: The ``.onnx`` file.
        threads: How many batches `map` runs at once; ``None`` takes every usable core.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors; constant folding warns about nodes that do not matter
        self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._inputs = [entry.name for entry in self._session.get_inputs()]
        self._lanes = Lanes(threads or usable_cores(), "searchkit-onnx")

    @property
    def lanes(self) -> int:
        """How many batches `map` runs at once."""
        return self._lanes.count

    def run(self, inputs: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """Return the model's first output; inputs that the model does not have are left out."""
        found: NDArray[np.float32] = self._session.run(None, {name: inputs[name] for name in self._inputs})[0]
        return found

    def map(self, work: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Return ``work(item)`` of each item, in order, on as many threads as the session has lanes."""
        return self._lanes.map(work, items)
