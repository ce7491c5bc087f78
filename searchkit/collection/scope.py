"""A scope: metadata fields bound to values, below everything that one view of a collection reads or writes.

A bound field is enforced three times: in the filter that the engine runs, on every payload before it is handed out,
and on every stored passage before it is replaced or deleted. Passages written through a scope have point ids of their
own, derived from scope and id together, so that equal ids of two scopes are two passages and neither can be told from
the other. Pure: no vendor is imported here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from searchkit.collection.filters import All, AnyOf, Condition, payload_path
from searchkit.collection.metadata import MAX_INTEGER, MIN_INTEGER, text_fault
from searchkit.collection.schema import FLAGS, LOOKUP_FIELDS, METADATA, NAMESPACE, passage_key
from searchkit.config import FilterFieldType
from searchkit.errors import ConfigError, PayloadError
from searchkit.types import PassageId

ScopeValue = str | int | bool

_FIELD = re.compile(r"[A-Za-z0-9_-]+")
_NOT_METADATA = frozenset({"id", "text", "metadata"})
_KINDS: Mapping[type, FilterFieldType] = {str: "tenant", bool: "bool", int: "integer"}


@dataclass(frozen=True, slots=True)
class Scope:
    """What a view of a collection is bound to; without fields, nothing.

    Attributes:
        fields: Metadata fields with the value that each must have.
        namespace: What the ids of passages are derived under.
    """

    fields: Mapping[str, ScopeValue] = field(default_factory=dict)
    namespace: bytes = NAMESPACE.bytes

    @property
    def condition(self) -> Condition | None:
        """What the engine must find in every passage, beside any filter of the caller's."""
        if not self.fields:
            return None
        return All(tuple(_condition(name, value) for name, value in self.fields.items()))

    @property
    def index_kinds(self) -> dict[str, FilterFieldType]:
        """The fields with the kind of index that their values want."""
        return {name: _KINDS[type(value)] for name, value in self.fields.items()}

    @property
    def lookup_fields(self) -> tuple[str, ...]:
        """What ingest and delete read of a passage's first window."""
        return (*LOOKUP_FIELDS, METADATA) if self.fields else LOOKUP_FIELDS

    def key(self, passage_id: PassageId) -> int:
        """Return the key of a passage written through this scope."""
        return passage_key(passage_id, self.namespace)

    def other_keys(self, passage_id: PassageId) -> tuple[int, ...]:
        """Return where else a passage of this id may lie: among those written without a scope."""
        return (passage_key(passage_id),) if self.fields else ()

    def admits(self, metadata: Mapping[str, Any] | None) -> bool:
        """Whether a passage may be read: each field has the bound value, or is a list that holds it."""
        values = metadata or {}
        return all(_holds(values.get(name), value) for name, value in self.fields.items())

    def owns(self, metadata: Mapping[str, Any] | None) -> bool:
        """Whether a passage may be replaced or deleted: each field has the bound value, and no other beside it."""
        values = metadata or {}
        return all(_is_same(values.get(name), value) for name, value in self.fields.items())

    def stamp(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """Return the metadata of a new passage with the bound fields in it.

        Raises:
            PayloadError: A bound field has another value.
        """
        for name, value in self.fields.items():
            if name in metadata and not _is_same(metadata[name], value):
                raise PayloadError(
                    f"its {name!r} is {metadata[name]!r}, but this kit is scoped to {name}={value!r}; leave the field "
                    "out (the scope writes it), or add the passage through the scope that it belongs to"
                )
        return {**metadata, **self.fields}


EVERYTHING = Scope()
"""The scope that binds nothing."""


def scope_of(fields: Mapping[str, ScopeValue]) -> Scope:
    """Return the scope that binds ``fields``.

    Raises:
        ConfigError: There is no field, or one has a name or a value that cannot be bound.
    """
    if not fields:
        raise ConfigError('a scope binds at least one field; write kit.scoped(tenant="acme")')
    bound = {_checked_name(name): _checked_value(name, value) for name, value in fields.items()}
    canonical = json.dumps(bound, sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(NAMESPACE.bytes + b"scope" + canonical.encode()).digest()
    return Scope(bound, digest[:16])


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not _FIELD.fullmatch(name) or name in _NOT_METADATA:
        raise ConfigError(
            f"{name!a} cannot be bound: a scope's fields are top-level metadata fields of letters, digits, '_' and "
            "'-', and none of 'id', 'text', 'metadata'"
        )
    return str(name)


def _checked_value(name: str, value: object) -> ScopeValue:
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and MIN_INTEGER <= value <= MAX_INTEGER:
        return int(value)
    if isinstance(value, str) and value.strip() and text_fault(value) is None:
        return str(value)
    raise ConfigError(
        f"{name}={value!a} cannot be bound: a scope's values are strings with text, integers of 64 bits, or bools"
    )


def _condition(name: str, value: ScopeValue) -> Condition:
    if isinstance(value, bool):
        return AnyOf(payload_path(name, FLAGS), ("true" if value else "false",))
    # Not a range for integers: it compares as floats, which cannot tell 2**53 from its neighbour.
    return AnyOf(payload_path(name), (value,))  # type: ignore[arg-type]  # one value has one type


def _is_same(stored: object, bound: ScopeValue) -> bool:
    return type(stored) is type(bound) and stored == bound


def _holds(stored: object, bound: ScopeValue) -> bool:
    return any(_is_same(one, bound) for one in stored) if isinstance(stored, list) else _is_same(stored, bound)
