"""Metadata values against the kinds that ``filter_fields`` declares: an index passes over what is of another kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from searchkit.collection.filters import read_datetime
from searchkit.collection.metadata import values_at
from searchkit.config import FilterFieldType
from searchkit.errors import PayloadError

_WANTED: Mapping[FilterFieldType, str] = {
    "keyword": "a string",
    "tenant": "a string",
    "text": "a string",
    "integer": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "datetime": "a date, as an ISO string or a datetime",
}


def check_declared(metadata: Mapping[str, Any], declared: Mapping[str, FilterFieldType]) -> None:
    """Refuse a value that its field's index would not hold: no filter would ever find it.

    Args:
        metadata: JSON values; a list counts by its items, and what is absent or null is no value.
        declared: Kinds by key or by path of keys such as ``author.name``.

    Raises:
        PayloadError: A value is of another kind.
    """
    for field, kind in declared.items():
        for value in _values(metadata, field):
            if not _suits(value, kind):
                raise PayloadError(
                    f"metadata {field!r} is {value!r:.60}, and filter_fields declares it as {kind}: give"
                    f" {_WANTED[kind]}, or declare another kind"
                )


def _values(metadata: Mapping[str, Any], field: str) -> Iterator[Any]:
    for value in values_at(metadata, field):
        for one in value if isinstance(value, list) else (value,):
            if one is not None and not isinstance(one, Mapping):
                yield one


def _suits(value: Any, kind: FilterFieldType) -> bool:
    if kind == "bool":
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    if kind == "integer":
        return isinstance(value, int)
    if kind == "float":
        return isinstance(value, int | float)
    if not isinstance(value, str):
        return False
    return kind != "datetime" or _is_date(value)


def _is_date(text: str) -> bool:
    try:
        read_datetime(text)
    except ValueError:
        return False
    return True
