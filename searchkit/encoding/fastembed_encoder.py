"""`FastEmbedEncoder`: fastembed's ONNX bi-encoders, its own list or a local folder."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from searchkit.encoding.vectors import check_texts, unit_rows
from searchkit.errors import ConfigError, EncodingError
from searchkit.models.hashing import file_hash, tokenizer_hash
from searchkit.models.once import Once
from searchkit.models.tokenizer import max_length, read_json, unbounded
from searchkit.stages import EncoderFingerprint, Span, Vectors

Pooling = Literal["mean", "cls"]

_registering = threading.Lock()


@dataclass(frozen=True, slots=True)
class _Loaded:
    model: Any
    folder: Path
    weights: Path
    max_tokens: int
    dimension: int


class FastEmbedEncoder:
    """Unit vectors from a fastembed model. Nothing is loaded before it is needed; safe to use from several threads.

    Args:
        model: Name of a model in ``fastembed.TextEmbedding.list_supported_models()``, or a local folder with an ONNX
            model, ``config.json`` and ``tokenizer.json``.
        model_file: The ONNX file inside a local folder; ``None`` takes ``model.onnx`` or ``onnx/model.onnx``.
        pooling: How a local folder's token vectors become one vector.
        query_prompt: Text put before every query ("query: " for e5).
        passage_prompt: Text put before every passage.
        max_tokens: Longest text in tokens, special tokens included; ``None`` takes what the model's files state.
        batch_size: Texts in one batch.
        threads: Threads of one ONNX session; ``None`` leaves it to the runtime.
        offline: Never download.

    Raises:
        ConfigError: An argument cannot work.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "BAAI/bge-small-en-v1.5",
        *,
        model_file: str | None = None,
        pooling: Pooling = "mean",
        query_prompt: str = "",
        passage_prompt: str = "",
        max_tokens: int | None = None,
        batch_size: int = 32,
        threads: int | None = None,
        offline: bool = False,
    ) -> None:
        if pooling not in get_args(Pooling):
            raise ConfigError(f"pooling must be one of {', '.join(get_args(Pooling))}, not {pooling!r}.")
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, not {batch_size!r}.")
        if max_tokens is not None and max_tokens < 8:
            raise ConfigError(f"max_tokens must be at least 8, not {max_tokens!r}.")
        if model_file is not None and (Path(model_file).is_absolute() or ".." in Path(model_file).parts):
            raise ConfigError(f"model_file={model_file!r} must lie inside the model's folder.")
        self._name = os.fspath(model)
        self._model_file = model_file
        self._pooling = pooling
        self._prompts = (query_prompt, passage_prompt)
        self._max_tokens = max_tokens
        self._batch_size = batch_size
        self._threads = threads
        self._offline = offline
        self._loaded: Once[_Loaded] = Once(self._load)
        self._spans: Once[Any] = Once(self._load_span_tokenizer)

    def __repr__(self) -> str:
        return f"FastEmbedEncoder({self._name!r})"

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._loaded.get().dimension

    @property
    def max_tokens(self) -> int:
        """Longest text in tokens, special tokens included; what lies beyond is not seen."""
        return self._loaded.get().max_tokens

    def fingerprint(self) -> EncoderFingerprint:
        """Return what identifies this encoder's vectors. Loads the model."""
        loaded = self._loaded.get()
        weights = file_hash(loaded.weights)
        if self._is_local and self._pooling != "mean":
            weights = hashlib.sha256(f"{weights} {self._pooling}".encode()).hexdigest()
        return EncoderFingerprint(
            kind="fastembed",
            model=Path(self._name).name if self._is_local else self._name,
            weight_hash=weights,
            tokenizer_hash=tokenizer_hash(loaded.folder),
            dimension=loaded.dimension,
            max_tokens=loaded.max_tokens,
            query_prompt=self._prompts[0],
            passage_prompt=self._prompts[1],
        )

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a query, in order, shape ``(n, dimension)``.

        Raises:
            EncodingError: The model cannot be loaded, a text cannot be read, or a vector is unusable.
        """
        return self._encode(texts, self._prompts[0])

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text, in order, shape ``(n, dimension)``. Texts beyond ``max_tokens`` are cut.

        Raises:
            EncodingError: The model cannot be loaded, a text cannot be read, or a vector is unusable.
        """
        return self._encode(texts, self._prompts[1])

    def token_spans(self, text: str) -> list[Span]:
        """Return the character offsets of the text's tokens, without special tokens and without truncation."""
        check_texts([text])
        encoding = self._spans.get().encode(text, add_special_tokens=False)
        return [(start, end) for start, end in encoding.offsets if end > start]

    def _encode(self, texts: Sequence[str], prompt: str) -> Vectors:
        check_texts(texts)
        loaded = self._loaded.get()
        vectors: NDArray[np.float32] = np.empty((len(texts), loaded.dimension), dtype=np.float32)
        # By length in characters, the cheap proxy: fastembed pads each batch to its longest text.
        order = sorted(range(len(texts)), key=lambda index: -len(texts[index]))
        for start in range(0, len(order), self._batch_size):
            rows = order[start : start + self._batch_size]
            batch = [prompt + texts[row] for row in rows]
            found = np.stack(list(loaded.model.embed(batch, batch_size=len(batch))))
            vectors[rows] = unit_rows(found, loaded.dimension, self._name)
        return vectors

    @property
    def _is_local(self) -> bool:
        return Path(self._name).expanduser().is_dir()

    def _load(self) -> _Loaded:
        from fastembed import TextEmbedding

        try:
            if self._is_local:
                folder = Path(self._name).expanduser().resolve()
                weights = self._find_weights(folder)
                name = self._register(folder, weights)
                model: Any = TextEmbedding(name, specific_model_path=str(folder), threads=self._threads)
            else:
                model = TextEmbedding(self._name, threads=self._threads, local_files_only=self._offline)
                folder = Path(model.model._model_dir)  # fastembed has no public name for it
                weights = folder / model.model.model_description.model_file
            limit = min(self._max_tokens or max_length(folder), max_length(folder))
            tokenizer = model.model.tokenizer
            tokenizer.enable_truncation(limit)  # all-MiniLM's files say 128, bge's 512: state it ourselves
            dimension = int(model.embedding_size)
        except (OSError, ValueError, RuntimeError, AttributeError) as error:
            raise EncodingError(
                f"The fastembed model {self._name!r} could not be loaded: {error}. Give a name from "
                "fastembed.TextEmbedding.list_supported_models() or a folder with an ONNX model."
            ) from error
        return _Loaded(model, folder, weights, limit, dimension)

    def _load_span_tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        return unbounded(Tokenizer.from_str(self._loaded.get().model.model.tokenizer.to_str()))

    def _find_weights(self, folder: Path) -> Path:
        names = (self._model_file,) if self._model_file else ("model.onnx", "onnx/model.onnx")
        for name in names:
            if (folder / name).is_file():
                return folder / name
        raise EncodingError(f"The folder {str(folder)!r} has no {' or '.join(names)}; name the file with model_file=.")

    def _register(self, folder: Path, weights: Path) -> str:
        """Make the folder known to fastembed under a name that holds its settings, once a process."""
        from fastembed import TextEmbedding
        from fastembed.common.model_description import ModelSource, PoolingType

        dimension = int(read_json(folder / "config.json").get("hidden_size", 0))
        if not dimension:
            raise EncodingError(f"{str(folder / 'config.json')!r} states no hidden_size.")
        file = weights.relative_to(folder).as_posix()
        digest = hashlib.sha256(f"{folder}|{file}|{self._pooling}|{dimension}".encode()).hexdigest()[:16]
        name = f"searchkit/{folder.name}-{digest}"
        with _registering:
            known = {entry["model"].lower() for entry in TextEmbedding.list_supported_models()}
            if name.lower() not in known:
                TextEmbedding.add_custom_model(
                    model=name,
                    pooling=PoolingType.MEAN if self._pooling == "mean" else PoolingType.CLS,
                    normalization=True,
                    sources=ModelSource(hf=name),
                    dim=dimension,
                    model_file=file,
                )
        return name
