"""A model's tokenizer and length limit, read from its folder without importing torch where that can be avoided."""

from __future__ import annotations

import json
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
        return load_transformers_tokenizer(folder).tokenizer
    return unbounded(Tokenizer.from_str(definition.read_text(encoding="utf-8")))


@dataclass(frozen=True, slots=True)
class TokenizerFacts:
    """A tokenizer as transformers sets it up.

    Attributes:
        tokenizer: The Rust tokenizer, without truncation and padding.
        padding: How batches are padded.
        truncation_side: Which end of a text is cut, "right" or "left".
        has_type_ids: Whether the model is given token types.
    """

    tokenizer: Tokenizer
    padding: Padding
    truncation_side: str
    has_type_ids: bool


def load_transformers_tokenizer(folder: Path) -> TokenizerFacts:
    """Return the tokenizer that transformers builds from a model folder.

    Raises:
        OSError: A file is missing or unreadable.
        ValueError: No fast tokenizer can be made of it.
    """
    from transformers import AutoTokenizer

    wrapper = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    if not getattr(wrapper, "is_fast", False):
        raise ValueError(f"{type(wrapper).__name__} has no fast (Rust) version")
    token_id = wrapper.pad_token_id
    return TokenizerFacts(
        tokenizer=unbounded(wrapper.backend_tokenizer),
        padding=Padding(
            token_id=0 if token_id is None else int(token_id),
            type_id=int(wrapper.pad_token_type_id),
            side=str(wrapper.padding_side),
        ),
        truncation_side=str(wrapper.truncation_side),
        has_type_ids="token_type_ids" in wrapper.model_input_names,
    )


def unbounded(tokenizer: Tokenizer) -> Tokenizer:
    """Switch truncation and padding of ``tokenizer`` off, in place, and return it."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


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
