"""LlamaIndex's metadata filters in the words of `SearchKit.search`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from searchkit.errors import ConfigError

# On a list, a condition of ours holds when it holds for any element: ANY is IN below, and CONTAINS is EQ.
_CONDITIONS: dict[FilterOperator, Callable[[Any], Any]] = {
    FilterOperator.EQ: lambda value: value,
    FilterOperator.NE: lambda value: {"not": value},
    FilterOperator.GT: lambda value: {"gt": value},
    FilterOperator.GTE: lambda value: {"gte": value},
    FilterOperator.LT: lambda value: {"lt": value},
    FilterOperator.LTE: lambda value: {"lte": value},
    FilterOperator.CONTAINS: lambda value: value,
    FilterOperator.IS_EMPTY: lambda _: {"exists": False},
}
_MEMBERSHIPS = {FilterOperator.IN: "any", FilterOperator.ANY: "any", FilterOperator.NIN: "not"}


def translated(condition: Any) -> Any:
    """Return ``condition`` as `SearchKit.search` takes it; whatever is no ``MetadataFilters`` is returned as it is.

    Raises:
        ConfigError: The filters say something that the dict language cannot.
    """
    return _group(condition) if isinstance(condition, MetadataFilters) else condition


def _group(filters: MetadataFilters) -> dict[str, Any]:
    parts = [_group(part) if isinstance(part, MetadataFilters) else _leaf(part) for part in filters.filters]
    parts = [part for part in parts if part]  # an empty group says nothing
    if not parts:
        return {}
    if filters.condition is FilterCondition.NOT:
        return {"$not": {"$or": parts}}  # LlamaIndex's own stores: none of them may hold
    if len(parts) == 1:
        return parts[0]
    return {"$or" if filters.condition is FilterCondition.OR else "$and": parts}


def _leaf(part: Any) -> dict[str, Any]:
    # An older exact-match filter has no operator.
    leaf = part if isinstance(part, MetadataFilter) else MetadataFilter(key=part.key, value=part.value)
    if leaf.operator is FilterOperator.ALL:
        return {"$and": [{leaf.key: value} for value in _values(leaf)]}
    if leaf.operator in _MEMBERSHIPS:
        return {leaf.key: {_MEMBERSHIPS[leaf.operator]: _members(leaf)}}
    translate = _CONDITIONS.get(leaf.operator)
    if translate is None:
        raise ConfigError(
            f"the filter on {leaf.key!r} uses the operator {leaf.operator.value!r}, which has no translation:"
            " pass a qdrant_client.models.Filter"
        )
    return {leaf.key: translate(leaf.value)}


def _values(leaf: MetadataFilter) -> list[Any]:
    if not isinstance(leaf.value, list) or not leaf.value:
        raise ConfigError(f"'all' on {leaf.key!r} takes a list of values, not {leaf.value!r}")
    return leaf.value


def _members(leaf: MetadataFilter) -> list[Any]:
    if isinstance(leaf.value, list):
        return leaf.value
    if leaf.value is None:
        raise ConfigError(f"{leaf.operator.value!r} on {leaf.key!r} takes a value or a list of values, not None")
    # LlamaIndex's own store for Qdrant reads several values here; a user of ours may mean one.
    if isinstance(leaf.value, str) and "," in leaf.value:
        raise ConfigError(
            f"{leaf.operator.value!r} on {leaf.key!r} has {leaf.value!r}, which may be one value or several:"
            f" pass a list, {[leaf.value]!r} or {leaf.value.split(',')!r}"
        )
    return [leaf.value]
