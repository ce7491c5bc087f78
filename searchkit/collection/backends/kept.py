"""How a store keeps a collection, in our settings: for another collection that is to be kept like it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast, get_args

from searchkit.collection.filters import payload_path
from searchkit.collection.schema import FLAGS, METADATA, WINDOW_INDEX
from searchkit.config import FilterFieldType, SearchKitConfig
from searchkit.errors import ConfigError

_OF_METADATA = frozenset(get_args(FilterFieldType)) - {"bool", "tenant"}
"""Kinds whose index is called like them and lies on the metadata itself."""


@dataclass(frozen=True, slots=True)
class Kept:
    """How a collection is kept.

    Attributes:
        config: Settings by which another one is kept in the same way, as far as the store tells.
        left_out: What the store tells and no setting can say, in words.
    """

    config: SearchKitConfig
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredIndex:
    """One payload index as a store describes it.

    Attributes:
        kind: Its kind in Qdrant's word.
        is_tenant: Whether the points are stored together by it.
        has_more: Whether it has further parameters.
    """

    kind: str
    is_tenant: bool = False
    has_more: bool = False


def filter_fields_of(indexes: Mapping[str, StoredIndex]) -> tuple[dict[str, FilterFieldType], list[str]]:
    """Return payload indexes by path as ``filter_fields``, and in words what these cannot say."""
    fields: dict[str, FilterFieldType] = {}
    left_out = []
    for path, index in sorted(indexes.items()):
        root, _, name = path.partition(".")
        kind = _declared_kind(root, index)
        if path == WINDOW_INDEX:  # every collection has it
            continue
        if kind is None or name in fields or not _is_path_of(name, root, path):
            left_out.append(f"the {index.kind} index of {path!r}")
            continue
        fields[name] = kind
        if index.has_more:
            left_out.append(f"the parameters of the {index.kind} index of {path!r}")
    return fields, left_out


def _declared_kind(root: str, index: StoredIndex) -> FilterFieldType | None:
    if root == FLAGS:
        return "bool" if index.kind == "keyword" else None
    if root != METADATA or index.kind not in _OF_METADATA:
        return None
    return "tenant" if index.is_tenant else cast("FilterFieldType", index.kind)


def _is_path_of(name: str, root: str, path: str) -> bool:
    try:
        return payload_path(name, root) == path
    except ConfigError:
        return False
