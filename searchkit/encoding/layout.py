"""What a sentence-transformers folder declares: pooling, dimension, prompts, length limit. Read without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from searchkit.errors import EncodingError
from searchkit.models.lookup import PICKLED_SUFFIXES
from searchkit.models.tokenizer import max_length, read_json

_LEGACY_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_QUERY_PROMPTS = ("query",)
_PASSAGE_PROMPTS = ("document", "passage", "corpus")
_PLAIN_MODULES = ({"Transformer", "Pooling"}, {"Transformer", "Pooling", "Normalize"})


@dataclass(frozen=True, slots=True)
class SentenceLayout:
    """How a bi-encoder turns token vectors into one vector.

    Attributes:
        dimension: Length of a vector; 0 where only loading the model can tell.
        pooling: Names of the pooled views that are concatenated ("mean", "cls", ...).
        is_plain: Whether a transformer, pooling and perhaps normalisation are all there is.
        lowercase: Whether texts are lowercased before the tokenizer's own normalisation.
        max_tokens: Longest text in tokens, special tokens included.
        query_prompt: Declared text before a query.
        passage_prompt: Declared text before a passage.
    """

    dimension: int
    pooling: tuple[str, ...]
    is_plain: bool
    lowercase: bool
    max_tokens: int
    query_prompt: str
    passage_prompt: str


def read_layout(folder: Path) -> SentenceLayout:
    """Return what the folder declares. A folder without modules is a transformer with mean pooling.

    Raises:
        OSError: A file cannot be read.
        ValueError: A file is not valid JSON.
        EncodingError: A part of the model is code of its own, pickled, or outside of the folder.
    """
    config = read_json(folder / "config.json")
    modules = _read_modules(folder)
    hidden = config.get("hidden_size") or config.get("dim") or 0
    pooling: tuple[str, ...] = ("mean",)
    dimension = int(hidden)
    includes_prompt = True
    for kind, path in modules:
        settings = read_json(folder / path / "config.json") if path else {}
        if kind == "Pooling":
            pooling = _pooling_modes(settings)
            includes_prompt = bool(settings.get("include_prompt", True))
            width = settings.get("embedding_dimension", settings.get("word_embedding_dimension", hidden))
            dimension = int(width) * len(pooling)
        elif kind == "Dense":
            dimension = int(settings.get("out_features", 0))
    kinds = {kind for kind, _ in modules}
    transformer = read_json(folder / "sentence_bert_config.json")
    prompts = read_json(folder / "config_sentence_transformers.json")
    return SentenceLayout(
        dimension=dimension if kinds <= {"Transformer", "Pooling", "Normalize", "Dense", "LayerNorm", "Dropout"} else 0,
        pooling=pooling,
        is_plain=(not modules or kinds in _PLAIN_MODULES) and includes_prompt,
        lowercase=bool(transformer.get("do_lower_case", False)),
        max_tokens=_max_tokens(folder, transformer),
        query_prompt=_prompt(prompts, _QUERY_PROMPTS),
        passage_prompt=_prompt(prompts, _PASSAGE_PROMPTS),
    )


def _read_modules(folder: Path) -> list[tuple[str, str]]:
    path = folder / "modules.json"
    if not path.is_file():
        return []
    entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    for entry in entries:
        _check_module(folder, str(entry["type"]), Path(str(entry.get("path", ""))))
    return [(str(entry["type"]).rsplit(".", 1)[-1], str(entry.get("path", ""))) for entry in entries]


def _check_module(folder: Path, kind: str, inner: Path) -> None:
    """Refuse what would run foreign code: the class is imported by its name, and weights may be pickled."""
    if not kind.startswith("sentence_transformers."):
        raise EncodingError(
            f"The model in {str(folder)!r} has a part of the class {kind!r}, which is code of its own and never run; "
            "use a model made of the parts of sentence-transformers."
        )
    if inner.is_absolute() or ".." in inner.parts:
        raise EncodingError(
            f"The model in {str(folder)!r} has a part at {str(inner)!r}, outside of its folder; correct modules.json."
        )
    if inner.parts:
        files = [path for path in (folder / inner).rglob("*") if path.suffix in PICKLED_SUFFIXES]
        pickled = [path for path in files if not any(path.parent.glob("*.safetensors"))]
        if pickled:
            raise EncodingError(
                f"The weights {str(pickled[0])!r} are pickled, which can run code when opened; save the model with "
                "safetensors (SentenceTransformer.save) on a machine where you trust it."
            )


def _pooling_modes(settings: Mapping[str, Any]) -> tuple[str, ...]:
    stated = settings.get("pooling_mode")
    if isinstance(stated, str):
        return (stated,)
    if stated:
        return tuple(stated)
    return tuple(mode for key, mode in _LEGACY_MODES.items() if settings.get(key)) or ("mean",)


def _max_tokens(folder: Path, transformer: Mapping[str, Any]) -> int:
    stated = transformer.get("max_seq_length")
    return int(stated) if isinstance(stated, int) and stated > 0 else max_length(folder)


def _prompt(settings: Mapping[str, Any], names: tuple[str, ...]) -> str:
    prompts = settings.get("prompts") or {}
    default = settings.get("default_prompt_name")
    for name in (*names, default):
        if name is not None and prompts.get(name) is not None:
            return str(prompts[name])
    return ""
