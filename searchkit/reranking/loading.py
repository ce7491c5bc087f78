"""Loads what scores pairs: an engine that suits the device, and the tokenizer that belongs to it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from searchkit.errors import ConfigError, ModelLoadError
from searchkit.models.device import resolve_device
from searchkit.models.onnx_export import ExportError
from searchkit.models.tokenizer import TokenizerFacts, load_transformers_tokenizer
from searchkit.reranking.engines.base import Engine, EngineName, Precision
from searchkit.reranking.engines.tiles import InvariantEngine, PaddedTiling, Tiling
from searchkit.reranking.pairing import PairTokenizer

logger = logging.getLogger(__name__)

_ONNX_TILE = (4, 16)  # rows, and what lengths are rounded up to


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in memory.

    Attributes:
        pairing: Texts to token ids.
        engine: Token ids to logits.
    """

    pairing: PairTokenizer
    engine: Engine


def load_model(
    folder: Path,
    *,
    device: str,
    precision: Precision,
    engine: EngineName,
    threads: int | None,
    max_length: int,
    batch_invariant: bool = False,
) -> LoadedModel:
    """Return the model in ``folder``, ready to score.

    Args:
        folder: A complete cross-encoder.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        precision: See `Precision`.
        engine: "auto" takes ONNX Runtime on a CPU where the model can be exported exactly, else torch.
        threads: Cores that the ONNX engine uses; ``None`` for all.
        max_length: Longest pair in tokens.
        batch_invariant: Whether a pair's score must not depend on its batch mates, to the last bit.

    Raises:
        ConfigError: The device is not usable here, or the engine does not run on it in this precision.
        ModelLoadError: The model or its tokenizer cannot be loaded.
    """
    resolved = resolve_device(device)
    can_onnx = resolved == "cpu" and precision in ("auto", "fp32")
    if engine == "onnx" and not can_onnx:
        raise ConfigError(
            f"engine='onnx' runs on the CPU in fp32, not on {resolved} in {precision}; use engine='auto'."
        )
    if engine != "torch" and can_onnx:
        loaded = _load_onnx(folder, threads, max_length, is_required=engine == "onnx")
        if loaded is not None:
            return _with_tiles(loaded, PaddedTiling(*_ONNX_TILE)) if batch_invariant else loaded
    return _load_torch(folder, resolved, precision, max_length, batch_invariant=batch_invariant)


def _load_onnx(folder: Path, threads: int | None, max_length: int, *, is_required: bool) -> LoadedModel | None:
    from searchkit.reranking.engines.onnx_engine import OnnxEngine, export_cross_encoder

    try:
        export = export_cross_encoder(folder, max_length)
        runner = OnnxEngine(export, threads)
    except ExportError as error:
        if is_required:
            raise ModelLoadError(f"engine='onnx' cannot run this model: {error}") from error
        logger.info("Running %s on torch: %s", folder.name, error)
        return None
    facts = export.tokenizer
    return LoadedModel(PairTokenizer(facts.tokenizer, max_length, facts.truncation_side), runner)


def _load_torch(
    folder: Path, device: str, precision: Precision, max_length: int, *, batch_invariant: bool
) -> LoadedModel:
    from searchkit.reranking.engines.fast_model import REPEATABLE
    from searchkit.reranking.engines.torch_engine import TorchEngine

    facts = _load_tokenizer(folder)
    pairing = PairTokenizer(facts.tokenizer, max_length, facts.truncation_side)
    engine = TorchEngine(folder, facts, device, precision, settings=REPEATABLE if batch_invariant else None)
    loaded = LoadedModel(pairing, engine)
    return _with_tiles(loaded, engine.tiling(max_length)) if batch_invariant else loaded


def _with_tiles(loaded: LoadedModel, tiling: Tiling) -> LoadedModel:
    return LoadedModel(loaded.pairing, InvariantEngine(loaded.engine, tiling))


def _load_tokenizer(folder: Path) -> TokenizerFacts:
    try:
        return load_transformers_tokenizer(folder)
    except Exception as error:  # tokenizers raises bare Exception for a definition it cannot parse
        raise ModelLoadError(f"The tokenizer in {str(folder)!r} cannot be loaded: {error}") from error
