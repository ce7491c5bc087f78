"""What a caller may hand to a cross-encoder, and errors that say what was wrong with the rest."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np

from searchkit.config import RerankerProfile
from searchkit.errors import ConfigError, RerankError
from searchkit.reranking.engines.base import EngineName, Precision

_SURROGATE = re.compile("[\ud800-\udfff]")


def check_settings(
    *,
    model: object,
    max_length: object,
    token_budget: object,
    precision: object,
    engine: object,
    threads: object,
    profile: object,
) -> None:
    """Check the arguments of a cross-encoder; what the device and the model allow turns out when it is loaded.

    Raises:
        ConfigError: One cannot work.
    """
    if not isinstance(model, str | os.PathLike):
        raise ConfigError(f"model must be a name or a folder, not {model!r:.80}.")
    for name, value, least in (
        ("max_length", max_length, 8),
        ("token_budget", token_budget, 1),
        ("threads", threads, 1),
    ):
        if value is not None:
            _check_count(name, value, least)
    for name, value, known in (("precision", precision, get_args(Precision)), ("engine", engine, get_args(EngineName))):
        if value not in known:
            raise ConfigError(f"{name} must be one of {', '.join(known)}, not {value!r}.")
    if profile is not None and not isinstance(profile, RerankerProfile):
        raise ConfigError(f"profile must be a RerankerProfile, not {type(profile).__name__}.")


def check_ranking(query: object, documents: object, top_k: object, criteria: object) -> None:
    """Check the arguments of a ranking.

    Raises:
        ConfigError: One is of the wrong kind, or ``top_k`` is below 1.
    """
    if top_k is not None:
        _check_count("top_k", top_k, 1)
    if isinstance(documents, str) or not isinstance(documents, Sequence):
        raise ConfigError(f"documents is a {type(documents).__name__}: pass a list of texts.")
    if not isinstance(query, str) or not isinstance(criteria, str | None):
        raise ConfigError(f"query and criteria are texts, not {type(query).__name__} and {type(criteria).__name__}.")


def listed_pairs(pairs: object) -> list[Any]:
    """Return pairs, or the two texts of a single one, as a list.

    Raises:
        RerankError: They come in no order, or as one string.
    """
    if isinstance(pairs, np.ndarray):
        found: list[Any] = pairs.tolist()
        return found
    if isinstance(pairs, str) or not isinstance(pairs, Sequence):
        raise RerankError(f"pairs is a {type(pairs).__name__}: pass a list of (query, text) pairs, or one pair.")
    return list(pairs)


def check_pairs(pairs: Sequence[Any]) -> None:
    """Refuse what a tokenizer cannot read.

    Raises:
        RerankError: A pair is not two strings of valid Unicode; the message gives its index.
    """
    for index, pair in enumerate(pairs):
        is_pair = isinstance(pair, Sequence | np.ndarray) and not isinstance(pair, str) and len(pair) == 2
        if not is_pair or not all(isinstance(text, str) for text in pair):
            raise RerankError(f"Pair {index} is not two strings (query, text) but {type(pair).__name__}.")
        broken = next((text for text in pair if _SURROGATE.search(text)), None)
        if broken is not None:
            raise RerankError(
                f"Pair {index} holds a lone surrogate, which is not valid Unicode; clean it with "
                "text.encode('utf-8', 'replace').decode()."
            )


def _check_count(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{name} must be a whole number of at least {least}, not {value!r}.")
