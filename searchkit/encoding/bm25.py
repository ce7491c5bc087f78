"""BM25 as sparse vectors, without any download."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from searchkit.encoding.vectors import check_texts
from searchkit.errors import ConfigError
from searchkit.stages import EncoderFingerprint, SparseVector

if TYPE_CHECKING:
    import qdrant_edge

_ALGORITHM = "qdrant-bm25-1"


class Bm25Encoder:
    """Term weights of BM25 over hashed, stemmed words; the index applies inverse document frequency.

    Safe to use from several threads.

    Args:
        language: Language of the stopwords and the stemmer ("english", "german", ...).
        stopwords: Words to ignore instead of the language's own list.
        k: Saturation of the term frequency; larger counts repetition more.
        b: Normalisation by length, 0 (none) to 1 (full).
        average_length: Typical length of a passage in words, to which lengths are compared.

    Raises:
        ConfigError: The language is unknown or a constant is out of range.
    """

    def __init__(
        self,
        language: str = "english",
        *,
        stopwords: Sequence[str] | None = None,
        k: float = 1.2,
        b: float = 0.75,
        average_length: float = 256.0,
    ) -> None:
        if isinstance(stopwords, str):
            raise ConfigError("stopwords is a sequence of words, not one string.")
        self._language = language
        self._stopwords = None if stopwords is None else tuple(sorted(set(stopwords)))
        self._k, self._b, self._average_length = float(k), float(b), float(average_length)
        self._model = self._build()  # loads no files, and so fails here rather than at the first text

    def _build(self) -> qdrant_edge.Bm25:
        import qdrant_edge

        chosen = None if self._stopwords is None else qdrant_edge.StopwordsSet(custom=set(self._stopwords))
        try:
            return qdrant_edge.Bm25(
                qdrant_edge.Bm25Config(
                    k=self._k, b=self._b, avg_len=self._average_length, language=self._language, stopwords=chosen
                )
            )
        except ValueError as error:
            raise ConfigError(f"These BM25 settings cannot work: {error}.") from error

    def fingerprint(self) -> EncoderFingerprint:
        """Return a fingerprint over all settings; equal settings give equal vectors."""
        settings = {
            "algorithm": _ALGORITHM,
            "language": self._language,
            "stopwords": self._stopwords,
            "k": self._k,
            "b": self._b,
            "average_length": self._average_length,
        }
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        return EncoderFingerprint(kind="bm25", model=f"bm25-{self._language}", weight_hash=digest)

    def encode_queries(self, texts: Sequence[str]) -> list[SparseVector]:
        """Return one vector a query, each of its words with weight 1; empty for a query of stopwords."""
        check_texts(texts)
        return [_sparse(self._model.embed_query(text)) for text in texts]

    def encode_passages(self, texts: Sequence[str]) -> list[SparseVector]:
        """Return one vector a text, its words weighted by frequency and length; empty for a text of stopwords."""
        check_texts(texts)
        return [_sparse(self._model.embed_document(text)) for text in texts]


def _sparse(vector: qdrant_edge.SparseVector) -> SparseVector:
    return SparseVector(vector.indices, vector.values)  # each read makes a list of its own
