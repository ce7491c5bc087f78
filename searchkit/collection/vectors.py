"""What encoders return, checked before it is stored or searched with: an engine takes NaN in silence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from searchkit.errors import EncodingError
from searchkit.stages import EncoderFingerprint, SparseVector, Vectors

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
