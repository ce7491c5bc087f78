"""Metadata as JSON: what can be stored is copied or converted, what cannot is refused by name."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from datetime import date, datetime
from enum import Enum
from typing import Any

import numpy as np

from searchkit.errors import PayloadError

MAX_DEPTH = 32
MIN_INTEGER, MAX_INTEGER = -(2**63), 2**63 - 1
_PLAIN = frozenset({bool, type(None)})


def clean_metadata(raw: Mapping[Any, Any]) -> dict[str, Any]:
    """Return ``raw`` as JSON values of exactly Python's own types; nothing is shared with it.

    Tuples become lists; dates, datetimes and datetime64 of any unit ISO strings; enums their value; UUIDs strings;
    numpy scalars and arrays Python numbers and lists.

    Raises:
        PayloadError: A value has no such form; the message names its key.
    """
    return _clean_mapping(raw, "metadata", 0)


def iso_datetime64(value: np.datetime64) -> str:
    """Return the day, or the moment to the second at least: what date filters read.

    numpy writes coarser units shorter, and ``2024-01`` or ``2024-01-01T10`` is no date to any engine.
    """
    unit = np.datetime_data(value.dtype)[0]
    if unit in {"Y", "M", "W"}:
        value = value.astype("datetime64[D]")
    elif unit in {"h", "m"}:
        value = value.astype("datetime64[s]")
    return str(value)


def values_at(metadata: Mapping[str, Any], field: str) -> list[Any]:
    """Return what is stored under a key, or under a path of keys such as ``author.name`` or ``authors[].name``."""
    if field in metadata:
        return [metadata[field]]
    found: list[Any] = [metadata]
    for key in field.split("."):
        name = key.removesuffix("[]")
        found = [one.get(name) for one in found if isinstance(one, Mapping)]
        if key != name:
            found = [item for one in found if isinstance(one, list) for item in one]
    return found


def text_fault(text: str) -> str | None:
    """Return what makes a string unusable ("holds ..."), or ``None``."""
    if "\0" in text:
        return f"holds a NUL character at offset {text.index(chr(0))}; remove it"
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return (
            f"holds a lone surrogate ({text[error.start]!a}) at offset {error.start}; it was decoded wrongly: "
            "use errors='replace' where the text is read"
        )
    return None


def _clean_mapping(raw: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise PayloadError(f"{path[:80]} is nested more than {MAX_DEPTH} levels deep; flatten it")
    cleaned: dict[str, Any] = {}
    for key, value in raw.items():
        if not isinstance(key, str):
            raise PayloadError(f"{path} has the key {key!r}; keys are strings")
        fault = text_fault(key)
        if fault:
            raise PayloadError(f"a key of {path} {fault}")
        cleaned[str(key)] = _clean(value, f"{path}.{key}", depth)
    return cleaned


def _clean(value: Any, path: str, depth: int) -> Any:
    kind = type(value)
    if kind in _PLAIN or (kind is str and value.isascii() and "\0" not in value):
        return value
    if isinstance(value, Enum):
        return _clean(value.value, path, depth)
    if isinstance(value, np.generic):
        return _clean(_from_numpy(value, path), path, depth)
    if isinstance(value, str):
        fault = text_fault(value)
        if fault:
            raise PayloadError(f"{path} {fault}")
        return str(value)
    if isinstance(value, (int, float)):
        return _clean_number(value, path)
    return _clean_object(value, path, depth)


def _clean_number(value: float, path: str) -> int | float:
    if isinstance(value, int):
        if not MIN_INTEGER <= value <= MAX_INTEGER:
            raise PayloadError(f"{path} is {value}; integers have 64 bits, store it as a string")
        return int(value)
    if not math.isfinite(value):
        raise PayloadError(f"{path} is {value}; leave it out or store None, JSON has no such number")
    return float(value)


def _clean_object(value: Any, path: str, depth: int) -> Any:
    if isinstance(value, Mapping):
        return _clean_mapping(value, path, depth + 1)
    if isinstance(value, np.ndarray):
        value = list(value) if value.dtype.kind in "Mm" else value.tolist()
    if isinstance(value, (list, tuple)):
        if depth >= MAX_DEPTH:
            raise PayloadError(f"{path[:80]} is nested more than {MAX_DEPTH} levels deep; flatten it")
        return [_clean(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
    if isinstance(value, (datetime, date)):
        is_a_moment = value == value  # pandas.NaT is a datetime that equals nothing
        return _clean(value.isoformat(), path, depth) if is_a_moment else _refuse(value, path)
    if isinstance(value, uuid.UUID):
        return str(value)
    return _refuse(value, path)


def _from_numpy(value: np.generic[Any], path: str) -> Any:
    if isinstance(value, np.datetime64):
        if np.isnat(value):
            raise PayloadError(f"{path} is NaT; leave it out or store None")
        return iso_datetime64(value)
    converted = value.item()
    return _refuse(value, path) if isinstance(converted, np.generic) else converted


def _refuse(value: Any, path: str) -> Any:
    raise PayloadError(
        f"{path} is a {type(value).__name__}, which JSON cannot hold; store a string, a number, a bool, None, a list "
        "or a dict"
    )
