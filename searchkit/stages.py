"""The contracts between the stages: what an encoder, a retriever and a reranker must offer.

Stages know these protocols and never each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Before Python 3.12 the isinstance of ``typing`` reads every property of the object, which here may load a model.
from typing_extensions import Protocol, runtime_checkable

from searchkit.config import RerankerProfile
from searchkit.deadline import Deadline
from searchkit.types import Frozen, PassageId, RetrievalEvidence, SearchMode

Vectors = NDArray[np.float32]
"""Dense vectors, shape ``(n, dimension)``, float32, rows of unit length."""

Span = tuple[int, int]
"""Character offsets ``(start, end)`` of one token in its text."""


class EncoderFingerprint(Frozen):
    """Everything that decides which vector a text gets; stored in the manifest and compared at every open.

    Attributes:
        kind: Family of the encoder ("sentence-transformers", "fastembed", "bm25", a class name for others).
        model: Name or folder name of the model.
        weight_hash: SHA-256 (hex) over the weights, or over the settings where there are no weights.
        tokenizer_hash: SHA-256 (hex) over the tokenizer's definition; empty if there is none.
        dimension: Length of a vector; 0 for sparse encoders.
        max_tokens: Longest text in tokens, special tokens included.
        query_prompt: Text put before every query.
        passage_prompt: Text put before every passage.
    """

    kind: str
    model: str
    weight_hash: str
    tokenizer_hash: str = ""
    dimension: int = 0
    max_tokens: int = 0
    query_prompt: str = ""
    passage_prompt: str = ""


@runtime_checkable
class Encoder(Protocol):
    """A bi-encoder. Implementations are safe to call from several threads."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    @property
    def max_tokens(self) -> int:
        """Longest text in tokens, special tokens included; what lies beyond is not seen."""

    def fingerprint(self) -> EncoderFingerprint:
        """Return what identifies this encoder's vectors. May load the model."""

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a query, in order."""

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text, in order. Texts beyond ``max_tokens`` are cut: window them first."""

    def token_spans(self, text: str) -> list[Span]:
        """Return the character offsets of the text's tokens, without special tokens and without truncation."""


@dataclass(frozen=True, slots=True)
class SparseVector:
    """A sparse vector: parallel ``indices`` (unique, uint32) and ``values`` (float32)."""

    indices: list[int]
    values: list[float]


@runtime_checkable
class SparseEncoder(Protocol):
    """A lexical encoder such as BM25. Inverse document frequency is the index's business (Qdrant's IDF modifier)."""

    def fingerprint(self) -> EncoderFingerprint:
        """Return what identifies this encoder's vectors."""

    def encode_queries(self, texts: Sequence[str]) -> list[SparseVector]:
        """Return one sparse vector a query; an empty one for a query of stopwords."""

    def encode_passages(self, texts: Sequence[str]) -> list[SparseVector]:
        """Return one sparse vector a text."""


