"""The int8 form of a cross-encoder: made once from its ONNX export, compared with it, and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searchkit.errors import MissingExtraError
from searchkit.models import onnx_export
from searchkit.models.onnx_export import ExportError, OnnxExport
from searchkit.models.sample_texts import TextSource
from searchkit.reranking.engines.static_int8 import channel_ranges, quantize_products
from searchkit.reranking.packing import TokenPair, pack
from searchkit.reranking.pairing import PairTokenizer

logger = logging.getLogger(__name__)

MODEL_FILE = "model.xml"
LEAST_CORRELATION = 0.99
"""Spearman's rank correlation with float32 on the probes below which int8 is refused."""

_VERSION = "2"  # raise it when models of older versions must not be used any more
_FACTS_FILE = "int8.json"
_CALIBRATION_SEED, _PROBE_SEED = 1, 2
_CALIBRATION_PAIRS, _PROBE_PAIRS = 96, 128
_LONG_EVERY, _LONG_WORDS = 12, 360
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")

Inputs = dict[str, NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Int8Model:
    """A quantized model.

    Attributes:
        path: OpenVINO's ``.xml`` file.
        correlation: Spearman's rank correlation with float32 on the probes, -1..1.
    """

    path: Path
    correlation: float


def int8_model(export: OnnxExport, max_length: int) -> Int8Model:
    """Return the int8 form of an export, made now unless it is in the cache.

    The same model, release of Python (whose documentation gives the texts), OpenVINO and instruction set give the same
    numbers.

    Args:
        export: The float32 model.
        max_length: Longest pair in tokens.

    Raises:
        ExportError: It cannot be made, or orders the probes otherwise than float32 does.
        MissingExtraError: OpenVINO is not installed.
        ConfigError: This Python comes without the sources that the texts are taken from.
    """
    target = onnx_export.cache_root() / f"int8-{_key(export, max_length)}"
    if not (target / _FACTS_FILE).is_file():
        pairing = PairTokenizer(export.tokenizer.tokenizer, max_length, export.tokenizer.truncation_side)
        samples = pairing.encode(sample_pairs(_CALIBRATION_PAIRS, _CALIBRATION_SEED))
        probes = pairing.encode(sample_pairs(_PROBE_PAIRS, _PROBE_SEED))
        target = onnx_export.published(target, lambda draft: _make(export, samples, probes, draft))
    try:
        facts = json.loads((target / _FACTS_FILE).read_text(encoding="utf-8"))
        return Int8Model(target / MODEL_FILE, float(facts["spearman"]))
    except (OSError, ValueError, KeyError) as error:
        onnx_export.discard(target)
        raise ExportError(f"the int8 model in {target} is damaged and was removed: {error}") from error


def open_model(path: Path | Any, *, streams: int = 1) -> Any:
    """Return OpenVINO's compiled form of a model on the CPU, each stream computing on one core.

    Raises:
        MissingExtraError: OpenVINO is not installed.
    """
    core = _core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": streams,
        "ENABLE_CPU_PINNING": False,  # or every process would hold its streams to the same first cores, busy or not
        "INFERENCE_PRECISION_HINT": "f32",  # what is not int8 stays exact; bf16 would be chosen where there is AMX
    }
    model = core.read_model(str(path)) if isinstance(path, Path) else path
    return core.compile_model(model, "CPU", settings)


def sample_pairs(count: int, seed: int) -> list[tuple[str, str]]:
    """Return pairs of sample texts: every other passage holds the words of its query, every twelfth is long."""
    source, chance = TextSource(seed), random.Random(seed)
    pairs = []
    for number in range(count):
        passage = source.prose(_LONG_WORDS) if number % _LONG_EVERY == 0 else source.passage()
        words = passage.lower().split()
        start = chance.randrange(max(len(words) - 8, 1))
        query = " ".join(words[start : start + chance.randint(4, 8)]) if number % 2 else source.query()
        pairs.append((query, passage))
    return pairs


def require_openvino() -> None:
    """Make sure that OpenVINO is installed.

    Raises:
        MissingExtraError: It is not.
    """
    _core()


@lru_cache(maxsize=1)
def _core() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError("engine='openvino'", "openvino") from error
    return openvino.Core()


def _key(export: OnnxExport, max_length: int) -> str:
    core = _core()
    version = core.get_versions("CPU")["CPU"].build_number
    abilities = " ".join(sorted(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")))
    # The export's folder is named by the hash of the model, or at random where it serves one process; the release of
    # Python stands for the texts, which take a second to read.
    parts = (_VERSION, export.model.parent.name, str(max_length), platform.python_version(), version, abilities)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def _make(export: OnnxExport, samples: Sequence[TokenPair], probes: Sequence[TokenPair], draft: Path) -> None:
    """Write the int8 model into ``draft``.

    Raises:
        ExportError: OpenVINO cannot do it, or the result orders the probes otherwise.
    """
    try:
        correlation = _quantize(export, samples, probes, draft)
    except Exception as error:  # OpenVINO raises RuntimeErrors and others for a graph that it cannot read
        raise ExportError(f"OpenVINO cannot make it int8: {error}") from error
    if not correlation >= LEAST_CORRELATION:
        raise ExportError(
            f"in int8 this model orders pairs otherwise than in float32: Spearman's correlation is {correlation:.3f} "
            f"on {len(probes)} sample pairs, and at least {LEAST_CORRELATION} is asked for; use engine='auto'"
        )
    (draft / _FACTS_FILE).write_text(json.dumps({"spearman": correlation, "probes": len(probes)}), encoding="utf-8")


def _quantize(export: OnnxExport, samples: Sequence[TokenPair], probes: Sequence[TokenPair], draft: Path) -> float:
    import openvino

    logger.info("Quantizing %s to int8: once, about ten seconds on an idle core.", export.model.parent.name)
    model = _core().read_model(str(export.model))
    names = [name for name in _INPUTS if name in {port.get_any_name() for port in model.inputs}]
    exact = open_model(model)
    expected = _logits(exact, _inputs(probes, names, export))
    count = quantize_products(model, channel_ranges(model, open_model, _inputs(samples, names, export)))
    if not count:
        raise ValueError("it has no matrix products of the usual form")
    openvino.save_model(model, str(draft / MODEL_FILE), compress_to_fp16=False)
    return spearman(_logits(open_model(draft / MODEL_FILE), _inputs(probes, names, export)), expected)


def _inputs(pairs: Sequence[TokenPair], names: Sequence[str], export: OnnxExport) -> list[Inputs]:
    """Return one pair a batch, without padding, which would count as text in the ranges."""
    arrays = [dict(zip(_INPUTS, pack([pair]).padded(export.tokenizer.padding), strict=True)) for pair in pairs]
    return [{name: entry[name] for name in names} for entry in arrays]


def _logits(compiled: Any, inputs: Sequence[Inputs]) -> NDArray[np.float64]:
    return np.array([compiled(entry)[0][0, 0] for entry in inputs], dtype=np.float64)


def spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the rank correlation of values without ties, -1..1; 0 if one side is constant."""
    ranks = [
        np.argsort(np.argsort(values, kind="stable"), kind="stable").astype(np.float64) for values in (first, second)
    ]
    if not all(np.ptp(values) for values in (first, second)):
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
