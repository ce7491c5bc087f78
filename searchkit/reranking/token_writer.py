"""Token ids to be stored with texts, made by a cross-encoder's tokenizer without its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from searchkit.errors import ModelLoadError
from searchkit.models.tokenizer import load_tokenizer, max_length, read_json
from searchkit.reranking.pairing import PairTokenizer
from searchkit.reranking.stored_tokens import TokenCodec
from searchkit.stages import TokenUse


@dataclass(frozen=True, slots=True)
class PairTokenWriter:
    """Writes what `PairTokenizer.stored_ids` reads.

    Attributes:
        pairing: Tokenizes.
        codec: Puts ids into strings.
    """

    pairing: PairTokenizer
    codec: TokenCodec

    def encode(self, texts: Sequence[str]) -> list[str]:
        """Return one string a text, in order."""
        return [self.codec.encode(text, ids) for text, ids in zip(texts, self.pairing.encode_texts(texts), strict=True)]

    def is_current(self, stored: object) -> bool:
        """Whether a stored string is of this tokenizer."""
        return self.codec.is_ours(stored)


def writer_of(pairing: PairTokenizer) -> PairTokenWriter | None:
    """Return a writer; ``None`` where pairs cannot be composed of the ids of single texts."""
    codec = pairing.codec
    return None if codec is None else PairTokenWriter(pairing, codec)


def read_writer(folder: Path) -> PairTokenWriter | None:
    """Return the writer of the model in ``folder``, from its tokenizer's files alone.

    Where transformers sets a tokenizer up in another way than its ``tokenizer.json`` says, what is written here names
    another tokenizer than the loaded model's, and is not used.

    Raises:
        ModelLoadError: The tokenizer cannot be loaded.
    """
    try:
        side = str(read_json(folder / "tokenizer_config.json").get("truncation_side", "right"))
        return writer_of(PairTokenizer(load_tokenizer(folder), max_length(folder), side))
    except ModelLoadError:
        raise
    except Exception as error:  # tokenizers raises bare Exception for a definition it cannot parse
        raise ModelLoadError(f"The tokenizer in {str(folder)!r} cannot be loaded: {error}") from error


def token_use(
    pairs: Sequence[tuple[str, str]], tokens: Sequence[str | None], known: dict[str, NDArray[np.int32]]
) -> NDArray[np.int8]:
    """Return what became of each pair's stored ids, shape ``(n,)``, values of `TokenUse`.

    Args:
        pairs: (query, text) pairs.
        tokens: What was stored with each text.
        known: Ids of the texts for which that was right.
    """
    uses = (
        TokenUse.NONE if stored is None else TokenUse.USED if text in known else TokenUse.REFUSED
        for (_, text), stored in zip(pairs, tokens, strict=True)
    )
    return np.fromiter(uses, dtype=np.int8, count=len(pairs))
