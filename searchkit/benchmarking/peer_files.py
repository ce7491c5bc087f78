"""The model as ONNX in the layout that other libraries read: the plain graph, without any shortcut of ours."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from searchkit.errors import ModelLoadError
from searchkit.models.onnx_export import ExportError, OnnxExport, exported
from searchkit.models.tokenizer import read_json

if TYPE_CHECKING:
    from torch import nn

_KIND = "plain-cross-encoder-1"


class PeerFolder:
    """A temporary folder with the export and its tokenizer, made when first asked for.

    Args:
        model: The model's own folder.
        max_length: Longest pair in tokens; written into the tokenizer's settings, which the readers obey.
    """

    MODEL_FILE = "model.onnx"

    def __init__(self, model: Path, max_length: int) -> None:
        self._model = model
        self._max_length = max_length
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    def made(self) -> Path:
        """Return the folder.

        Raises:
            ModelLoadError: The model cannot be exported to ONNX.
        """
        if self._temporary is None:
            try:
                export = exported(self._model, _KIND, _load_plain, longest=self._max_length)
            except ExportError as error:
                raise ModelLoadError(f"no ONNX export to give it: {error}") from error
            self._temporary = tempfile.TemporaryDirectory(prefix="searchkit-bench-")
            self._fill(self._folder, export)
        return self._folder

    def close(self) -> None:
        """Remove the folder."""
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    @property
    def _folder(self) -> Path:
        return Path(self._temporary.name if self._temporary else "") / "model"

    def _fill(self, folder: Path, export: OnnxExport) -> None:
        folder.mkdir()
        shutil.copyfile(export.model, folder / self.MODEL_FILE)
        (folder / "tokenizer.json").write_text(export.tokenizer.tokenizer.to_str(), encoding="utf-8")
        config, settings = read_json(self._model / "config.json"), read_json(self._model / "tokenizer_config.json")
        special = {name: value for name, value in settings.items() if name.endswith("_token") and value}
        pad = _content(settings.get("pad_token")) or "[PAD]"
        _write(folder / "config.json", {**config, "pad_token_id": export.tokenizer.padding.token_id})
        _write(folder / "tokenizer_config.json", {**settings, "pad_token": pad, "model_max_length": self._max_length})
        _write(folder / "special_tokens_map.json", {name: _content(value) for name, value in special.items()})


def _content(token: Any) -> str | None:
    """Return a special token's text; its definition may be an object."""
    return token.get("content") if isinstance(token, dict) else token


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def _load_plain(folder: Path) -> nn.Module:
    import torch

    from searchkit.reranking.engines.torch_engine import load_model

    model = load_model(folder)

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, **inputs: torch.Tensor) -> Any:
            return self.model(**inputs).logits

    return Logits().eval()
