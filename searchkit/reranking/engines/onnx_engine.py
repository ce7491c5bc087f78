"""The default engine on a CPU: the exact fp32 model in ONNX Runtime, exported once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from searchkit.models.onnx_export import OnnxExport, exported, open_export
from searchkit.reranking.packing import TokenBatch

if TYPE_CHECKING:
    from torch import nn

_KIND = "cross-encoder-3"
_TOKEN_BUDGET = 512  # a batch whose activations stay in the second-level cache


class OnnxEngine:
    """Runs an exported cross-encoder on the CPU, several batches side by side.

    Args:
        export: The model and its tokenizer.
        threads: How many batches run at once; ``None`` takes every usable core.

    Raises:
        ExportError: ONNX Runtime cannot read the export.
    """

    def __init__(self, export: OnnxExport, threads: int | None = None) -> None:
        self._padding = export.tokenizer.padding
        self._session = open_export(export, threads)

    @property
    def name(self) -> str:
        """Library, precision and device."""
        return "onnx fp32 cpu"

    @property
    def token_budget(self) -> int:
        """Padded tokens in one batch that suit the CPU's caches."""
        return _TOKEN_BUDGET

    @property
    def lanes(self) -> int:
        """How many batches it works on at once."""
        return self._session.lanes

    def run(self, batches: Sequence[TokenBatch]) -> list[NDArray[np.float32]]:
        """Return the logits of each batch, shape ``(pairs,)`` each, float32."""
        return self._session.map(self._run, batches)

    def _run(self, batch: TokenBatch) -> NDArray[np.float32]:
        ids, mask, type_ids = batch.padded(self._padding)
        return self._session.run({"input_ids": ids, "attention_mask": mask, "token_type_ids": type_ids})[:, 0]


def export_cross_encoder(folder: Path, max_length: int) -> OnnxExport:
    """Return the ONNX export of a cross-encoder, made now unless it is in the cache.

    Raises:
        ExportError: It cannot be exported.
        ModelLoadError: It cannot be loaded.
    """
    return exported(folder, _KIND, _load, longest=max_length)


def _load(folder: Path) -> nn.Module:
    import torch

    from searchkit.reranking.engines.first_token import narrow_last_layer
    from searchkit.reranking.engines.torch_engine import load_model

    # Written out, attention is a few operators that runtimes recognise; as one call it brings checks for empty rows.
    model = load_model(folder, attention="eager")
    narrow_last_layer(model)

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, **inputs: torch.Tensor) -> Any:
            return self.model(**inputs).logits

    return Logits().eval()
