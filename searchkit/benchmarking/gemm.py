"""What the machine can do at most, and how much of it a model needs: a share of peak says what is left to win."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from searchkit.models.device import device_kind
from searchkit.models.tokenizer import read_json

# Rows x inner x columns of the product that a MiniLM's feed-forward network is made of, for a batch of 8,192 tokens;
# an accelerator needs more to show what it can do.
_CPU_SHAPE = (8192, 1536, 384)
_DEVICE_SHAPE = (8192, 8192, 8192)
_SECONDS = 0.1
_SHOTS = 3
_KNOWN_LAYERS = frozenset({"bert", "electra", "roberta", "xlm-roberta", "camembert", "distilbert"})


@dataclass(frozen=True, slots=True)
class Peak:
    """Floating-point operations a second of a plain matrix product.

    Attributes:
        per_wall_s: Of wall-clock time.
        per_cpu_s: Of the process's CPU time.
    """

    per_wall_s: float
    per_cpu_s: float


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """The matrix products of an encoder with plain layers, counted as multiplications and additions.

    Attributes:
        hidden: Width of the model.
        inner: Width of the feed-forward network.
        layers: How many layers.
    """

    hidden: int
    inner: int
    layers: int

    def flops(self, lengths: Sequence[int]) -> float:
        """Return the operations for pairs of so many tokens: all layers for all tokens, no padding."""
        per_token = 8 * self.hidden**2 + 4 * self.hidden * self.inner
        return float(sum(self.layers * length * (per_token + 4 * length * self.hidden) for length in lengths))


def arithmetic_of(folder: Path) -> Arithmetic | None:
    """Return the arithmetic of a model, or ``None`` for one whose layers are not those of BERT."""
    config = read_json(folder / "config.json")
    if config.get("model_type") not in _KNOWN_LAYERS:
        return None
    try:
        return Arithmetic(
            hidden=int(config.get("hidden_size") or config["dim"]),
            inner=int(config.get("intermediate_size") or config["hidden_dim"]),
            layers=int(config.get("num_hidden_layers") or config["n_layers"]),
        )
    except (KeyError, TypeError, ValueError):
        return None


class MatrixProduct:
    """A product of two matrices that is timed again and again: fp32 on a CPU, fp16 elsewhere.

    Args:
        device: A resolved device.
        seconds: How long one measurement takes at least.
    """

    def __init__(self, device: str, seconds: float = _SECONDS) -> None:
        import torch

        self._is_cpu = is_cpu = device_kind(device) == "cpu"
        rows, inner, columns = _CPU_SHAPE if is_cpu else _DEVICE_SHAPE
        dtype = torch.float32 if is_cpu else torch.float16
        self._at_once = 1 if is_cpu else 32
        self._operations = 2.0 * rows * inner * columns
        self._left = torch.rand(rows, inner, dtype=dtype, device=device)
        self._right = torch.rand(inner, columns, dtype=dtype, device=device)
        self._seconds = seconds
        self.measure()  # the first product also sets up threads and kernels

    def measure(self) -> Peak:
        """Return the best that it reaches now; on a CPU on one thread, which waits for no other."""
        import torch

        threads = torch.get_num_threads()
        try:
            if self._is_cpu:
                torch.set_num_threads(1)
            shots = [self._shot() for _ in range(_SHOTS)]
        finally:
            torch.set_num_threads(threads)
        return max(shots, key=lambda shot: shot.per_cpu_s if self._is_cpu else shot.per_wall_s)

    def _shot(self) -> Peak:
        import torch

        count = 0
        wall, cpu = time.perf_counter(), time.process_time()
        while time.perf_counter() - wall < self._seconds:
            for _ in range(self._at_once):
                product = torch.mm(self._left, self._right)
            product[0, 0].item()  # waits for the device
            count += self._at_once
        operations = count * self._operations
        wall_s, cpu_s = time.perf_counter() - wall, max(time.process_time() - cpu, 1e-9)
        return Peak(operations / wall_s, operations / cpu_s)
