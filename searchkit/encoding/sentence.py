"""`SentenceEncoder`: any sentence-transformers bi-encoder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np
from numpy.typing import NDArray

from searchkit.encoding.engine import EngineName, SentenceEngine
from searchkit.encoding.layout import SentenceLayout, read_layout
from searchkit.encoding.loading import load_engine
from searchkit.encoding.vectors import check_texts, unit_rows
from searchkit.errors import ConfigError, EncodingError
from searchkit.models.batching import token_budget_batches
from searchkit.models.hashing import tokenizer_hash, weight_hash
from searchkit.models.lookup import DEFAULT_ENCODER, ModelFolder, ModelNotFoundError, find_model
from searchkit.models.once import Once
from searchkit.models.tokenizer import load_tokenizer
from searchkit.stages import EncoderFingerprint, Span, Vectors

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_TEXTS_IN_A_BATCH = 32
_TYPICAL_TOKENS = 128  # a batch may hold batch_size texts of this length, or fewer longer ones


@dataclass(frozen=True, slots=True)
class _Opened:
    """What is known of the model from its files; nothing here needs torch."""

    folder: ModelFolder
    layout: SentenceLayout
    max_tokens: int
    query_prompt: str
    passage_prompt: str


class SentenceEncoder:
    """Unit vectors from a sentence-transformers model, equal to those of ``SentenceTransformer.encode``.

    Nothing is looked up or loaded before it is needed. Safe to use from several threads.

    Args:
        model: A folder or a model name, see `searchkit.models.find_model`.
        device: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:N" or "mps".
        batch_size: Texts of 128 tokens in one batch; a batch of longer texts holds fewer, of shorter ones more.
            ``None`` takes what suits the device.
        engine: "auto" (on a CPU the exact model in ONNX Runtime, exported once into the user's cache folder; torch
            elsewhere, and for models of more than a transformer with plain pooling), "torch" or "onnx".
        threads: Cores that the ONNX engine uses; ``None`` for all that the process may use.
        query_prompt: Text put before every query; ``None`` takes what the model declares.
        passage_prompt: Text put before every passage; ``None`` takes what the model declares.
        max_tokens: Longest text in tokens, special tokens included; ``None`` takes what the model declares.
        offline: Never ask the hub.

    Raises:
        ConfigError: An argument cannot work.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_ENCODER,
        *,
        device: str = "auto",
        batch_size: int | None = None,
        query_prompt: str | None = None,
        passage_prompt: str | None = None,
        max_tokens: int | None = None,
        engine: EngineName = "auto",
        threads: int | None = None,
        offline: bool = False,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, not {batch_size!r}.")
        if max_tokens is not None and max_tokens < 8:
            raise ConfigError(f"max_tokens must be at least 8, not {max_tokens!r}.")
        if engine not in get_args(EngineName):
            raise ConfigError(f"engine must be one of {', '.join(get_args(EngineName))}, not {engine!r}.")
        if threads is not None and threads < 1:
            raise ConfigError(f"threads must be at least 1, not {threads!r}.")
        self._requested = model
        self._device = device
        self._batch_size = batch_size
        self._prompts = (query_prompt, passage_prompt)
        self._max_tokens = max_tokens
        self._engine_name = engine
        self._threads = threads
        self._offline = offline
        self._opened: Once[_Opened] = Once(self._open)
        self._spans: Once[Tokenizer] = Once(self._load_spans)
        self._engine: Once[SentenceEngine] = Once(self._load_engine)

    def __repr__(self) -> str:
        return f"SentenceEncoder({os.fspath(self._requested)!r}, device={self._device!r})"

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._opened.get().layout.dimension or self._engine.get().dimension

    @property
    def max_tokens(self) -> int:
        """Longest text in tokens, special tokens included; what lies beyond is not seen."""
        return self._opened.get().max_tokens

    def fingerprint(self) -> EncoderFingerprint:
        """Return what identifies this encoder's vectors, from the model's files, without loading it.

        The hash covers the weights of all modules; where pooling is not the plain mean, it covers that as well.
        """
        opened = self._opened.get()
        weights = weight_hash(opened.folder.path)
        if opened.layout.pooling != ("mean",):
            weights = hashlib.sha256(f"{weights} {'+'.join(opened.layout.pooling)}".encode()).hexdigest()
        return EncoderFingerprint(
            kind="sentence-transformers",
            model=opened.folder.name,
            weight_hash=weights,
            tokenizer_hash=tokenizer_hash(opened.folder.path),
            dimension=self.dimension,
            max_tokens=opened.max_tokens,
            query_prompt=opened.query_prompt,
            passage_prompt=opened.passage_prompt,
        )

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a query, in order, shape ``(n, dimension)``.

        Raises:
            EncodingError: The model cannot be loaded, a text cannot be read, or a vector is unusable.
        """
        return self._encode(texts, self._opened.get().query_prompt)

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text, in order, shape ``(n, dimension)``. Texts beyond ``max_tokens`` are cut.

        Raises:
            EncodingError: The model cannot be loaded, a text cannot be read, or a vector is unusable.
        """
        return self._encode(texts, self._opened.get().passage_prompt)

    def token_spans(self, text: str) -> list[Span]:
        """Return the character offsets of the text's tokens, without special tokens and without truncation."""
        check_texts([text])
        encoding = self._spans.get().encode(text, add_special_tokens=False)
        return [(start, end) for start, end in encoding.offsets if end > start]

    def _encode(self, texts: Sequence[str], prompt: str) -> Vectors:
        check_texts(texts)
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        if not texts:
            return vectors
        engine = self._engine.get()
        if engine.tokenizer is None or not self._opened.get().layout.is_plain:
            count = self._batch_size or _TEXTS_IN_A_BATCH
            for start in range(0, len(texts), count):
                batch = slice(start, start + count)
                vectors[batch] = self._unit(engine.run_texts(texts[batch], prompt))
            return vectors
        encodings = engine.tokenizer.encode_batch_fast([prompt + text for text in texts])
        budget = self._batch_size * _TYPICAL_TOKENS if self._batch_size else engine.token_budget
        batches = token_budget_batches([len(encoding.ids) for encoding in encodings], budget)
        found = engine.run_tokens([[encodings[row] for row in rows] for rows in batches])
        for rows, part in zip(batches, found, strict=True):
            vectors[rows] = part
        return self._unit(vectors)

    def _unit(self, vectors: NDArray[np.float32]) -> Vectors:
        return unit_rows(vectors, self.dimension, self._opened.get().folder.name)

    def _open(self) -> _Opened:
        try:
            folder = find_model(self._requested, offline=self._offline)
        except ModelNotFoundError as error:
            raise EncodingError(f"The encoder could not be loaded. {error}") from error
        try:
            layout = read_layout(folder.path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EncodingError(f"The model folder {str(folder.path)!r} is damaged: {error}.") from error
        query, passage = self._prompts
        return _Opened(
            folder=folder,
            layout=layout,
            max_tokens=min(self._max_tokens or layout.max_tokens, layout.max_tokens),
            query_prompt=layout.query_prompt if query is None else query,
            passage_prompt=layout.passage_prompt if passage is None else passage,
        )

    def _load_spans(self) -> Tokenizer:
        opened = self._opened.get()
        try:
            return load_tokenizer(opened.folder.path)
        except Exception as error:  # tokenizers raises bare Exception for a definition it cannot parse
            raise EncodingError(
                f"The tokenizer of {opened.folder.name!r} in {str(opened.folder.path)!r} cannot be loaded: {error}."
            ) from error

    def _load_engine(self) -> SentenceEngine:
        opened = self._opened.get()
        return load_engine(
            opened.folder,
            opened.layout,
            max_tokens=opened.max_tokens,
            device=self._device,
            engine=self._engine_name,
            threads=self._threads,
        )
