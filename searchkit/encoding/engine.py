"""The contract of a bi-encoder's engine, and how a batch of token ids is made rectangular."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from searchkit.models.tokenizer import Padding

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

EngineName = Literal["auto", "torch", "onnx"]
Ids = NDArray[np.int64]


class SentenceEngine(Protocol):
    """A loaded bi-encoder. Implementations are safe to call from several threads."""

    @property
    def name(self) -> str:
        """Library, precision and device, for people ("onnx fp32 cpu")."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    @property
    def token_budget(self) -> int:
        """Padded tokens in one batch that suit this engine."""

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The model's tokenizer, cutting at the length limit; ``None`` if the model reads texts in its own way."""

    def run_tokens(self, batches: Sequence[Sequence[Encoding]]) -> list[NDArray[np.float32]]:
        """Return the vectors of each batch of tokenized texts, each of shape ``(n, dimension)``, of any length."""

    def run_texts(self, texts: Sequence[str], prompt: str) -> NDArray[np.float32]:
        """Return the vectors of texts, ``prompt`` put before each, where there is no `tokenizer`."""


def padded(encodings: Sequence[Encoding], padding: Padding) -> dict[str, Ids]:
    """Return the model's inputs for one batch, each of shape ``(n, longest)``."""
    length = max(len(encoding.ids) for encoding in encodings)
    ids = np.full((len(encodings), length), padding.token_id, dtype=np.int64)
    type_ids = np.full_like(ids, padding.type_id)
    mask = np.zeros_like(ids)
    for row, encoding in enumerate(encodings):
        count = len(encoding.ids)
        columns = slice(length - count, length) if padding.side == "left" else slice(0, count)
        ids[row, columns], type_ids[row, columns], mask[row, columns] = encoding.ids, encoding.type_ids, 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": type_ids}
