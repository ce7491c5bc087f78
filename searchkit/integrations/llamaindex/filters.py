"""LlamaIndex's metadata filters in the words of `SearchKit.search`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from searchkit.errors import ConfigError

# On a list, a condition of ours holds when it holds for any element: ANY is IN, and CONTAINS is EQ.
_CONDITIONS: dict[FilterOperator, Callable[[Any], Any]] = {
    FilterOperator.EQ: lambda value: value,
    FilterOperator.NE: lambda value: {"not": value},
    FilterOperator.GT: lambda value: {"gt": value},
    FilterOperator.GTE: lambda value: {"gte": value},
    FilterOperator.LT: lambda value: {"lt": value},
    FilterOperator.LTE: lambda value: {"lte": value},
    FilterOperator.IN: lambda value: {"any": list(value)},
    FilterOperator.NIN: lambda value: {"not": list(value)},
    FilterOperator.ANY: lambda value: {"any": list(value)},
    FilterOperator.CONTAINS: lambda value: value,
    FilterOperator.IS_EMPTY: lambda _: {"exists": False},
}


def translated(condition: Any) -> Any:
    """Return ``condition`` as `SearchKit.search` takes it; whatever is no ``MetadataFilters`` is returned as it is.

    Raises:
        ConfigError: The filters say something that the dict language cannot.
    """
    if not isinstance(condition, MetadataFilters):
        return condition
    merged: dict[str, Any] = {}
    for leaf in _leaves(condition):
        translate = _CONDITIONS.get(leaf.operator)
        if translate is None:
            raise ConfigError(
                f"the filter on {leaf.key!r} uses the operator {leaf.operator.value!r}, which has no translation:"
                " pass a qdrant_client.models.Filter"
            )
        one = translate(leaf.value)
        merged[leaf.key] = one if leaf.key not in merged else _both(leaf.key, merged[leaf.key], one)
    return merged


def _leaves(filters: MetadataFilters) -> list[MetadataFilter]:
    if len(filters.filters) > 1 and filters.condition not in {None, FilterCondition.AND}:
        raise _untranslatable(filters)
    if filters.condition is FilterCondition.NOT:
        raise _untranslatable(filters)
    leaves: list[MetadataFilter] = []
    for part in filters.filters:
        leaves.extend(_leaves(part) if isinstance(part, MetadataFilters) else [_leaf(part)])
    return leaves


def _leaf(part: Any) -> MetadataFilter:
    return part if isinstance(part, MetadataFilter) else MetadataFilter(key=part.key, value=part.value)


def _untranslatable(filters: MetadataFilters) -> ConfigError:
    condition = filters.condition.value if filters.condition is not None else None
    return ConfigError(
        f"the filters are combined with {condition!r}: only 'and' has a translation; pass a"
        " qdrant_client.models.Filter, whose should and must_not say the same"
    )


def _both(key: str, first: Any, second: Any) -> Any:
    if isinstance(first, dict) and isinstance(second, dict) and not set(first).intersection(second):
        return {**first, **second}
    raise ConfigError(
        f"two conditions on {key!r} cannot both be said in one dict: {first!r} and {second!r};"
        " pass a qdrant_client.models.Filter"
    )
