"""Loads what scores pairs: an engine that suits the device, and the tokenizer that belongs to it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from searchkit.errors import ConfigError, ModelLoadError
from searchkit.models.device import Device, device_kind, resolve_device
from searchkit.models.onnx_export import ExportError
from searchkit.models.tokenizer import TokenizerFacts, load_transformers_tokenizer
from searchkit.reranking.engines.base import Engine, EngineName, Precision
from searchkit.reranking.engines.tiles import InvariantEngine, PaddedTiling, Tiling
from searchkit.reranking.pairing import PairTokenizer

logger = logging.getLogger(__name__)

_EXPORT_TILE = (4, 16)  # rows, and what lengths are rounded up to


@dataclass(frozen=True, slots=True)
class Capability:
    """What an engine can do, by which it is chosen.

    Attributes:
        devices: Kinds of device that it runs on.
        precisions: What may be asked of it; "auto" is its own.
        is_exact: Whether it gives the float32 model's scores; only such an engine is taken unasked.
    """

    devices: frozenset[str]
    precisions: frozenset[str]
    is_exact: bool

    def suits(self, device: str, precision: Precision) -> bool:
        """Return whether it runs on a resolved device in this precision."""
        return device_kind(device) in self.devices and precision in self.precisions


CAPABILITIES: dict[EngineName, Capability] = {
    "onnx": Capability(frozenset({"cpu"}), frozenset({"auto", "fp32"}), is_exact=True),
    "openvino": Capability(frozenset({"cpu"}), frozenset({"auto"}), is_exact=False),
    "torch": Capability(frozenset(get_args(Device)), frozenset(get_args(Precision)), is_exact=True),
}
"""In the order in which "auto" tries them."""


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
        engine: "auto" takes the first exact engine of `CAPABILITIES` that can run the model on the device.
        threads: Cores that the engines on a CPU use, torch aside; ``None`` for all.
        max_length: Longest pair in tokens.
        batch_invariant: Whether a pair's score must not depend on its batch mates, to the last bit.

    Raises:
        ConfigError: The device is not usable here, or the engine does not run on it in this precision.
        MissingExtraError: The engine asked for is not installed.
        ModelLoadError: The model or its tokenizer cannot be loaded, or the engine asked for cannot run it.
    """
    resolved = resolve_device(device)
    if engine != "auto" and not CAPABILITIES[engine].suits(resolved, precision):
        raise ConfigError(_unsuitable(engine, resolved, precision))
    loaded = None
    for name in _candidates(engine, resolved, precision):
        loaded = loaded or _try_exported(name, folder, threads, max_length, is_required=name == engine)
    if loaded is None:
        return _load_torch(folder, resolved, precision, max_length, batch_invariant=batch_invariant)
    return _with_tiles(loaded, PaddedTiling(*_EXPORT_TILE, max_length)) if batch_invariant else loaded


def _candidates(engine: EngineName, device: str, precision: Precision) -> list[EngineName]:
    """Return the engines that run an export and come into question, best first."""
    exported: list[EngineName] = [name for name in CAPABILITIES if name != "torch"]
    if engine != "auto":
        return [name for name in exported if name == engine]
    return [name for name in exported if CAPABILITIES[name].is_exact and CAPABILITIES[name].suits(device, precision)]


def _unsuitable(engine: EngineName, device: str, precision: Precision) -> str:
    can = CAPABILITIES[engine]
    return (
        f"engine={engine!r} runs on {' or '.join(sorted(can.devices))} with precision "
        f"{' or '.join(repr(one) for one in sorted(can.precisions))}, not on {device} with {precision!r}; use "
        "engine='auto'."
    )


def _try_exported(
    engine: EngineName, folder: Path, threads: int | None, max_length: int, *, is_required: bool
) -> LoadedModel | None:
    try:
        return _load_exported(engine, folder, threads, max_length)
    except ExportError as error:
        if is_required:
            raise ModelLoadError(f"engine={engine!r} cannot run this model: {error}") from error
        logger.info("Not running %s in engine %r: %s", folder.name, engine, error)
        return None


def _load_exported(engine: EngineName, folder: Path, threads: int | None, max_length: int) -> LoadedModel:
    from searchkit.reranking.engines.onnx_engine import OnnxEngine, export_cross_encoder

    runner: Engine
    if engine == "openvino":
        from searchkit.reranking.engines.int8_model import int8_model, require_openvino
        from searchkit.reranking.engines.openvino_engine import OpenVinoEngine

        require_openvino()  # before the export, which takes seconds
        export = export_cross_encoder(folder, max_length)
        runner = OpenVinoEngine(export, int8_model(export, max_length), max_length, threads)
    else:
        export = export_cross_encoder(folder, max_length)
        runner = OnnxEngine(export, threads)
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
