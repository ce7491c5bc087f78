"""The reference engine: any sequence-classification model of transformers, padded, on torch."""

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
from searchkit.reranking.engines.base import OutOfMemoryError, Precision
from searchkit.reranking.engines.packed import PackedModel, padded_logits, try_packed
from searchkit.reranking.packing import TokenBatch

Layout = Literal["auto", "padded", "packed"]

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_TOKEN_BUDGETS = {"cpu": 2048, "mps": 8192, "cuda": 32768}
_MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory")


class TorchEngine:
    """Runs a model that transformers can load.

    Args:
        folder: The model.
        tokenizer: Its tokenizer, for how batches are padded.
        device: A resolved device ("cpu", "cuda", "cuda:1", "mps").
        precision: "auto" is fp32 on a CPU and fp16 on an accelerator.
        layout: "auto" lays pairs end to end on CUDA, where that saves time, and pads them elsewhere; "packed" wants
            them end to end, which still needs a model that gives the same logits so.

    Raises:
        ModelLoadError: The files do not make a complete cross-encoder.
    """

    def __init__(
        self,
        folder: Path,
        tokenizer: TokenizerFacts,
        device: str,
        precision: Precision = "auto",
        layout: Layout = "auto",
    ) -> None:
        self._padding = tokenizer.padding
        self._device = device
        self._packed: PackedModel | None = None
        self._prepare(folder, tokenizer, _concrete(precision, device))
        if self._precision == "fp16" and precision == "auto" and not self._is_finite():
            # Activations beyond 65504: bf16 has the range of fp32, at a tenth of fp16's accuracy.
            self._prepare(folder, tokenizer, "bf16")
        if layout == "packed" or (layout == "auto" and device_kind(device) == "cuda"):
            self._packed = try_packed(self._model, self._padding, has_type_ids=self._has_type_ids)

    def _prepare(self, folder: Path, tokenizer: TokenizerFacts, precision: Precision) -> None:
        self._precision = precision
        self._model = load_model(folder).to(device=self._device, dtype=_DTYPES[precision])
        self._has_type_ids = tokenizer.has_type_ids and accepts_type_ids(self._model)
        keep_head_exact(self._model)

    @property
    def name(self) -> str:
        """Library, precision and device."""
        return f"torch {self._precision} {self._device}{' packed' if self._packed is not None else ''}"

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
            logits = [self._logits(batch)[:, 0].float() for batch in batches]
            return [part.cpu().numpy() for part in logits]
        except (RuntimeError, MemoryError) as error:  # torch's own out-of-memory errors are RuntimeErrors
            if is_out_of_memory(error):
                if device_kind(self._device) == "cuda":
                    torch.cuda.empty_cache()
                raise OutOfMemoryError(str(error)) from error
            raise

    def _logits(self, batch: TokenBatch) -> torch.Tensor:
        if self._packed is not None:
            return self._packed.logits(batch)
        return padded_logits(self._model, batch, self._padding, has_type_ids=self._has_type_ids)

    def _is_finite(self) -> bool:
        ids = np.arange(64, dtype=np.int32) % int(self._model.config.vocab_size)
        probe = TokenBatch(ids, np.zeros_like(ids), np.array([0, 64], dtype=np.int32))
        return bool(torch.isfinite(self._logits(probe)).all())


def load_model(folder: Path) -> Any:
    """Return the model in fp32 on the CPU, ready for inference.

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


def keep_head_exact(model: Any) -> None:
    """Compute everything after the base model in fp32, in place: in half precision scores near each other would tie."""

    def widen(_module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(
            item.float() if isinstance(item, torch.Tensor) and item.is_floating_point() else item for item in inputs
        )

    if model.dtype == torch.float32:
        return
    for name, child in model.named_children():
        if name != model.base_model_prefix:
            child.float().register_forward_pre_hook(widen)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out; torch has a class for it on CUDA only."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _MEMORY_WORDS)


def _concrete(precision: Precision, device: str) -> Precision:
    if precision != "auto":
        return precision
    return "fp32" if device_kind(device) == "cpu" else "fp16"
