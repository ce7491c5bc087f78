"""Conditions, and filters made with qdrant-client's models, as filters of the embedded engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import qdrant_edge as edge

from searchkit.collection.filters import All, AnyOf, Condition, Exists, InRange, Not
from searchkit.errors import ConfigError


def render(condition: Condition) -> edge.Filter:
    """Return ``condition`` as a filter."""
    rendered = _render(condition)
    return rendered if isinstance(rendered, edge.Filter) else edge.Filter(must=[rendered])


def _render(condition: Condition) -> Any:
    if isinstance(condition, AnyOf):
        return edge.FieldCondition(condition.path, match=edge.MatchAny(cast("list[str]", list(condition.values))))
    if isinstance(condition, InRange):
        return edge.FieldCondition(condition.path, range=_range(condition))
    if isinstance(condition, Exists):
        return edge.Filter(must_not=[edge.IsEmptyCondition(condition.path)])
    if isinstance(condition, Not):
        return edge.Filter(must_not=[_render(condition.condition)])
    parts = [_render(part) for part in condition.conditions]
    return edge.Filter(must=parts) if isinstance(condition, All) else edge.Filter(should=parts)


def _range(condition: InRange) -> Any:
    bounds = {"gte": condition.gte, "gt": condition.gt, "lte": condition.lte, "lt": condition.lt}
    if condition.is_datetime:
        return edge.RangeDateTime(**{name: bound.isoformat() for name, bound in bounds.items() if bound is not None})  # type: ignore[union-attr]
    return edge.RangeFloat(**cast("dict[str, float | None]", bounds))


def accept(native: object) -> edge.Filter:
    """Return a ``qdrant_client.models.Filter`` or a ``qdrant_edge.Filter`` as the latter.

    Raises:
        ConfigError: It is neither, or uses a condition that the embedded engine does not have.
    """
    if isinstance(native, edge.Filter):
        return native
    if not _is_model(native, "Filter"):
        raise ConfigError(
            f"a filter is a dict such as {{'lang': 'en'}} or a qdrant_client.models.Filter, not "
            f"{type(native).__name__}: {native!r}"
        )
    return _filter(native)


def _is_model(value: object, name: str) -> bool:
    return type(value).__name__ == name and type(value).__module__.startswith("qdrant_client")


def _filter(native: Any) -> edge.Filter:
    if native.min_should is None:
        minimum = None
    else:
        minimum = edge.MinShould(_conditions(native.min_should.conditions) or [], native.min_should.min_count)
    return edge.Filter(
        must=_conditions(native.must),
        should=_conditions(native.should),
        must_not=_conditions(native.must_not),
        min_should=minimum,
    )


def _conditions(native: Any) -> list[Any] | None:
    if native is None:
        return None
    return [_condition(part) for part in (native if isinstance(native, list) else [native])]


def _condition(native: Any) -> Any:
    convert = _CONDITIONS.get(type(native).__name__)
    if convert is None:
        raise ConfigError(
            f"the embedded engine cannot run the condition {type(native).__name__} of this filter; it can run "
            f"{', '.join(sorted(_CONDITIONS))}, or use a Qdrant server (url=...)"
        )
    return convert(native)


def _field(native: Any) -> edge.FieldCondition:
    geo = [name for name in ("geo_bounding_box", "geo_polygon") if getattr(native, name, None) is not None]
    if geo:
        raise ConfigError(f"the embedded engine cannot run {geo[0]} on {native.key!r}; use geo_radius, or url=...")
    return edge.FieldCondition(
        native.key,
        match=None if native.match is None else _match(native.match),
        range=None if native.range is None else _native_range(native.range),
        geo_radius=None if native.geo_radius is None else _geo_radius(native.geo_radius),
        values_count=None if native.values_count is None else edge.ValuesCount(**native.values_count.model_dump()),
        is_empty=native.is_empty,
        is_null=native.is_null,
    )


def _match(native: Any) -> Any:
    kind = type(native).__name__
    if kind not in _MATCHES:
        raise ConfigError(
            f"the embedded engine cannot run {kind} of this filter; it can run {', '.join(sorted(_MATCHES))}"
        )
    attribute, build = _MATCHES[kind]
    value = getattr(native, attribute)
    if isinstance(value, bool):
        raise ConfigError(
            "the embedded engine cannot match bools in a models.Filter; write the filter as a dict ({'key': True}), or "
            "match the string 'true' at the key 'flags.<key>'"
        )
    return build(value)


def _native_range(native: Any) -> Any:
    bounds = {name: getattr(native, name) for name in ("gte", "gt", "lte", "lt")}
    if type(native).__name__ == "DatetimeRange":
        return edge.RangeDateTime(**{name: bound.isoformat() for name, bound in bounds.items() if bound is not None})
    return edge.RangeFloat(**bounds)


def _geo_radius(native: Any) -> edge.GeoRadius:
    return edge.GeoRadius(edge.GeoPoint(lon=native.center.lon, lat=native.center.lat), native.radius)


_CONDITIONS: Mapping[str, Callable[[Any], Any]] = {
    "FieldCondition": _field,
    "Filter": _filter,
    "HasIdCondition": lambda native: edge.HasIdCondition(set(native.has_id)),
    "IsEmptyCondition": lambda native: edge.IsEmptyCondition(native.is_empty.key),
    "IsNullCondition": lambda native: edge.IsNullCondition(native.is_null.key),
    "NestedCondition": lambda native: edge.NestedCondition(native.nested.key, _filter(native.nested.filter)),
}

_MATCHES: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "MatchAny": ("any", edge.MatchAny),
    "MatchExcept": ("except_", edge.MatchExcept),
    "MatchPhrase": ("phrase", edge.MatchPhrase),
    "MatchText": ("text", edge.MatchText),
    "MatchTextAny": ("text_any", edge.MatchTextAny),
    "MatchValue": ("value", edge.MatchValue),
}
