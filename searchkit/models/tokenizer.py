"""A model's tokenizer and length limit, read from its folder without importing torch where that can be avoided."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_NO_LIMIT = 1_000_000  # transformers writes 1e30 where a tokenizer knows no limit
_FALLBACK_LIMIT = 512
_OFFSET_POSITIONS = frozenset(
    # These count positions from padding_idx + 1, so two entries of max_position_embeddings are never reached.
    {"camembert", "data2vec-text", "ibert", "longformer", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta"}
    | {"xlm-roberta-xl", "xmod"}
)


@dataclass(frozen=True, slots=True)
class Padding:
    """How a batch of token ids is made rectangular.

    Attributes:
        token_id: Id that fills.
        type_id: Token type that fills.
        side: "right" or "left".
    """

    token_id: int = 0
    type_id: int = 0
    side: str = "right"


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file, or an empty one if there is no such file."""
    if not path.is_file():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}


def load_tokenizer(folder: Path) -> Tokenizer:
    """Return the Rust tokenizer of a model folder, with truncation and padding switched off.

    The files of all-MiniLM carry truncation and padding to 128, which would cut texts in silence. A folder without
    ``tokenizer.json`` goes through transformers, which converts the older formats.

    Raises:
        OSError: A file is missing or unreadable.
        ValueError: The definition cannot be parsed, or no fast tokenizer can be made of it.
    """
    from tokenizers import Tokenizer

    definition = folder / "tokenizer.json"
    if not definition.is_file():
        return load_transformers_tokenizer(folder)
    return unbounded(Tokenizer.from_str(definition.read_text(encoding="utf-8")))


def load_transformers_tokenizer(folder: Path) -> Tokenizer:
    """Return the Rust tokenizer that transformers builds from a model folder, truncation and padding switched off."""
    from transformers import AutoTokenizer

    wrapper = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    if not getattr(wrapper, "is_fast", False):
        raise ValueError(f"{type(wrapper).__name__} in {str(folder)!r} has no fast (Rust) version")
    return unbounded(wrapper.backend_tokenizer)


def unbounded(tokenizer: Tokenizer) -> Tokenizer:
    """Switch truncation and padding of ``tokenizer`` off, in place, and return it."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def find_padding(folder: Path, tokenizer: Tokenizer) -> Padding:
    """Return how the model's batches are padded."""
    config = read_json(folder / "config.json")
    settings = read_json(folder / "tokenizer_config.json")
    token_id = config.get("pad_token_id")
    if not isinstance(token_id, int):
        token = settings.get("pad_token")
        content = token.get("content") if isinstance(token, Mapping) else token
        found = tokenizer.token_to_id(content) if isinstance(content, str) else None
        token_id = found if found is not None else 0
    return Padding(
        token_id=token_id,
        type_id=int(settings.get("pad_token_type_id", 0)),
        side=str(settings.get("padding_side", "right")),
    )


def max_length(folder: Path) -> int:
    """Return the longest input of a model in tokens, special tokens included.

    The smaller of what the tokenizer's settings and the model's position table allow; 512 if neither says.
    """
    config = read_json(folder / "config.json")
    settings = read_json(folder / "tokenizer_config.json")
    limits: list[int] = []
    stated = settings.get("model_max_length")
    if isinstance(stated, int | float) and 0 < stated < _NO_LIMIT:
        limits.append(int(stated))
    positions = config.get("max_position_embeddings")
    if isinstance(positions, int) and positions > 0:
        has_offset = config.get("model_type") in _OFFSET_POSITIONS
        limits.append(positions - 2 if has_offset else positions)
    return min(limits, default=_FALLBACK_LIMIT)
