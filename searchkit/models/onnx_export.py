"""Exports a torch model to ONNX once and keeps it in the user's cache folder, with the tokenizer that belongs to it.

An export is named by the hash of what it was made from, so that a model that lies in two folders is exported once and
changed weights never meet an old export. It is compared with torch before it is kept.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from searchkit.models.hashing import file_hash, tokenizer_hash, weight_hash
from searchkit.models.onnx_session import OnnxSession
from searchkit.models.tokenizer import Padding, TokenizerFacts, load_transformers_tokenizer, unbounded

if TYPE_CHECKING:
    from torch import nn

logger = logging.getLogger(__name__)

_exporting = threading.Lock()  # torch's exporter keeps global state

_FORMAT = "1"  # raise it when exports of older versions must not be used any more
_OPSET = 17
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_PROBES = ((1, 3, 0), (1, 1, 0), (3, 17, 5), (2, 64, 63), (5, 40, 1))  # rows, length, padding of the last row
_TOLERANCE = 1e-4


class ExportError(Exception):
    """A model could not be exported, or its export computes something else. Never leaves this library."""


@dataclass(frozen=True, slots=True)
class OnnxExport:
    """A model as ONNX, with its tokenizer.

    Attributes:
        model: The ``.onnx`` file.
        tokenizer: The tokenizer as transformers set it up at export.
    """

    model: Path
    tokenizer: TokenizerFacts


def cache_root() -> Path:
    """Return the folder that exports are kept in."""
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "searchkit" / "onnx"
    if sys.platform == "win32":
        return home / "AppData" / "Local" / "searchkit" / "Cache" / "onnx"
    return home / ".cache" / "searchkit" / "onnx"


def exported(folder: Path, kind: str, load: Callable[[Path], nn.Module], *, longest: int) -> OnnxExport:
    """Return the export of the model in ``folder``, made now unless it is in the cache.

    Args:
        folder: The model.
        kind: What the exported graph computes; part of its name, together with the version of the code behind it.
        load: Loads the torch model; called with ``folder``, only if there is no export yet. Its ``forward`` takes
            ``input_ids``, ``attention_mask`` and perhaps ``token_type_ids`` by name and returns one tensor.
        longest: Longest input in tokens; the export is tried out at this length too.

    Raises:
        ExportError: The model cannot be exported, or the export gives other numbers than torch.
    """
    target = cache_root() / f"{kind}-{_source_hash(folder, kind)[:24]}"
    if not (target / "facts.json").is_file():
        target = _publish(folder, load, target, longest)
    try:
        return _read(target)
    except Exception as error:  # the libraries that read it raise bare exceptions of their own
        discard(target)
        raise ExportError(f"the export in {target} is damaged and was removed: {error}") from error


def open_export(export: OnnxExport, threads: int | None) -> OnnxSession:
    """Return a session on an export; one that cannot be read is removed.

    Raises:
        ExportError: ONNX Runtime cannot read it.
    """
    try:
        return OnnxSession(export.model, threads)
    except Exception as error:  # onnxruntime's errors share no base class
        discard(export.model.parent)
        raise ExportError(f"the export in {export.model.parent} is damaged and was removed: {error}") from error


def discard(target: Path) -> None:
    """Remove an export that cannot be used, so that the next load makes a new one."""
    shutil.rmtree(target, ignore_errors=True)


def _source_hash(folder: Path, kind: str) -> str:
    parts = [_FORMAT, kind, weight_hash(folder), tokenizer_hash(folder), file_hash(folder / "config.json")]
    settings = folder / "tokenizer_config.json"
    parts.append(file_hash(settings) if settings.is_file() else "")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _publish(folder: Path, load: Callable[[Path], nn.Module], target: Path, longest: int) -> Path:
    def export(draft: Path) -> None:
        with _exporting:
            _export(folder, load, draft, longest)

    try:
        return published(target, export)
    except ExportError:
        raise
    except Exception as error:  # torch's exporter raises nearly anything for a graph that it cannot write
        raise ExportError(f"the model in {folder} cannot be exported to ONNX: {error}") from error


def published(target: Path, fill: Callable[[Path], None]) -> Path:
    """Fill a folder of our own and move it into place, so that no one ever sees half of it.

    Args:
        target: Where it shall lie, in the cache.
        fill: Writes the files into the folder it is given; what it raises is passed on and leaves nothing behind.

    Returns:
        ``target``, or a temporary folder if the cache cannot be written to.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError:
        target = draft = Path(tempfile.mkdtemp(prefix="searchkit-onnx-"))  # no writable home: for this process only
    try:
        fill(draft)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    if draft != target:
        try:
            draft.rename(target)
        except OSError:  # another process was faster
            shutil.rmtree(draft, ignore_errors=True)
    return target


