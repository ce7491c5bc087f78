"""What every encoder checks: texts that can be read, vectors that can be searched."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from searchkit.errors import EncodingError
from searchkit.stages import Vectors

_TINY = 1e-6


def check_texts(texts: Sequence[str]) -> None:
    """Refuse what a tokenizer cannot read.

    Raises:
        EncodingError: ``texts`` is one string, an item is no string, or holds a lone surrogate.
    """
    if isinstance(texts, str):
        raise EncodingError("Expected a sequence of texts, got one string; wrap it in a list.")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise EncodingError(f"Text {index} is {type(text).__name__}, not str; convert it before encoding.")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise EncodingError(
                f"Text {index} holds a lone surrogate at character {error.start}, which is not valid Unicode; "
                "clean it with text.encode('utf-8', 'replace').decode()."
            ) from error


def unit_rows(vectors: NDArray[np.floating], dimension: int, model: str) -> Vectors:
    """Return the rows scaled to unit length, float32, shape ``(n, dimension)``.

    Args:
        vectors: Shape ``(n, dimension)``.
        dimension: Length that the model declares.
        model: Its name, for messages.

    Raises:
        EncodingError: Another dimension, a NaN or infinity, or a norm too small to have a direction.
    """
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        raise EncodingError(
            f"The encoder {model!r} returned vectors of shape {vectors.shape}, expected (n, {dimension}); its files "
            "do not belong together."
        )
    wide = np.asarray(vectors, dtype=np.float64)
    norms = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    unusable = np.flatnonzero(~(np.isfinite(norms) & (norms > _TINY)))
    if unusable.size:
        index = int(unusable[0])
        raise EncodingError(
            f"The encoder {model!r} returned a vector without direction for text {index} (norm {norms[index]}); the "
            "weights are damaged or the text overflows its precision."
        )
    return np.ascontiguousarray(wide / norms[:, None], dtype=np.float32)
