"""The fastest engine on a CPU, chosen by name: static int8 in OpenVINO, near the float32 model but not equal to it."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searchkit.models.lanes import Lanes
from searchkit.models.onnx_export import ExportError, OnnxExport, discard
from searchkit.models.onnx_session import usable_cores
from searchkit.reranking.engines.int8_model import Int8Model, open_model
from searchkit.reranking.packing import TokenBatch

_TOKEN_BUDGET = 512  # a batch whose activations stay in the second-level cache
_WIDTH = 16
"""Batches are as wide as a multiple of this: OpenVINO prepares its kernels anew for each shape it meets, and so there
are at most (longest / 16) widths times (budget / width) heights, 130 for 512 tokens."""


class OpenVinoEngine:
    """Runs an int8 cross-encoder on the CPU, several batches side by side.

    Args:
        export: The float32 model that it was made from, for its tokenizer's padding.
        quantized: The int8 model.
        max_length: Longest pair in tokens that the model can read.
        threads: How many batches run at once; ``None`` takes every usable core.

    Raises:
        ExportError: OpenVINO cannot read the model; it is removed.
        MissingExtraError: OpenVINO is not installed.
    """

    def __init__(self, export: OnnxExport, quantized: Int8Model, max_length: int, threads: int | None = None) -> None:
        self._longest = max_length
        self._padding = export.tokenizer.padding
        self._lanes = Lanes(threads or usable_cores(), "searchkit-openvino")
        try:
            compiled = open_model(quantized.path, streams=self._lanes.count)
        except RuntimeError as error:
            discard(quantized.path.parent)
            folder = quantized.path.parent
            raise ExportError(f"the int8 model in {folder} is damaged and was removed: {error}") from error
        self._names = {port.get_any_name() for port in compiled.inputs}
        self._requests: queue.LifoQueue[Any] = queue.LifoQueue()
        for _ in range(self._lanes.count):
            self._requests.put(compiled.create_infer_request())

    @property
    def name(self) -> str:
        """Library, precision and device."""
        return "openvino int8 cpu"

    @property
    def token_budget(self) -> int:
        """Padded tokens in one batch that suit the CPU's caches."""
        return _TOKEN_BUDGET

    @property
    def lanes(self) -> int:
        """How many batches it works on at once."""
        return self._lanes.count

    def run(self, batches: Sequence[TokenBatch]) -> list[NDArray[np.float32]]:
        """Return the logits of each batch, shape ``(pairs,)`` each, float32."""
        return self._lanes.map(self._run, batches)

    def _run(self, batch: TokenBatch) -> NDArray[np.float32]:
        ids, mask, type_ids = batch.padded(self._padding, multiple=_WIDTH, limit=self._longest)
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": type_ids}
        request = self._requests.get()  # waits while callers from elsewhere use all of them
        try:
            found = request.infer({name: array for name, array in inputs.items() if name in self._names})
            return np.array(found[0][:, 0], dtype=np.float32)  # a copy: the request's own memory is used again
        finally:
            self._requests.put(request)
