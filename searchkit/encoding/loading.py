"""Loads the engine that suits a bi-encoder and its device."""

from __future__ import annotations

import logging

from searchkit.encoding.engine import EngineName, SentenceEngine
from searchkit.encoding.layout import SentenceLayout
from searchkit.encoding.onnx_engine import POOLINGS, OnnxSentenceEngine, export_sentence_model
from searchkit.encoding.torch_engine import TorchSentenceEngine
from searchkit.errors import ConfigError, EncodingError
from searchkit.models.device import resolve_device
from searchkit.models.lookup import ModelFolder
from searchkit.models.onnx_export import ExportError

logger = logging.getLogger(__name__)


def load_engine(
    folder: ModelFolder,
    layout: SentenceLayout,
    *,
    max_tokens: int,
    device: str,
    engine: EngineName,
    threads: int | None,
) -> SentenceEngine:
    """Return a bi-encoder, ready to encode.

    Args:
        folder: The model.
        layout: What it declares.
        max_tokens: Longest text in tokens.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        engine: "auto" takes ONNX Runtime on a CPU where the model can be exported exactly, else torch.
        threads: Cores that the ONNX engine uses; ``None`` for all.

    Raises:
        ConfigError: The device is not usable here, or the engine cannot run this model on it.
        EncodingError: The model cannot be loaded.
    """
    resolved = resolve_device(device)
    obstacle = _obstacle(layout, resolved)
    if engine == "onnx" and obstacle:
        raise ConfigError(f"engine='onnx' cannot run {folder.name!r}: {obstacle}; use engine='auto'.")
    if engine != "torch" and not obstacle:
        try:
            export = export_sentence_model(folder.path, layout.pooling[0], max_tokens)
            return OnnxSentenceEngine(export, max_tokens, layout.dimension, threads)
        except ExportError as error:
            if engine == "onnx":
                raise EncodingError(f"engine='onnx' cannot run {folder.name!r}: {error}.") from error
            logger.info("Running %s on torch: %s", folder.name, error)
    try:
        return TorchSentenceEngine(folder.path, resolved, max_tokens)
    except Exception as error:  # sentence-transformers raises nearly anything for a folder that does not fit
        raise EncodingError(
            f"The encoder {folder.name!r} in {str(folder.path)!r} cannot be loaded: {error}."
        ) from error


def _obstacle(layout: SentenceLayout, device: str) -> str | None:
    if device != "cpu":
        return f"it runs on the CPU, not on {device}"
    if not layout.is_plain or not layout.dimension:
        return "it has more parts than a transformer, pooling and normalisation"
    if len(layout.pooling) != 1 or layout.pooling[0] not in POOLINGS:
        return f"its pooling is {'+'.join(layout.pooling)}"
    if layout.lowercase:
        return "it lowercases texts outside of its tokenizer"
    return None
