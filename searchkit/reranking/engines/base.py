"""The contract of an engine: token ids in, logits out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from searchkit.reranking.packing import TokenBatch

Precision = Literal["auto", "fp32", "fp16", "bf16"]
EngineName = Literal["auto", "torch", "onnx", "openvino"]


class OutOfMemoryError(Exception):
    """An engine's device had no room for a batch; a smaller one may fit. Never leaves this package."""


class Engine(Protocol):
    """A loaded cross-encoder. Implementations are safe to call from several threads."""

    @property
    def name(self) -> str:
        """Library, precision and device, for people ("torch fp32 cpu")."""

    @property
    def token_budget(self) -> int:
        """Padded tokens in one batch that suit this engine and device."""

    @property
    def lanes(self) -> int:
        """How many batches it works on at once."""

    def run(self, batches: Sequence[TokenBatch]) -> list[NDArray[np.float32]]:
        """Return the logits of each batch, each of shape ``(pairs,)``, before any activation.

        All batches of a call come at once, so that an engine can overlap them.

        Raises:
            OutOfMemoryError: A batch does not fit the device's memory.
        """
