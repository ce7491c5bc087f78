"""The documentation of the running Python's standard library, as passages.

One passage for every public module, class, function, method and property that has a docstring of its own; a class or
function without one is there when its module lists it in ``__all__``. Everything is read from the interpreter: nothing
is downloaded, and the passages are those of the Python that runs.

Three steps: import what is public (`_import_all`), give every documented object one name (`Census`), write the
passages (`_passage`).
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import pkgutil
import re
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from searchkit.cli.stdlib_census import Census, Entry
from searchkit.types import Passage

# Importing these does something (opens a browser, prints, starts a window, hooks the prompt), or they are programs,
# tests and tables rather than a library, or another project may have put itself in their place (distutils).
_LEFT_OUT = frozenset(
    [
        "antigravity",
        "distutils",
        "idlelib",
        "lib2to3",
        "pydoc_data",
        "rlcompleter",
        "test",
        "tests",
        "this",
        "turtledemo",
    ]
)
# The codecs, one module each and generated: a package whose modules say nothing about themselves.
_NOT_WALKED = frozenset({"encodings"})
# Where objects are made but not documented; with the private modules, these never are anyone's home.
_IMPLEMENTATION = frozenset(
    {"posix", "nt", "posixpath", "ntpath", "genericpath", "sre_compile", "sre_constants", "sre_parse", "pyexpat"}
)

_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")
_SIGNATURE_CHARS = 600


@dataclass(frozen=True)
class StandardLibrary:
    """What was found.

    Attributes:
        passages: The documentation, sorted by id.
        missing: Public modules that this platform or build cannot import, with the reason.
    """

    passages: tuple[Passage, ...]
    missing: dict[str, str] = field(default_factory=dict)


def standard_library_passages() -> Iterator[Passage]:
    """Yield the documentation of the running Python's standard library, sorted by id.

    Imports every public module of the library, silently. See `read_standard_library` for what could not be imported.
    """
    yield from read_standard_library().passages


def read_standard_library() -> StandardLibrary:
    """Read the documentation of the running Python's standard library.

    The id of a passage is the qualified name (``pathlib.Path.read_text``); its text is the signature and the
    docstring; its metadata are ``module``, ``kind`` (module, class, function, method or property) and ``name``, the
    name inside the module. The same interpreter gives the same passages in the same order.
    """
    modules, missing = _import_all()
    with _silence():
        census = Census(modules)
        passages = [_passage(entry) for entry in census.entries()]
    return StandardLibrary(tuple(sorted(passages, key=lambda passage: str(passage.id))), missing)


def _import_all() -> tuple[dict[str, types.ModuleType], dict[str, str]]:
    modules: dict[str, types.ModuleType] = {}
    missing: dict[str, str] = {}
    waiting = sorted(filter(_is_wanted, sys.stdlib_module_names), reverse=True)
    while waiting:
        name = waiting.pop()
        try:
            with _silence():
                module = importlib.import_module(name)
        except Exception as error:  # noqa: BLE001  # a module for another platform may fail in any way; it is reported
            missing[name] = f"{type(error).__name__}: {error}"
            continue
        modules[name] = module
        if name == "os":
            modules["os.path"] = module.path
        if name not in _NOT_WALKED:
            waiting += sorted(filter(_is_wanted, _children(name, module)), reverse=True)
    return modules, missing


def _children(name: str, module: types.ModuleType) -> Iterator[str]:
    for info in pkgutil.iter_modules(getattr(module, "__path__", ())):
        yield f"{name}.{info.name}"


def _is_wanted(name: str) -> bool:
    last = name.rpartition(".")[2]
    return not last.startswith("_") and last not in _LEFT_OUT and name not in _IMPLEMENTATION


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep what deprecated modules say about themselves away from the user."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


def _passage(entry: Entry) -> Passage:
    head = entry.id
    if entry.kind in {"module", "class", "property"}:
        head = f"{entry.kind} {head}"
    if entry.kind in {"class", "function", "method"}:
        head += _signature(entry.value)
    text = f"{head}\n\n{entry.doc or _bases(entry.value)}".strip().encode("utf-8", "replace").decode().replace("\0", "")
    metadata = {"module": entry.module, "kind": entry.kind, "name": entry.name or entry.module}
    return Passage(id=entry.id, text=text, metadata=metadata)


def _bases(value: object) -> str:
    """Return what an undocumented class stands on, which is often what it does."""
    bases = [base for base in value.__bases__ if base is not object] if isinstance(value, type) else []
    return f"Bases: {', '.join(f'{base.__module__}.{base.__qualname__}' for base in bases)}" if bases else ""


def _signature(value: Callable[..., Any]) -> str:
    """Return the signature in parentheses; empty where the interpreter does not know it."""
    try:
        signature = inspect.signature(value)
        text = str(signature.replace(parameters=[_plain(one) for one in signature.parameters.values()]))
    except Exception:  # noqa: BLE001  # runs the repr of arbitrary defaults; the docstring is worth more than they are
        return ""
    return text if len(text) <= _SIGNATURE_CHARS else ""


def _plain(parameter: inspect.Parameter) -> inspect.Parameter:
    """Replace a default whose repr differs between runs or machines: the order of a set, an address, a path."""
    default = parameter.default
    if isinstance(default, (set, frozenset)):
        return parameter.replace(default=_Literally(f"{{{', '.join(sorted(map(repr, default)))}}}"))
    shown = repr(default)
    plain = _ADDRESS.sub("", shown).replace(sys.prefix, "<prefix>").replace(sys.base_prefix, "<prefix>")
    return parameter if plain == shown else parameter.replace(default=_Literally(plain))


class _Literally:
    """A default value that shows as the given text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text
