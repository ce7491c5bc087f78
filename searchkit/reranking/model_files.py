"""What a cross-encoder's folder declares: labels, activation, lengths, profile. Read without torch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searchkit.config import RerankerProfile
from searchkit.errors import ConfigError, ModelLoadError
from searchkit.models.tokenizer import max_length, read_json

logger = logging.getLogger(__name__)

PROFILE_FILE = "searchkit.json"

Activation = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    decay = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1 / (1 + decay), decay / (1 + decay)).astype(np.float32)


def _identity(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return logits


_ACTIVATIONS: dict[str, Activation] = {"Identity": _identity, "Sigmoid": _sigmoid, "Tanh": np.tanh}


@dataclass(frozen=True, slots=True)
class CrossEncoderFiles:
    """A cross-encoder as its files describe it.

    Attributes:
        activation: What ``predict`` applies to logits; the plain sigmoid where the model declares none, as in
            sentence-transformers.
        max_length: Longest pair in tokens that the model can read.
    """

    activation: Activation
    max_length: int


def read_files(folder: Path) -> CrossEncoderFiles:
    """Return what the folder declares.

    Raises:
        ModelLoadError: It is no sequence-classification model with one label, or needs what this library does not do.
    """
    try:
        config = read_json(folder / "config.json")
        sentence_config = read_json(folder / "config_sentence_transformers.json")
        longest = max_length(folder)
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"The model folder {str(folder)!r} is damaged: {error}.") from error
    _check_architecture(folder, config)
    prompt = (sentence_config.get("prompts") or {}).get(sentence_config.get("default_prompt_name"))
    if prompt:
        raise ModelLoadError(f"The model in {str(folder)!r} wants a prompt before every pair, which is not supported.")
    return CrossEncoderFiles(
        activation=_activation(folder, config, sentence_config),
        max_length=longest,
    )


def read_profile(folder: Path) -> RerankerProfile:
    """Return the profile in the model's folder, or the default one: plain sigmoid, no blend.

    Raises:
        ModelLoadError: The file is there and not a valid profile.
    """
    path = folder / PROFILE_FILE
    if not path.is_file():
        return RerankerProfile()
    try:
        return RerankerProfile.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ConfigError, UnicodeDecodeError) as error:
        raise ModelLoadError(f"{str(path)!r} is not a valid reranker profile: {error}") from error


def _check_architecture(folder: Path, config: Mapping[str, Any]) -> None:
    architectures = [str(name) for name in config.get("architectures") or []]
    if config.get("auto_map"):
        raise ModelLoadError(
            f"The model in {str(folder)!r} needs Python code of its own (auto_map), which is never run; use a model of "
            "an architecture that transformers has built in."
        )
    if not any(name.endswith("ForSequenceClassification") for name in architectures):
        raise ModelLoadError(
            f"The model in {str(folder)!r} is a {', '.join(architectures) or 'model of unknown architecture'}, not a "
            "cross-encoder: a ...ForSequenceClassification with one label is needed. A bi-encoder belongs to "
            "SentenceEncoder."
        )
    labels = config.get("id2label")
    count = len(labels) if isinstance(labels, Mapping) else int(config.get("num_labels") or 2)
    if count != 1:
        raise ModelLoadError(
            f"The model in {str(folder)!r} has {count} labels; reranking needs a cross-encoder with exactly one, whose "
            "output is the score. Classifiers with several labels do not say which of them means relevance."
        )


def _activation(folder: Path, config: Mapping[str, Any], sentence_config: Mapping[str, Any]) -> Activation:
    """Where sentence-transformers looks, newest place first."""
    stated = (
        sentence_config.get("activation_fn")
        or (config.get("sentence_transformers") or {}).get("activation_fn")
        or config.get("sbert_ce_default_activation_function")
    )
    if not isinstance(stated, str):
        return _sigmoid
    if not stated.startswith("torch."):
        logger.warning("%s declares the activation %s, which is foreign code; using the sigmoid.", folder, stated)
        return _sigmoid
    name = stated.rsplit(".", 1)[-1]
    if name not in _ACTIVATIONS:
        raise ModelLoadError(
            f"The model in {str(folder)!r} declares the activation {stated!r}; known are {', '.join(_ACTIVATIONS)}."
        )
    return _ACTIVATIONS[name]
