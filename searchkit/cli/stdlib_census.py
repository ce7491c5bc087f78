"""One name for every public object: the one it is documented under.

An object that several modules offer is counted once, where people know it: ``asyncio.run`` rather than
``asyncio.runners.run``, ``os.path.join`` rather than ``posixpath.join``, ``random.randint`` rather than
``random.Random.randint``. Every candidate for a home makes a claim, a tuple that sorts; the smallest one wins.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

_FUNCTIONS = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    type(cache(len)),
)
_PROPERTIES = (property, cached_property, types.GetSetDescriptorType, types.MemberDescriptorType)


@dataclass(frozen=True)
class Entry:
    """One documented object under the name it is known by.

    Attributes:
        module: Module that is its home.
        name: Name inside the module; empty for the module itself.
        kind: module, class, function, method or property.
        value: The object.
        doc: Its own docstring; empty if it has none.
        is_listed: Whether its module's ``__all__`` names it.
    """

    module: str
    name: str
    kind: str
    value: Any
    doc: str
    is_listed: bool = False

    @property
    def id(self) -> str:
        """Qualified name."""
        return f"{self.module}.{self.name}" if self.name else self.module


class Census:
    """Finds the one home of every class, function, method and property.

    Args:
        modules: The public modules by name.
    """

    def __init__(self, modules: dict[str, types.ModuleType]) -> None:
        self._modules = modules
        self._homes: dict[int, tuple[tuple[Any, ...], Entry]] = {}
        self._alive: list[Any] = []  # what is compared by its address must not be freed meanwhile

    def entries(self) -> Iterator[Entry]:
        """Yield every documented object once."""
        for name, module in self._modules.items():
            self._visit_module(name, module)
        classes = [entry for _, entry in self._homes.values() if entry.kind == "class"]
        # A base known by another name (socket.SocketType is _socket.socket) leaves its methods to its namesake below.
        public = {id(entry.value) for entry in classes if not _is_alias(entry)}
        for entry in classes:
            self._visit_class(entry, public)
        modules = [Entry(name, "", "module", value, _clean(value.__doc__)) for name, value in self._modules.items()]
        # unittest.main is a module behind a class of the same name: the class is what people mean.
        by_id = {entry.id: entry for entry in [*modules, *(entry for _, entry in self._homes.values())]}
        yield from (entry for entry in by_id.values() if entry.doc or entry.is_listed)

    def _visit_module(self, module_name: str, module: types.ModuleType) -> None:
        for name in sorted({*_names_listed(module), *vars(module)}):
            value: Any = getattr(module, name, None)
            is_class = isinstance(value, type)
            if name.startswith("_") or not (is_class or isinstance(value, _FUNCTIONS)):
                continue
            is_listed = self._is_listed(module_name, name, value)
            if self._is_at_home(module_name, value, is_listed):
                doc = _class_doc(value) if is_class else _clean(value.__doc__)
                entry = Entry(module_name, name, "class" if is_class else "function", value, doc, is_listed)
                self._claim(_identity(module_name, value), _module_claim(entry), entry)

    def _is_listed(self, module_name: str, name: str, value: Any) -> bool:
        """Whether ``__all__`` has the name, here or in the submodule that it comes from (3.11 forgot TaskGroup)."""
        origin = getattr(value, "__module__", None) or ""
        makers = [module_name, origin] if origin.startswith(f"{module_name}.") else [module_name]
        return any(name in _names_listed(self._modules[maker]) for maker in makers if maker in self._modules)

    def _is_at_home(self, module_name: str, value: Any, is_listed: bool) -> bool:
        """Whether the module may call the object its own: it made it, lists it, or hides the module that made it."""
        origin = getattr(value, "__module__", None) or ""
        if origin == module_name or (is_listed and origin.startswith(f"{module_name}.")):
            return True
        if module_name == "builtins":
            return isinstance(value, types.BuiltinFunctionType)  # open() is made in _io
        maker = self._modules.get(origin)
        if maker is not None and getattr(maker, getattr(value, "__name__", ""), None) is value:
            return False  # imported from another public module
        has_list = bool(_names_listed(self._modules[module_name]))
        return is_listed or (not has_list and origin.lstrip("_") == module_name.rpartition(".")[2])

    def _visit_class(self, owner: Entry, public: set[int]) -> None:
        for depth, base in enumerate(owner.value.__mro__):
            if base is object or (depth and id(base) in public):
                continue
            for name, attribute in vars(base).items():
                value = getattr(attribute, "__func__", attribute)
                kind = _member_kind(value)
                if name.startswith("_") or kind is None or inspect.getattr_static(owner.value, name) is not attribute:
                    continue
                entry = Entry(owner.module, f"{owner.name}.{name}", kind, value, _clean(value.__doc__))
                claim = _member_claim(owner, base, depth, entry)
                self._claim(id(value), claim, entry)

    def _claim(self, identity: int, claim: tuple[Any, ...], entry: Entry) -> None:
        holder = self._homes.get(identity)
        if holder is None or claim < holder[0]:
            self._homes[identity] = (claim, entry)
            self._alive.append(entry.value)


def _names_listed(module: types.ModuleType) -> frozenset[str]:
    return frozenset(name for name in getattr(module, "__all__", ()) if isinstance(name, str))


def _member_kind(value: object) -> str | None:
    if isinstance(value, _PROPERTIES):
        return "property"
    return "method" if isinstance(value, _FUNCTIONS) else None


def _identity(module_name: str, value: Any) -> int:
    """Return what a function and the method that its own module bound it from have in common (``random.randint``).

    ``secrets.choice`` is bound from another module's class: it is not what ``random.choice`` is.
    """
    owner = getattr(value, "__self__", None)
    maker = type(owner).__module__
    if maker != module_name and not maker.startswith(f"{module_name}."):
        return id(value)
    if isinstance(value, types.MethodType):
        return id(value.__func__)
    if isinstance(value, types.BuiltinFunctionType):
        return id(getattr(type(owner), value.__name__, value))
    return id(value)


def _is_alias(entry: Entry) -> bool:
    made_as = str(getattr(entry.value, "__name__", "")).rpartition(".")[2]
    return entry.name.rpartition(".")[2] != made_as


def _module_claim(entry: Entry) -> tuple[Any, ...]:
    """Order the modules that offer one object: built in, then its maker's public face, then the shortest name."""
    origin = getattr(entry.value, "__module__", None) or ""
    is_built_in = entry.module == "builtins"
    is_own = origin.lstrip("_") == entry.module or origin.startswith(f"{entry.module}.")
    depth = entry.module.count(".")
    return (0, not is_built_in, not is_own, not entry.is_listed, depth, _is_alias(entry), entry.id)


def _member_claim(owner: Entry, base: type, depth: int, entry: Entry) -> tuple[Any, ...]:
    """Order the public classes that offer one method of a private base: its namesake, then the nearest."""
    is_stranger = bool(depth) and not base.__name__.endswith(owner.value.__name__)  # _BaseExitStack is ExitStack's
    return (1, _is_alias(owner), is_stranger, depth, _is_alias(entry), entry.id)


def _clean(doc: object) -> str:
    """Return the docstring without its indentation; empty where there is none."""
    return inspect.cleandoc(doc).strip() if isinstance(doc, str) else ""


def _class_doc(value: type) -> str:
    """Return the class's docstring and that of its own constructor; nothing that a base class said."""
    inherited = {_clean(base.__doc__) for base in value.__mro__[1:]}
    parts = [_clean(value.__doc__)]
    constructor = vars(value).get("__init__")
    if isinstance(constructor, types.FunctionType):
        parts.append(_clean(constructor.__doc__))
    return "\n\n".join(dict.fromkeys(part for part in parts if part and part not in inherited))