def _export(folder: Path, load: Callable[[Path], nn.Module], draft: Path, longest: int) -> None:
    logger.info("Exporting %s to ONNX, once.", folder.name)
    facts = load_transformers_tokenizer(folder)
    model = load(folder)
    names = [name for name in _INPUTS if name != "token_type_ids" or facts.has_type_ids]
    _write_graph(model, names, draft / "model.onnx")
    _compare(model, names, OnnxSession(draft / "model.onnx", threads=1), longest)
    facts.tokenizer.save(str(draft / "tokenizer.json"))
    stored = {
        "padding": asdict(facts.padding),
        "truncation_side": facts.truncation_side,
        "has_type_ids": facts.has_type_ids,
    }
    (draft / "facts.json").write_text(json.dumps(stored), encoding="utf-8")


def _write_graph(model: nn.Module, names: Sequence[str], path: Path) -> None:
    import torch

    class ByPosition(torch.nn.Module):
        """The exporter passes inputs by position, and the order of keyword arguments differs between models."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: torch.Tensor) -> Any:
            return self.model(**dict(zip(names, inputs, strict=True)))

    arrays = _probe(3, 16, 6, vocabulary=64)
    example = tuple(torch.from_numpy(arrays[name]) for name in names)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # tracing warns about every shape; `_compare` looks at the numbers instead
        torch.onnx.export(
            ByPosition().eval(),  # the exporter puts the model back into the mode of this wrapper
            example,
            str(path),
            input_names=list(names),
            output_names=["output"],
            dynamic_axes={**{name: {0: "rows", 1: "length"} for name in names}, "output": {0: "rows"}},
            opset_version=_OPSET,
            dynamo=False,
        )


def _compare(model: nn.Module, names: Sequence[str], session: OnnxSession, longest: int) -> None:
    import torch

    for rows, length, padding in (*_PROBES, (1, longest, 0)):
        arrays = _probe(rows, min(length, longest), min(padding, longest - 1), vocabulary=64)
        with torch.inference_mode():
            expected = model(**{name: torch.from_numpy(arrays[name]) for name in names}).float().numpy()
        found = session.run(arrays)
        gap = float(np.abs(found - expected).max()) if found.shape == expected.shape else float("inf")
        if not gap <= _TOLERANCE * max(1.0, float(np.abs(expected).max())):
            raise ExportError(f"the export differs from torch by {gap:.2g} at {rows} x {length} tokens")


def _probe(rows: int, length: int, padding: int, *, vocabulary: int) -> dict[str, NDArray[np.int64]]:
    """Arbitrary ids in the shape of a batch whose last row is padded at the end."""
    ids = (np.arange(rows * length, dtype=np.int64).reshape(rows, length) * 7 + 5) % vocabulary
    mask = np.ones_like(ids)
    types = np.zeros_like(ids)
    if padding:
        mask[-1, length - padding :] = 0
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def _read(target: Path) -> OnnxExport:
    from tokenizers import Tokenizer

    stored = json.loads((target / "facts.json").read_text(encoding="utf-8"))
    tokenizer = Tokenizer.from_str((target / "tokenizer.json").read_text(encoding="utf-8"))
    facts = TokenizerFacts(
        tokenizer=unbounded(tokenizer),
        padding=Padding(**stored["padding"]),
        truncation_side=stored["truncation_side"],
        has_type_ids=stored["has_type_ids"],
    )
    return OnnxExport(target / "model.onnx", facts)
