"""What encoders return, checked before it is stored or searched with: an engine takes NaN in silence."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from searchkit.errors import EncodingError, SearchkitError
from searchkit.stages import Encoder, EncoderFingerprint, SparseEncoder, SparseVector, Vectors

T = TypeVar("T")

_SMALLEST_NORM = 1e-6


def checked_vectors(vectors: object, count: int, encoder: EncoderFingerprint) -> Vectors:
    """Return dense vectors of shape ``(count, dimension)`` as they came from an encoder.

    Raises:
        EncodingError: They have another shape, are not finite, or have no direction.
    """
    name, dimension = encoder.model, encoder.dimension
    array = np.asarray(vectors, dtype=np.float32)
    if array.shape != (count, dimension):
        raise EncodingError(
            f"the encoder {name!r} returned an array of shape {array.shape} where {(count, dimension)} was expected; "
            "its encode methods must return one vector a text, of length `dimension`"
        )
    norms = np.einsum("ij,ij->i", array, array)
    if not np.isfinite(norms).all():
        row = int(np.flatnonzero(~np.isfinite(norms))[0])
        raise EncodingError(
            f"the encoder {name!r} returned NaN or infinite values (first in row {row} of {count}); the model or its "
            "precision is at fault, try it in float32"
        )
    if count and float(norms.min()) < _SMALLEST_NORM**2:
        row = int(norms.argmin())
        raise EncodingError(
            f"the encoder {name!r} returned a zero vector (row {row} of {count}), which has no direction"
        )
    return array


def checked_sparse(vectors: Sequence[SparseVector], count: int) -> list[SparseVector]:
    """Return sparse vectors as they came from an encoder.

    Raises:
        EncodingError: Their number is wrong, or one is malformed or not finite.
    """
    if len(vectors) != count:
        raise EncodingError(f"the sparse encoder returned {len(vectors)} vectors for {count} texts")
    for row, vector in enumerate(vectors):
        if len(vector.indices) != len(vector.values) or not math.isfinite(sum(vector.values)):
            raise EncodingError(f"the sparse encoder returned an unusable vector (row {row} of {count})")
    return list(vectors)


def query_vectors(encoder: Encoder, queries: Sequence[str], made_by: EncoderFingerprint) -> Vectors:
    """Return the dense vectors of queries, shape ``(n, dimension)``.

    Args:
        encoder: What makes them.
        queries: The texts.
        made_by: Its fingerprint.

    Raises:
        EncodingError: The encoder failed or returned something else.
    """
    return _encoded(lambda: checked_vectors(encoder.encode_queries(queries), len(queries), made_by))


def passage_vectors(encoder: Encoder, texts: Sequence[str], made_by: EncoderFingerprint) -> Vectors:
    """Return the dense vectors of passages, shape ``(n, dimension)``; see `query_vectors`."""
    return _encoded(lambda: checked_vectors(encoder.encode_passages(texts), len(texts), made_by))


def query_words(encoder: SparseEncoder, queries: Sequence[str]) -> list[SparseVector]:
    """Return the sparse vectors of queries; see `query_vectors`."""
    return _encoded(lambda: checked_sparse(encoder.encode_queries(queries), len(queries)))


def passage_words(encoder: SparseEncoder, texts: Sequence[str]) -> list[SparseVector]:
    """Return the sparse vectors of passages; see `query_vectors`."""
    return _encoded(lambda: checked_sparse(encoder.encode_passages(texts), len(texts)))


def _encoded(encode: Callable[[], T]) -> T:
    try:
        return encode()
    except SearchkitError:
        raise
    except Exception as error:  # whatever an encoder raises
        raise EncodingError(f"the encoder raised {type(error).__name__}: {error}") from error
