"""Loads what scores pairs: an engine that suits the device, and the tokenizer that belongs to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from searchkit.errors import ModelLoadError
from searchkit.models.device import resolve_device
from searchkit.models.tokenizer import TokenizerFacts, load_transformers_tokenizer
from searchkit.reranking.engines.base import Engine, Precision
from searchkit.reranking.pairing import PairTokenizer


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in memory.

    Attributes:
        pairing: Texts to token ids.
        engine: Token ids to logits.
    """

    pairing: PairTokenizer
    engine: Engine


def load_model(folder: Path, *, device: str, precision: Precision, max_length: int) -> LoadedModel:
    """Return the model in ``folder``, ready to score.

    Args:
        folder: A complete cross-encoder.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        precision: See `Precision`.
        max_length: Longest pair in tokens.

    Raises:
        ConfigError: The device is not usable here.
        ModelLoadError: The model or its tokenizer cannot be loaded.
    """
    resolved = resolve_device(device)
    from searchkit.reranking.engines.torch_engine import TorchEngine

    facts = _load_tokenizer(folder)
    pairing = PairTokenizer(facts.tokenizer, max_length, facts.truncation_side)
    return LoadedModel(pairing, TorchEngine(folder, facts, resolved, precision))


def _load_tokenizer(folder: Path) -> TokenizerFacts:
    try:
        return load_transformers_tokenizer(folder)
    except Exception as error:  # tokenizers raises bare Exception for a definition it cannot parse
        raise ModelLoadError(f"The tokenizer in {str(folder)!r} cannot be loaded: {error}") from error
