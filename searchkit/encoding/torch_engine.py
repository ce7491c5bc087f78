"""The reference engine of `SentenceEncoder`: sentence-transformers on torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from searchkit.encoding.engine import Ids, padded
from searchkit.models.quiet import no_progress_bars
from searchkit.models.tokenizer import Padding, unbounded

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer


class TorchSentenceEngine:
    """Runs a sentence-transformers model on batches of token ids, or of texts where a model reads no plain ids.

    Attributes:
        name: Library, precision and device, for people.
        tokenizer: The model's Rust tokenizer, cutting at ``max_tokens``; ``None`` if it has none.

    Args:
        folder: The model.
        device: A resolved device ("cpu", "cuda", "cuda:1", "mps").
        max_tokens: Longest text in tokens.

    Raises:
        OSError: A file is missing or unreadable.
        ValueError: The folder does not describe a sentence-transformers model.
    """

    def __init__(self, folder: Path, device: str, max_tokens: int) -> None:
        from sentence_transformers import SentenceTransformer

        with no_progress_bars():
            self._model = SentenceTransformer(
                str(folder),
                device=device,
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            )
        self._model.eval()
        self._model.max_seq_length = max_tokens
        self._device = device
        self._padding = Padding()
        self.tokenizer: Tokenizer | None = None
        wrapper: Any = self._model.tokenizer
        if getattr(wrapper, "is_fast", False):
            self.tokenizer = unbounded(wrapper.backend_tokenizer)
            self.tokenizer.enable_truncation(max_tokens)
            self._padding = Padding(
                int(wrapper.pad_token_id or 0), int(wrapper.pad_token_type_id), wrapper.padding_side
            )
        self.name = f"torch {str(next(self._model.parameters()).dtype).removeprefix('torch.')} {device}"

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        # Renamed in sentence-transformers 5.2; the old name warns there.
        model: Any = self._model
        ask = getattr(model, "get_embedding_dimension", None) or model.get_sentence_embedding_dimension
        return int(ask())

    @property
    def token_budget(self) -> int:
        """Padded tokens in one batch that suit the device."""
        return 4096 if self._device == "cpu" else 32768

    def run_tokens(self, batches: Sequence[Sequence[Encoding]]) -> list[NDArray[np.float32]]:
        """Return the vectors of each batch, each of shape ``(n, dimension)``."""
        return [self._run(padded(batch, self._padding)) for batch in batches]

    def _run(self, inputs: dict[str, Ids]) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            features: dict[str, Any] = {key: torch.from_numpy(array).to(self._device) for key, array in inputs.items()}
            return self._model(features)["sentence_embedding"].float().cpu().numpy()  # type: ignore[no-any-return]

    def run_texts(self, texts: Sequence[str], prompt: str) -> NDArray[np.float32]:
        """Return vectors for texts, through sentence-transformers' own tokenization, prompt put before each."""
        vectors: NDArray[np.float32] = self._model.encode(
            list(texts), prompt=prompt or None, batch_size=len(texts), show_progress_bar=False, convert_to_numpy=True
        )
        return vectors.astype(np.float32, copy=False)
