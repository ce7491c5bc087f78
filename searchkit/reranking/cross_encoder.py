"""`CrossEncoderReranker`: any Hugging Face cross-encoder with one label."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, cast, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import NotRequired

from searchkit.config import RerankerProfile
from searchkit.deadline import Deadline
from searchkit.errors import ModelLoadError, RerankError, SearchkitError
from searchkit.models.lookup import DEFAULT_RERANKER, ModelFolder, ModelNotFoundError, find_model
from searchkit.models.once import Once
from searchkit.reranking.arguments import check_pairs, check_ranking, check_settings, listed_pairs
from searchkit.reranking.engines.base import EngineName, Precision
from searchkit.reranking.loading import LoadedModel, load_model
from searchkit.reranking.model_files import CrossEncoderFiles, read_files, read_profile
from searchkit.reranking.scoring import Pace, score
from searchkit.reranking.token_writer import read_writer, token_use, writer_of
from searchkit.stages import PairScores, Span, TokenWriter

logger = logging.getLogger(__name__)

Pair = tuple[str, str]


class RankedDocument(TypedDict):
    """One entry of `CrossEncoderReranker.rank`, as sentence-transformers returns it."""

    corpus_id: int
    score: float
    text: NotRequired[str]


@dataclass(frozen=True, slots=True)
class _Opened:
    """What is known of the model from its files; nothing here needs torch."""

    folder: ModelFolder
    files: CrossEncoderFiles
    profile: RerankerProfile


class CrossEncoderReranker:
    """Scores (query, text) pairs; the same scores as ``sentence_transformers.CrossEncoder`` on the same weights.

    Nothing is looked up or loaded before it is needed. Safe to use from several threads.

    Args:
        model: A folder or a model name, see `searchkit.models.find_model`; default is the one that searchkit ships.
        device: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:N" or "mps".
        max_length: Longest pair in tokens, special tokens included; ``None`` takes what the model can read.
        token_budget: Padded tokens in one batch; ``None`` takes what suits the device.
        precision: "auto" (fp32 on a CPU, fp16 on an accelerator), "fp32", "fp16" or "bf16".
        engine: "auto" (on a CPU the exact model in ONNX Runtime, exported once into the user's cache folder; torch
            elsewhere, and where a model cannot be exported), "torch", "onnx", or "openvino" (on a CPU, in static int8:
            faster, near the exact scores; needs the extra of that name and is quantized once; see docs/engines.md).
        threads: Cores that the engines "onnx" and "openvino" use; ``None`` for all that the process may use.
        batch_invariant: Whether a pair must get the same score, to the last bit, whatever it is scored with: every
            batch is then brought to a fixed shape, which costs speed. The result's ``engine`` says so.
        profile: Calibration, blend and criteria template; ``None`` takes ``searchkit.json`` from the model's folder.
        offline: Never ask the hub.

    Raises:
        ConfigError: An argument cannot work.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_RERANKER,
        *,
        device: str = "auto",
        max_length: int | None = None,
        token_budget: int | None = None,
        precision: Precision = "auto",
        engine: EngineName = "auto",
        threads: int | None = None,
        batch_invariant: bool = False,
        profile: RerankerProfile | None = None,
        offline: bool = False,
    ) -> None:
        check_settings(
            model=model,
            max_length=max_length,
            token_budget=token_budget,
            precision=precision,
            engine=engine,
            threads=threads,
            profile=profile,
        )
        self._requested = model
        self._device = device
        self._max_length = max_length
        self._token_budget = token_budget
        self._precision = precision
        self._engine_name = engine
        self._threads = threads
        self._batch_invariant = batch_invariant
        self._profile = profile
        self._offline = offline
        self._pace = Pace()
        self._opened: Once[_Opened] = Once(self._open)
        self._loaded: Once[LoadedModel] = Once(self._load)
        self._writer: Once[TokenWriter | None] = Once(self._read_writer)

    def __repr__(self) -> str:
        return f"CrossEncoderReranker({os.fspath(self._requested)!r}, device={self._device!r})"

    @property
    def name(self) -> str:
        """Name of the model, as shown in results."""
        requested = os.fspath(self._requested)
        return self._opened.get().folder.name if self._opened.is_made else Path(requested).name or requested

    @property
    def profile(self) -> RerankerProfile:
        """Calibration, blend and criteria template that belong to the model."""
        return self._profile or self._opened.get().profile

    @property
    def model_path(self) -> Path:
        """The folder that the weights came from, loadable by transformers."""
        return self._opened.get().folder.path

    @property
    def max_length(self) -> int:
        """Longest pair in tokens, special tokens included; what lies beyond is not seen."""
        longest = self._opened.get().files.max_length
        return min(self._max_length or longest, longest)

    def compose(self, query: str, criteria: str | None = None) -> str:
        """Return what the model reads as the query: the query and, in its template, the criteria."""
        return self.profile.compose(query, criteria)

    def token_spans(self, text: str) -> list[Span]:
        """Return the character offsets of the text's tokens, without special tokens and without truncation."""
        return self._loaded.get().pairing.token_spans(text)

    def load(self) -> None:
        """Load the model now rather than at the first pair.

        Raises:
            ModelLoadError: It cannot be found or loaded.
        """
        self._loaded.get()

    def token_writer(self) -> TokenWriter | None:
        """Return what makes token ids to be stored with texts, from the model's tokenizer file alone.

        ``None`` where the model is not on this machine (nothing is downloaded for this), has no readable tokenizer, or
        one whose pairs cannot be composed of the ids of single texts.
        """
        if self._loaded.is_made:
            return writer_of(self._loaded.get().pairing)
        try:
            return self._writer.get()
        except SearchkitError as error:
            logger.info("No token ids are stored: %s", error)
            return None

    def token_count(self, text: str, stored: str) -> int | None:
        """Return how many tokens ``text`` has if ``stored`` was made of it by this tokenizer, else ``None``."""
        ids = self._loaded.get().pairing.stored_ids([text], [stored]).get(text)
        return None if ids is None else len(ids)

    def score_pairs(
        self,
        pairs: Sequence[Pair],
        *,
        deadline: Deadline | None = None,
        tokens: Sequence[str | None] | None = None,
    ) -> PairScores:
        """Score (query, text) pairs.

        Args:
            pairs: In order of promise if there is a deadline: what it leaves unscored is the tail of this order.
            deadline: When to stop; checked between batches, which are kept short enough to end in time.
            tokens: What `token_writer` made of each text, or ``None``; the text is tokenized where that is not right.

        Raises:
            RerankError: The model could not be loaded or run, or returned NaN; the message names the pair.
        """
        check_pairs(pairs)
        loaded = self._loaded.get()
        engine = loaded.engine
        distinct = list(dict.fromkeys((query, text) for query, text in pairs))
        known = {} if tokens is None else loaded.pairing.stored_ids([text for _, text in pairs], tokens)
        encoded = loaded.pairing.encode(distinct, known)
        budget = self._token_budget or engine.token_budget
        try:
            logits = score(engine, encoded, token_budget=budget, deadline=deadline or Deadline(), pace=self._pace)
        except SearchkitError:
            raise
        except Exception as error:
            raise RerankError(f"{engine.name} failed with {type(error).__name__}: {error}") from error
        truncated = np.array([pair.truncated_tokens for pair in encoded], dtype=np.int64)
        unread = np.array([pair.query_truncated_tokens for pair in encoded], dtype=np.int64)
        # Equal pairs are scored once: two rows of one matrix product may differ in the last bit.
        place = {pair: row for row, pair in enumerate(distinct)}
        rows = np.array([place[query, text] for query, text in pairs], dtype=np.int64)
        use = None if tokens is None or loaded.pairing.codec is None else token_use(pairs, tokens, known)
        return PairScores(
            logits[rows], truncated[rows], engine.name, token_use=use, query_truncated_tokens=unread[rows]
        )

    @overload
    def predict(self, pairs: Pair) -> np.float32: ...  # type: ignore[overload-overlap]  # a pair is one of str
    @overload
    def predict(self, pairs: Sequence[Sequence[str]] | NDArray[np.str_]) -> NDArray[np.float32]: ...
    def predict(self, pairs: Pair | Sequence[Sequence[str]] | NDArray[np.str_]) -> NDArray[np.float32] | np.float32:
        """Return the score of each pair, with the activation that the model declares (logits for Identity).

        Args:
            pairs: (query, text) pairs, or one pair of strings.

        Returns:
            Shape ``(n,)``, float32, in order; for one pair of strings a float32 scalar.

        Raises:
            RerankError: The model could not be loaded or run, or returned NaN.
        """
        rows = listed_pairs(pairs)
        is_single = len(rows) > 0 and isinstance(rows[0], str)
        scores = self._activated(self._logits([rows] if is_single else rows))
        return cast("np.float32", scores[0]) if is_single else scores

    def rank(
        self,
        query: str,
        documents: Sequence[str],
        top_k: int | None = None,
        return_documents: bool = False,  # the signature of the class it stands in for
        criteria: str | None = None,
    ) -> list[RankedDocument]:
        """Return the documents best first, equal logits in the order given.

        Args:
            query: The query.
            documents: Texts to order.
            top_k: Return so many at most; ``None`` returns all.
            return_documents: Put each text into its entry.
            criteria: What makes a document relevant, in words.

        Raises:
            ConfigError: ``top_k`` is below 1, or an argument is of the wrong kind.
            RerankError: The model could not be loaded or run, or returned NaN.
        """
        check_ranking(query, documents, top_k, criteria)
        composed = self.compose(query, criteria)
        logits = self._logits([(composed, document) for document in documents])
        scores = self._activated(logits)
        order = np.argsort(-logits, kind="stable")[:top_k]
        entries: list[RankedDocument] = [{"corpus_id": int(row), "score": float(scores[row])} for row in order]
        if return_documents:
            for entry in entries:
                entry["text"] = documents[entry["corpus_id"]]
        return entries

    def _logits(self, pairs: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        return self.score_pairs(cast("Sequence[Pair]", pairs)).logits

    def _activated(self, logits: ArrayLike) -> NDArray[np.float32]:
        return self._opened.get().files.activation(np.asarray(logits, dtype=np.float32))

    def _open(self) -> _Opened:
        try:
            folder = find_model(self._requested, offline=self._offline)
        except ModelNotFoundError as error:
            raise ModelLoadError(f"The reranker could not be loaded. {error}") from error
        return _Opened(folder, read_files(folder.path), read_profile(folder.path))

    def _read_writer(self) -> TokenWriter | None:
        opened = self._opened.get().folder if self._opened.is_made else find_model(self._requested, offline=True)
        return read_writer(opened.path)

    def _load(self) -> LoadedModel:
        return load_model(
            self.model_path,
            device=self._device,
            precision=self._precision,
            engine=self._engine_name,
            threads=self._threads,
            max_length=self.max_length,
            batch_invariant=self._batch_invariant,
        )
