"""The default engine of `SentenceEncoder` on a CPU: the exact fp32 model with its pooling in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from searchkit.encoding.engine import padded
from searchkit.models.onnx_export import ExportError, OnnxExport, exported, open_export
from searchkit.models.quiet import no_progress_bars

if TYPE_CHECKING:
    import torch
    from tokenizers import Encoding, Tokenizer
    from torch import nn

_VERSION = "2"
_TOKEN_BUDGET = 512  # a batch whose activations stay in the second-level cache
POOLINGS = ("mean", "cls", "max", "mean_sqrt_len_tokens")


class OnnxSentenceEngine:
    """Runs an exported bi-encoder on the CPU, several batches side by side.

    Args:
        export: The model and its tokenizer.
        max_tokens: Longest text in tokens.
        dimension: Length of a vector.
        threads: How many batches run at once; ``None`` takes every usable core.

    Raises:
        ExportError: ONNX Runtime cannot read the export.
    """

    def __init__(self, export: OnnxExport, max_tokens: int, dimension: int, threads: int | None = None) -> None:
        self._session = open_export(export, threads)
        self._padding = export.tokenizer.padding
        self._tokenizer = export.tokenizer.tokenizer
        self._tokenizer.enable_truncation(max_tokens, direction=export.tokenizer.truncation_side)
        self._dimension = dimension

    @property
    def name(self) -> str:
        """Library, precision and device."""
        return "onnx fp32 cpu"

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._dimension

    @property
    def token_budget(self) -> int:
        """Padded tokens in one batch that suit the CPU's caches."""
        return _TOKEN_BUDGET

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer, cutting at the length limit."""
        return self._tokenizer

    def run_tokens(self, batches: Sequence[Sequence[Encoding]]) -> list[NDArray[np.float32]]:
        """Return the vectors of each batch, each of shape ``(n, dimension)``."""
        return self._session.map(lambda batch: self._session.run(padded(batch, self._padding)), batches)

    def run_texts(self, texts: Sequence[str], prompt: str) -> NDArray[np.float32]:
        """Return the vectors of texts, shape ``(n, dimension)``, in one batch."""
        encodings = self._tokenizer.encode_batch_fast([prompt + text for text in texts])
        return self.run_tokens([encodings])[0]


def export_sentence_model(folder: Path, pooling: str, max_tokens: int) -> OnnxExport:
    """Return the ONNX export of a transformer with one of `POOLINGS`, made now unless it is in the cache.

    Raises:
        ExportError: It cannot be exported.
    """
    kind = f"sentence-{pooling}-{_VERSION}"
    return exported(folder, kind, lambda path: _load(path, pooling), longest=max_tokens)


def _load(folder: Path, pooling: str) -> nn.Module:
    import torch
    from transformers import AutoModel

    with no_progress_bars():
        model, info = AutoModel.from_pretrained(
            str(folder),
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            attn_implementation="eager",  # written out: as one call it brings checks for rows without a token
            output_loading_info=True,
        )
    missing = [name for name in info["missing_keys"] if "pooler" not in name]  # no pooling of ours reads it
    if missing:
        raise ExportError(f"the weights in {folder} lack {', '.join(sorted(missing)[:3])}")

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, attention_mask: torch.Tensor, **inputs: torch.Tensor) -> torch.Tensor:
            states = self.model(attention_mask=attention_mask, **inputs).last_hidden_state
            return pool(states, attention_mask, pooling)

    return Pooled().eval()


def pool(states: torch.Tensor, attention_mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """Return one vector a row from token vectors, as sentence-transformers' Pooling does.

    Args:
        states: Shape ``(rows, length, hidden)``.
        attention_mask: 1 where a token counts, shape ``(rows, length)``.
        pooling: One of `POOLINGS`.
    """
    import torch

    mask: Any = attention_mask.unsqueeze(-1).to(states.dtype)
    if pooling == "cls":
        return states[:, 0]
    if pooling == "max":
        return states.masked_fill(mask == 0, -1e9).max(dim=1).values
    count = torch.clamp(mask.sum(dim=1), min=1e-9)
    total: torch.Tensor = (states * mask).sum(dim=1)
    return total / (torch.sqrt(count) if pooling == "mean_sqrt_len_tokens" else count)
