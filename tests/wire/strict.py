"""Strict mode as a server enforces it: a filter may use indexed fields only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from qdrant_client import models

ANY = ("keyword", "integer", "float", "bool", "geo", "datetime", "text", "uuid")


class IndexRequiredError(Exception):
    """A filter uses a field that has no index; the message is a server's own."""

    def __init__(self, key: str, kinds: tuple[str, ...]) -> None:
        super().__init__(
            f'Bad request: Index required but not found for "{key}" of one of the following types: '
            f"[{', '.join(kinds)}]. Help: Create an index for this key or use a different filter."
        )


def check(filters: Any, indexes: Mapping[str, str]) -> None:
    """Raise if a filter needs an index that is not there."""
    for key, kinds in _needed(filters, ""):
        if indexes.get(key) not in kinds:
            raise IndexRequiredError(key, kinds)


def _needed(native: Any, root: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    if isinstance(native, list):
        for one in native:
            yield from _needed(one, root)
    elif isinstance(native, models.Filter):
        for part in (native.must, native.should, native.must_not, getattr(native.min_should, "conditions", None)):
            yield from _needed(part, root)
    elif isinstance(native, models.NestedCondition):
        yield from _needed(native.nested.filter, f"{root}{native.nested.key}[].")
    else:
        yield from _of_condition(native, root)


def _of_condition(native: Any, root: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    if isinstance(native, models.IsEmptyCondition):
        yield root + native.is_empty.key, ANY
    elif isinstance(native, models.IsNullCondition):
        yield root + native.is_null.key, ANY
    elif isinstance(native, models.FieldCondition):
        yield root + native.key, _kinds(native)


def _kinds(condition: models.FieldCondition) -> tuple[str, ...]:
    if isinstance(condition.range, models.DatetimeRange):
        return ("datetime",)
    if condition.range is not None:
        return ("float", "integer")
    if isinstance(condition.match, (models.MatchText, models.MatchTextAny, models.MatchPhrase)):
        return ("text",)
    if condition.match is None:
        return ("geo",) if condition.geo_radius or condition.geo_bounding_box else ANY
    return _match_kinds(condition.match)


def _match_kinds(match: Any) -> tuple[str, ...]:
    if isinstance(match, models.MatchValue):
        sample = match.value
    else:
        values = match.any if isinstance(match, models.MatchAny) else match.except_
        sample = values[0] if values else ""
    if isinstance(sample, bool):
        return ("bool",)
    return ("integer",) if isinstance(sample, int) else ("keyword", "uuid")
