"""Our engine with less and less of the work before it: passages tokenized beforehand, whole batches ready beforehand.

What is prepared is prepared before the clock starts; `score` does the rest. Rows of these are never mixed with rows of
contestants that get texts.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from searchkit.benchmarking.contestants import Circumstances, NotRunError, Pair
from searchkit.deadline import Deadline
from searchkit.models.batching import token_budget_batches
from searchkit.models.tokenizer import read_json
from searchkit.reranking.engines.base import EngineName
from searchkit.reranking.loading import LoadedModel, load_model
from searchkit.reranking.packing import Ids, TokenBatch, TokenPair, compose_all, pack
from searchkit.reranking.scoring import Pace, score


@runtime_checkable
class Prepared(Protocol):
    """A contestant that is given the pairs of a workload before the clock starts."""

    def prepare(self, pairs: Sequence[Pair]) -> None:
        """Do what is not to be timed for pairs that will be scored."""


class TokensIn:
    """Our engine with the passages' token ids stored as a collection would store them; queries are tokenized in time.

    Args:
        circumstances: Model, device, threads and length.
        engine: Which engine.
    """

    name = "searchkit, tokens in"
    is_ours = True

    def __init__(self, circumstances: Circumstances, engine: EngineName = "auto") -> None:
        self._circumstances = circumstances
        self._engine: EngineName = engine
        self._model: LoadedModel | None = None
        self._stored: dict[str, str] = {}
        self._width: type[np.uint16] | type[np.uint32] = np.uint16
        self._pace = Pace()

    @property
    def setup(self) -> str:
        """Library, precision and device."""
        return f"{self.model.engine.name}; token ids of passages from base64" if self._model else ""

    @property
    def model(self) -> LoadedModel:
        """The loaded model."""
        if self._model is None:
            raise NotRunError(f"{self.name} is not loaded")
        return self._model

    def load(self) -> None:
        """Load the model.

        Raises:
            NotRunError: The ids of its pairs cannot be composed from those of its texts.
        """
        here = self._circumstances
        self._model = load_model(
            here.folder,
            device=here.device,
            precision="auto",
            engine=self._engine,
            threads=here.threads,
            max_length=here.max_length,
        )
        if self._model.pairing.template is None:
            raise NotRunError("this tokenizer's pairs cannot be composed from the ids of single texts")
        vocabulary = int(read_json(here.folder / "config.json").get("vocab_size", 2**16 + 1))
        self._width = np.uint16 if vocabulary <= 2**16 else np.uint32

    def prepare(self, pairs: Sequence[Pair]) -> None:
        """Store the token ids of the passages."""
        texts = list(dict.fromkeys(text for _, text in pairs if text not in self._stored))
        for text, ids in zip(texts, self.model.pairing.encode_texts(texts), strict=True):
            self._stored[text] = base64.b64encode(ids.astype(self._width).tobytes()).decode("ascii")

    def score(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        """Return the logits; passages that were not prepared are, now."""
        self.prepare(pairs)
        encoded = self.encoded(pairs)
        engine = self.model.engine
        return score(engine, encoded, token_budget=engine.token_budget, deadline=Deadline(), pace=self._pace)

    def encoded(self, pairs: Sequence[Pair]) -> list[TokenPair]:
        """Return pairs as the model reads them: queries tokenized now, passages from the store."""
        pairing = self.model.pairing
        template = pairing.template
        if template is None:
            raise NotRunError("this tokenizer's pairs cannot be composed from the ids of single texts")
        queries = list(dict.fromkeys(query for query, _ in pairs))
        ids = dict(zip(queries, pairing.encode_texts(queries), strict=True))
        return compose_all(template, [(ids[query], self._ids(text)) for query, text in pairs], pairing.max_length)

    def _ids(self, text: str) -> Ids:
        return np.frombuffer(base64.b64decode(self._stored[text]), dtype=self._width).astype(np.int32)


@dataclass(frozen=True, slots=True)
class _Batches:
    pairs: Sequence[Pair]  # held, so that no other object gets their id
    rows: list[NDArray[np.int64]]
    packed: list[TokenBatch]


class EngineAlone(TokensIn):
    """Our engine with its batches ready: what the device and the code around each launch can do."""

    name = "searchkit, engine alone"

    def __init__(self, circumstances: Circumstances, engine: EngineName = "auto") -> None:
        super().__init__(circumstances, engine)
        self._ready: dict[int, _Batches] = {}

    def prepare(self, pairs: Sequence[Pair]) -> None:
        """Make the batches of these pairs; `score` knows them by the object, so pass it the same.

        What was prepared stays prepared: a workload has many calls.
        """
        super().prepare(pairs)
        encoded = self.encoded(pairs)
        rows = token_budget_batches([len(pair.ids) for pair in encoded], self.model.engine.token_budget)
        packed = [pack([encoded[row] for row in batch]) for batch in rows]
        self._ready[id(pairs)] = _Batches(pairs, rows, packed)

    def score(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        """Return the logits of pairs that were prepared."""
        if id(pairs) not in self._ready:
            raise NotRunError(f"{self.name} scores only what it was prepared for")
        batches = self._ready[id(pairs)]
        logits = np.empty(len(pairs), dtype=np.float32)
        for rows, found in zip(batches.rows, self.model.engine.run(batches.packed), strict=True):
            logits[rows] = found
        return logits
