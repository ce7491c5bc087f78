"""Small, deterministic stand-ins for the models, for your tests and ours: no weights, no downloads, no torch.

They satisfy the same contracts as the real ones (`searchkit.stages`), so a `SearchKit` built with them behaves like
any other; only the quality of the answers is that of word overlap.
"""

from __future__ import annotations

import hashlib
import math
import re
import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from searchkit.config import RerankerProfile
from searchkit.deadline import Deadline
from searchkit.stages import EncoderFingerprint, PairScores, Span, SparseVector, Vectors

_WORD = re.compile(r"\w+")


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


class FakeEncoder:
    """A bag of hashed words as a unit vector: texts that share words are near each other.

    Args:
        dimension: Length of a vector.
        max_tokens: Longest text in words.
        name: Part of the fingerprint; encoders of different names count as different models.
    """

    def __init__(self, dimension: int = 64, *, max_tokens: int = 256, name: str = "fake") -> None:
        self._dimension = dimension
        self._max_tokens = max_tokens
        self._name = name
        self.encoded_count = 0

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._dimension

    @property
    def max_tokens(self) -> int:
        """Longest text in words."""
        return self._max_tokens

    def fingerprint(self) -> EncoderFingerprint:
        """Return a fingerprint made of the constructor's arguments."""
        digest = hashlib.sha256(f"{self._name}:{self._dimension}".encode()).hexdigest()
        return EncoderFingerprint(
            kind="fake",
            model=self._name,
            weight_hash=digest,
            dimension=self._dimension,
            max_tokens=self._max_tokens,
        )

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a query."""
        return self._encode(texts)

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text; ``encoded_count`` counts them."""
        self.encoded_count += len(texts)
        return self._encode(texts)

    def token_spans(self, text: str) -> list[Span]:
        """Return the offsets of the words."""
        return [match.span() for match in _WORD.finditer(text)]

    def _encode(self, texts: Sequence[str]) -> Vectors:
        vectors = np.zeros((len(texts), self._dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in _words(text)[: self._max_tokens]:
                vectors[row, zlib.crc32(word.encode()) % self._dimension] += 1.0
            vectors[row, 0] += 1e-3  # a text without words still has a direction
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


class FakeSparseEncoder:
    """Hashed words with their saturated frequency: BM25 without stemming, stopwords and length normalisation."""

    def fingerprint(self) -> EncoderFingerprint:
        """Return a constant fingerprint."""
        return EncoderFingerprint(kind="fake-sparse", model="words", weight_hash=hashlib.sha256(b"words").hexdigest())

    def encode_queries(self, texts: Sequence[str]) -> list[SparseVector]:
        """Return the words of each query, each with weight 1."""
        return [self._vector(dict.fromkeys(_words(text), 1.0)) for text in texts]

    def encode_passages(self, texts: Sequence[str]) -> list[SparseVector]:
        """Return the words of each text with weight ``f / (f + 1)``."""
        counts = [Counter(_words(text)) for text in texts]
        return [self._vector({word: f / (f + 1.0) for word, f in count.items()}) for count in counts]

    @staticmethod
    def _vector(weights: dict[str, float]) -> SparseVector:
        by_index = {zlib.crc32(word.encode()): weight for word, weight in weights.items()}
        indices = sorted(by_index)
        return SparseVector(indices, [by_index[index] for index in indices])


class FakeReranker:
    """Scores a pair by the share of the query's words that the text holds, as a logit in -4..4.

    Args:
        profile: What a real model carries beside its weights.
        max_words: Words of a text that are read; the rest counts as truncated.
    """

    def __init__(self, *, profile: RerankerProfile | None = None, max_words: int = 10_000) -> None:
        self._profile = profile or RerankerProfile()
        self._max_words = max_words
        self.scored_count = 0

    @property
    def name(self) -> str:
        """Name as shown in results."""
        return "fake-reranker"

    @property
    def profile(self) -> RerankerProfile:
        """The profile given at construction."""
        return self._profile

    def score_pairs(self, pairs: Sequence[tuple[str, str]], *, deadline: Deadline | None = None) -> PairScores:
        """Score pairs in order; those after a passed ``deadline`` are NaN."""
        logits = np.full(len(pairs), math.nan, dtype=np.float32)
        truncated = np.zeros(len(pairs), dtype=np.int64)
        for row, (query, text) in enumerate(pairs):
            if deadline is not None and deadline.is_over:
                break
            wanted, words = set(_words(query)), _words(text)
            truncated[row] = max(0, len(words) - self._max_words)
            share = len(wanted.intersection(words[: self._max_words])) / max(1, len(wanted))
            logits[row] = 8.0 * share - 4.0
            self.scored_count += 1
        return PairScores(logits=logits, truncated_tokens=truncated, engine="words")
