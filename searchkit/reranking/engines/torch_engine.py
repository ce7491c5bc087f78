"""The reference engine: any sequence-classification model of transformers on torch."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from searchkit.errors import ModelLoadError
from searchkit.models.device import device_kind
from searchkit.models.quiet import no_progress_bars
from searchkit.models.tokenizer import TokenizerFacts
from searchkit.reranking.engines.attention import flash_runs
from searchkit.reranking.engines.base import OutOfMemoryError, Precision
from searchkit.reranking.engines.fast_model import FastSettings, try_fast
from searchkit.reranking.engines.packed import try_packed
from searchkit.reranking.engines.padded import PaddedModel
from searchkit.reranking.engines.tiles import PackedTiling, PaddedTiling, Tiling
from searchkit.reranking.engines.trial import Layout, body_dtype, expected_logits
from searchkit.reranking.packing import TokenBatch

LayoutName = Literal["auto", "padded", "packed", "bert-fast"]

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_TOKEN_BUDGETS = {"cpu": 2048, "mps": 8192, "cuda": 32768}
_TILE_ROWS = {"cpu": 4, "mps": 32, "cuda": 32}
_MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory")


class TorchEngine:
    """Runs a model that transformers can load.

    Args:
        folder: The model.
        tokenizer: Its tokenizer, for how batches are padded.
        device: A resolved device ("cpu", "cuda", "cuda:1", "mps").
        precision: "auto" is fp32 on a CPU and fp16 on an accelerator.
        layout: "auto" takes the fast path or lays pairs end to end where the device has flash attention for it, and
            pads them elsewhere. "bert-fast" and "packed" want those, which still needs a model that gives the same
            logits so; where it does not, the next one in this order takes over.
        settings: What the fast path may use.

    Raises:
        ModelLoadError: The files do not make a complete cross-encoder.
    """

    def __init__(
        self,
        folder: Path,
        tokenizer: TokenizerFacts,
        device: str,
        precision: Precision = "auto",
        layout: LayoutName = "auto",
        settings: FastSettings | None = None,
    ) -> None:
        self._padding = tokenizer.padding
        self._device = device
        self._prepare(folder, tokenizer, _concrete(precision, device))
        if self._precision == "fp16" and precision == "auto" and not self._is_finite():
            # Activations beyond 65504: bf16 has the range of fp32, at a tenth of fp16's accuracy.
            self._prepare(folder, tokenizer, "bf16")
        self._layout = self._chosen(layout, settings)

    def _prepare(self, folder: Path, tokenizer: TokenizerFacts, precision: Precision) -> None:
        self._precision = precision
        model = load_model(folder)
        lower_body(model, _DTYPES[precision])
        self._model = model.to(self._device)
        self._has_type_ids = tokenizer.has_type_ids and accepts_type_ids(model)

    def _chosen(self, wanted: LayoutName, settings: FastSettings | None) -> Layout:
        heads = int(getattr(self._model.config, "num_attention_heads", 0) or 1)
        size = int(getattr(self._model.config, "hidden_size", 0)) // heads
        if wanted == "auto":
            wanted = "bert-fast" if flash_runs(self._device, _DTYPES[self._precision], size) else "padded"
        made: Layout | None = None
        if wanted == "bert-fast":
            made = try_fast(self._model, self._padding, has_type_ids=self._has_type_ids, settings=settings)
        if made is None and wanted != "padded":
            made = try_packed(self._model, self._padding, has_type_ids=self._has_type_ids)
        return made or PaddedModel(self._model, self._padding, has_type_ids=self._has_type_ids)

    @property
    def name(self) -> str:
        """Library, precision and device."""
        return " ".join(filter(None, ("torch", self._precision, self._device, self._layout.label)))

    def tiling(self, longest: int) -> Tiling:
        """Return how batches are cut so that a pair's score does not depend on its mates.

        Args:
            longest: Longest pair in tokens.
        """
        if not isinstance(self._layout, PaddedModel):
            return PackedTiling(longest)
        return PaddedTiling(_TILE_ROWS[device_kind(self._device)], self._layout.step, longest)

    @property
    def details(self) -> dict[str, Any]:
        """How the layout runs, for benchmarks; empty for most."""
        return getattr(self._layout, "details", {})

    @property
    def token_budget(self) -> int:
        """Padded tokens in one batch that suit the device."""
        return _TOKEN_BUDGETS[device_kind(self._device)]

    @property
    def lanes(self) -> int:
        """How many batches it works on at once: torch spreads each over all cores."""
        return 1

    def run(self, batches: Sequence[TokenBatch]) -> list[NDArray[np.float32]]:
        """Return the logits of each batch, each of shape ``(pairs,)``, float32.

        Raises:
            OutOfMemoryError: A batch does not fit the device's memory.
        """
        try:
            # All batches are handed to the device before the first result is read, so that it never waits for us.
            logits = [self._layout.logits(batch).float() for batch in batches]
            return [part.cpu().numpy() for part in logits]
        except (RuntimeError, MemoryError) as error:  # torch's own out-of-memory errors are RuntimeErrors
            if is_out_of_memory(error):
                if device_kind(self._device) == "cuda":
                    torch.cuda.empty_cache()
                raise OutOfMemoryError(str(error)) from error
            raise

    def _is_finite(self) -> bool:
        ids = np.arange(64, dtype=np.int32) % int(self._model.config.vocab_size)
        probe = TokenBatch(ids, np.zeros_like(ids), np.array([0, 64], dtype=np.int32))
        logits = expected_logits(self._model, probe, self._padding, has_type_ids=self._has_type_ids)
        return bool(torch.isfinite(logits).all())


def load_model(folder: Path, attention: str | None = None) -> Any:
    """Return the model in fp32 on the CPU, ready for inference.

    Args:
        folder: The model.
        attention: Implementation of attention by transformers' name; ``None`` leaves the choice to transformers.

    Raises:
        ModelLoadError: The files cannot be read, need code of their own, or lack weights.
    """
    from transformers import AutoModelForSequenceClassification

    try:
        with no_progress_bars():
            model, info = AutoModelForSequenceClassification.from_pretrained(
                str(folder),
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=torch.float32,
                attn_implementation=attention,
                output_loading_info=True,
            )
    except Exception as error:  # transformers raises nearly anything for a folder that does not fit
        raise ModelLoadError(f"transformers cannot load the cross-encoder in {str(folder)!r}: {error}") from error
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise ModelLoadError(
            f"The weights in {str(folder)!r} lack {len(missing)} of the model's tensors ({', '.join(missing[:3])}): "
            "this is no trained cross-encoder."
        )
    return model.eval()


def accepts_type_ids(model: Any) -> bool:
    """Return whether the model reads token types."""
    return "token_type_ids" in inspect.signature(model.forward).parameters


def lower_body(model: Any, dtype: torch.dtype) -> None:
    """Put all but the head (pooler included) into ``dtype``, in place: scores near each other would tie in less."""

    def widen(_module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(
            item.float() if isinstance(item, torch.Tensor) and item.is_floating_point() else item for item in inputs
        )

    if body_dtype(model) == dtype:
        return
    head = [child for name, child in model.named_children() if name != model.base_model_prefix]
    pooler = getattr(getattr(model, model.base_model_prefix, None), "pooler", None)
    if isinstance(pooler, torch.nn.Module):
        head.append(pooler)
    kept = {id(tensor) for module in head for tensor in (*module.parameters(), *module.buffers())}
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point() and id(tensor) not in kept:
            tensor.data = tensor.data.to(dtype)
    for module in head:
        module.register_forward_pre_hook(widen)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out; torch has a class for it on CUDA only."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _MEMORY_WORDS)


def _concrete(precision: Precision, device: str) -> Precision:
    if precision != "auto":
        return precision
    return "fp32" if device_kind(device) == "cpu" else "fp16"