@dataclass(frozen=True, slots=True)
class RetrievalRequest:
    """One query as stage 1 sees it; which vector is set decides which legs run.

    Attributes:
        depth: How many passages to return at most, >= 1.
        dense: Unit vector, shape ``(dimension,)``.
        sparse: Sparse query vector.
        filter: The dict language of ``SearchKit.search`` or a backend's own filter object.
    """

    depth: int
    dense: NDArray[np.float32] | None = None
    sparse: SparseVector | None = None
    filter: Mapping[str, Any] | object | None = None

    @property
    def mode(self) -> SearchMode:
        """The legs this request runs."""
        if self.dense is None:
            return "sparse"
        return "dense" if self.sparse is None else "hybrid"


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a passage that was indexed as one point.

    Attributes:
        index: 0-based place among the passage's windows.
        count: How many windows the passage has.
        start: Character offset of the window in the passage.
        end: Character offset of its end.
    """

    index: int = 0
    count: int = 1
    start: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """One window as stage 1 returned it. Several candidates of one result may belong to one passage.

    Attributes:
        id: The caller's passage id.
        text: Text of the window (of the whole passage where it has only one).
        metadata: The caller's metadata.
        window: Where the window lies in its passage.
        evidence: Ranks and scores of stage 1; ``evidence.rank`` counts passages, so windows of one passage share it.
        token_ids: What a `TokenWriter` made of ``text`` when it was stored; ``None`` where there is nothing. It may
            be of another tokenizer or damaged: only a `TokenReader` can tell.
        key: What tells passages apart where ids repeat, as those of several tenants may; ``None`` means the id.
    """

    id: PassageId
    text: str
    metadata: dict[str, Any] = field(default_factory=dict)
    window: Window = field(default_factory=Window)
    evidence: RetrievalEvidence = field(default_factory=RetrievalEvidence)
    token_ids: str | None = None
    key: int | None = None

    @property
    def passage(self) -> PassageId:
        """What the windows of one passage share, and no other passage of the result has."""
        return self.id if self.key is None else self.key


@dataclass(frozen=True, slots=True)
class PairScores:
    """Stage 2's verdict on a list of (query, text) pairs, in the order given.

    Attributes:
        logits: Raw model outputs, shape ``(n,)``, float32; NaN marks a pair that the deadline left unscored.
        truncated_tokens: Tokens of each text that the model could not see, shape ``(n,)``, int64.
        engine: What scored them ("torch fp32 cpu").
        cached: Which scores were known before, shape ``(n,)``, bool; ``None`` if the reranker remembers none.
        token_use: What became of the stored token ids of each text, shape ``(n,)``, int8, values of `TokenUse`;
            ``None`` if the reranker reads none.
        queue_s: Seconds until the model began with these pairs; ``None`` if it was not asked, or is not shared.
        query_truncated_tokens: Tokens of each query, its criteria included, that the model could not see beside the
            text, shape ``(n,)``, int64; ``None`` if the reranker does not say.
    """

    logits: NDArray[np.float32]
    truncated_tokens: NDArray[np.int64]
    engine: str
    cached: NDArray[np.bool_] | None = None
    token_use: NDArray[np.int8] | None = None
    queue_s: float | None = None
    query_truncated_tokens: NDArray[np.int64] | None = None


class TokenUse(IntEnum):
    """What became of the stored token ids of one text."""

    NONE = 0
    """None were given, or the text did not have to be read."""
    USED = 1
    """They took the place of tokenizing."""
    REFUSED = 2
    """They were of another tokenizer or another text, or damaged; the text was tokenized."""


@runtime_checkable
class Reranker(Protocol):
    """A cross-encoder. Implementations are safe to call from several threads."""

    @property
    def name(self) -> str:
        """Name of the model, as shown in results."""

    @property
    def profile(self) -> RerankerProfile:
        """Calibration, blend and criteria template that belong to the model."""

    def score_pairs(self, pairs: Sequence[tuple[str, str]], *, deadline: Deadline | None = None) -> PairScores:
        """Score (query, text) pairs, most promising first if a deadline may cut the work short.

        Raises:
            RerankError: The model could not be loaded or run, or returned NaN.
        """


class TokenWriter(Protocol):
    """Turns texts into token ids that are stored with them. Safe to call from several threads."""

    def encode(self, texts: Sequence[str]) -> list[str]:
        """Return one string a text, in order, which a `TokenReader` of the same tokenizer reads back."""

    def is_current(self, stored: object) -> bool:
        """Whether a stored string is of this tokenizer."""


@runtime_checkable
class TokenReader(Protocol):
    """A reranker that need not tokenize texts whose token ids were stored with them."""

    def token_writer(self) -> TokenWriter | None:
        """Return what makes such ids; ``None`` where it cannot be had now. Loads no weights, downloads nothing."""

    def token_count(self, text: str, stored: str) -> int | None:
        """Return how many tokens ``text`` has if ``stored`` is right for it, else ``None``. May load the model."""

    def score_pairs(
        self,
        pairs: Sequence[tuple[str, str]],
        *,
        deadline: Deadline | None = None,
        tokens: Sequence[str | None] | None = None,
    ) -> PairScores:
        """Score pairs as `Reranker.score_pairs` does, to the same bits.

        Args:
            pairs: (query, text) pairs.
            deadline: When to stop.
            tokens: What is stored with each text, or ``None``. What is not right for its text is not used.
        """


@runtime_checkable
class Retriever(Protocol):
    """Stage 1."""

    def retrieve(self, requests: Sequence[RetrievalRequest]) -> list[list[Candidate]]:
        """Return each request's candidates, best first: at most ``depth`` passages, each with its best windows."""
