"""Conditions as filters of qdrant-client."""

from __future__ import annotations

from typing import Any, cast

from qdrant_client import models

from searchkit.collection.filters import All, AnyOf, Condition, Exists, InRange, Not
from searchkit.errors import ConfigError


def render(condition: Condition) -> models.Filter:
    """Return ``condition`` as a filter."""
    rendered = _render(condition)
    return rendered if isinstance(rendered, models.Filter) else models.Filter(must=[rendered])


def _render(condition: Condition) -> Any:
    if isinstance(condition, AnyOf):
        return models.FieldCondition(
            key=condition.path, match=models.MatchAny(any=cast("list[str]", list(condition.values)))
        )
    if isinstance(condition, InRange):
        bounds = {"gte": condition.gte, "gt": condition.gt, "lte": condition.lte, "lt": condition.lt}
        kind = models.DatetimeRange if condition.is_datetime else models.Range
        return models.FieldCondition(key=condition.path, range=kind.model_validate(bounds))
    if isinstance(condition, Exists):
        empty = models.IsEmptyCondition(is_empty=models.PayloadField(key=condition.path))
        return models.Filter(must_not=[empty])
    if isinstance(condition, Not):
        return models.Filter(must_not=[_render(condition.condition)])
    parts = [_render(part) for part in condition.conditions]
    return models.Filter(must=parts) if isinstance(condition, All) else models.Filter(should=parts)


def accept(native: object) -> models.Filter:
    """Return ``native`` if it is a ``models.Filter``.

    Raises:
        ConfigError: It is not.
    """
    if isinstance(native, models.Filter):
        return native
    raise ConfigError(
        f"a filter is a dict such as {{'lang': 'en'}} or a qdrant_client.models.Filter, not "
        f"{type(native).__name__}: {native!r}"
    )
