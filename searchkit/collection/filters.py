r"""The filter language of ``search``: a dict of metadata keys, parsed into conditions that every backend renders.

    {"lang": "en"}                       equals (string, number, bool, date); an array matches by any element
    {"lang": ["en", "de"]}               any of
    {"year": {"gte": 2020, "lt": 2024}}  ranges on numbers, dates and ISO strings
    {"lang": {"not": "en"}}              not: a value, a list, or operators; passages without the key match
    {"url": {"exists": True}}            has a value (null and [] are none)
    {"author.name": "Ada"}               nested keys; "tags[].name" looks into a list of objects; "\"a.b\"" is one key
    {"$or": [{...}, {...}]}              at least one of these filters holds; also "$and", and "$not": {...}

Several keys, and several operators of one key, must all hold. Pure: no vendor is imported here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timezone
from typing import Any

import numpy as np

from searchkit.collection.metadata import iso_datetime64
from searchkit.collection.schema import FLAGS, METADATA, WINDOW_INDEX
from searchkit.errors import ConfigError

OPERATORS = ("any", "exists", "gt", "gte", "lt", "lte", "not")
_BOUNDS = ("gte", "gt", "lte", "lt")
_SEGMENT = re.compile(r'(?:"([^"\\\ud800-\udfff]+)"|([^."\[\]\\\ud800-\udfff]+))((?:\[\d{0,9}\])*)')
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
_EXACT_INTEGERS = 2**53
_GROUPS, _DEEPEST_GROUP = ("$and", "$or", "$not"), 32
_MOST_RANGES = 64
"""Lists of more integers than this are matched as integers only: 3 in the list does not find a stored 3.0."""


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The value at ``path``, or an element of it, is one of ``values``: all strings or all integers."""

    path: str
    values: tuple[str, ...] | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class InRange:
    """The value at ``path`` lies within the bounds: all numbers, or all datetimes with a time zone."""

    path: str
    gte: float | datetime | None = None
    gt: float | datetime | None = None
    lte: float | datetime | None = None
    lt: float | datetime | None = None

    @property
    def is_datetime(self) -> bool:
        """Whether the bounds are datetimes."""
        return any(isinstance(bound, datetime) for bound in (self.gte, self.gt, self.lte, self.lt))


@dataclass(frozen=True, slots=True)
class Exists:
    """There is a value at ``path``."""

    path: str


@dataclass(frozen=True, slots=True)
class Not:
    """The condition does not hold."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class All:
    """Every condition holds."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """At least one condition holds."""

    conditions: tuple[Condition, ...]


Condition = AnyOf | InRange | Exists | Not | All | Some

IS_FIRST_WINDOW: Condition = Not(InRange(WINDOW_INDEX, gt=0))
"""Holds for exactly one point of every passage."""


def parse_filter(raw: Mapping[Any, Any]) -> All:
    """Return the conditions of a filter in the dict language.

    Raises:
        ConfigError: The filter has an unknown operator, an unusable key or an unusable value.
    """
    return _parsed(raw, 0)


def _parsed(raw: Mapping[Any, Any], depth: int) -> All:
    if depth > _DEEPEST_GROUP:
        raise ConfigError(f"a filter has groups in groups more than {_DEEPEST_GROUP} levels deep; flatten it")
    return All(
        tuple(
            _group(key, value, depth) if isinstance(key, str) and key.startswith("$") else _field(key, value)
            for key, value in raw.items()
        )
    )


def _group(name: str, parts: object, depth: int) -> Condition:
    if name not in _GROUPS:
        raise ConfigError(
            f"unknown group {name!r}; groups are {', '.join(_GROUPS)} (a metadata key of that name is quoted: "
            f"'\"{name}\"')"
        )
    if name == "$not":
        if not isinstance(parts, Mapping) or not parts:
            raise ConfigError(f"'$not' holds one filter, a dict with something in it, not {parts!r:.80}")
        return Not(_parsed(parts, depth + 1))
    is_usable = isinstance(parts, (list, tuple)) and parts and all(isinstance(one, Mapping) and one for one in parts)
    if not is_usable:
        raise ConfigError(f"{name!r} holds a list of filters, each a dict with something in it, not {parts!r:.80}")
    conditions = tuple(_parsed(one, depth + 1) for one in parts)  # type: ignore[attr-defined]
    return Some(conditions) if name == "$or" else All(conditions)


def payload_path(key: str, root: str = METADATA) -> str:
    """Return the payload path of a metadata key such as ``author.name``.

    Raises:
        ConfigError: The key is not a path.
    """
    segments = [root]
    position = 0
    while position <= len(key):
        match = _SEGMENT.match(key, position)
        if match is None or key[match.end() : match.end() + 1] not in {"", "."}:
            raise ConfigError(
                f"the filter key {key!a} is not a path of metadata keys; write 'a.b' for nested keys, 'a[].b' for "
                "lists of objects, and quote a key with other characters: '\"a.b\"'"
            )
        name = match.group(1) or match.group(2)
        segments.append((name if _PLAIN_KEY.fullmatch(name) else f'"{name}"') + match.group(3))
        position = match.end() + 1
    return ".".join(segments)


@dataclass(frozen=True, slots=True)
class _Key:
    """A metadata key with its paths in the payload."""

    name: str
    path: str
    flag_path: str


def _field(key: object, value: object) -> Condition:
    if not isinstance(key, str):
        raise ConfigError(f"a filter's keys are metadata keys, strings, not {type(key).__name__}: {key!r}")
    names = _Key(key, payload_path(key), payload_path(key, FLAGS))
    return _operators(names, value) if isinstance(value, Mapping) else _matches(names, value)


def _operators(key: _Key, raw: Mapping[Any, Any]) -> Condition:
    unknown = [name for name in raw if name not in OPERATORS]
    if unknown or not raw:
        wrong = f"unknown operator {unknown[0]!r}" if unknown else "no operator"
        raise ConfigError(
            f"the filter for {key.name!r} has {wrong}; operators are {', '.join(OPERATORS)} "
            f"(a nested key is written '{key.name}.inner')"
        )
    conditions: list[Condition] = []
    bounds = {name: raw[name] for name in _BOUNDS if name in raw}
    if bounds:
        conditions.append(_range(key, bounds))
    conditions.extend(_OPERATIONS[name](key, raw[name]) for name in ("any", "not", "exists") if name in raw)
    return conditions[0] if len(conditions) == 1 else All(tuple(conditions))


def _not(key: _Key, value: object) -> Condition:
    if isinstance(value, Mapping) and "not" in value:
        raise ConfigError(f"the filter for {key.name!r} has 'not' inside 'not'; write what shall hold instead")
    return Not(_operators(key, value) if isinstance(value, Mapping) else _matches(key, value))


def _exists(key: _Key, value: object) -> Condition:
    if not isinstance(value, bool):
        raise ConfigError(f"'exists' of {key.name!r} is True or False, not {value!r}")
    return Exists(key.path) if value else Not(Exists(key.path))


def _any(key: _Key, value: object) -> Condition:
    if not _is_list(value):
        raise ConfigError(f"'any' of {key.name!r} is a list of values, not {value!r}")
    return _matches(key, value)


_OPERATIONS = {"any": _any, "not": _not, "exists": _exists}


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple, set, frozenset, np.ndarray))


def _matches(key: _Key, value: Any) -> Condition:
    if not _is_list(value):
        return _any_of(key, [value])
    as_python = isinstance(value, np.ndarray) and value.dtype.kind != "M"  # tolist() makes integers of nanoseconds
    return _any_of(key, value.tolist() if as_python else list(value))


def _any_of(key: _Key, values: list[Any]) -> Condition:
    strings: list[str] = []
    flags: list[str] = []
    integers: list[int] = []
    ranges: list[Condition] = []
    for given in values:
        value = given.item() if isinstance(given, np.generic) and not isinstance(given, np.datetime64) else given
        if isinstance(value, str):
            strings.append(_checked_string(key, value))
        elif isinstance(value, bool):
            flags.append("true" if value else "false")
        elif isinstance(value, int) and (len(values) > _MOST_RANGES or abs(value) > _EXACT_INTEGERS):
            integers.append(_checked_integer(key, value))
        else:
            point = _bound(key, "equals", value)
            ranges.append(InRange(key.path, gte=point, lte=point))
    if integers:
        ranges.append(AnyOf(key.path, tuple(integers)))
    if flags:
        ranges.append(AnyOf(key.flag_path, tuple(flags)))
    if strings or not ranges:
        ranges.append(AnyOf(key.path, tuple(strings)))
    return ranges[0] if len(ranges) == 1 else Some(tuple(ranges))


def _checked_string(key: _Key, value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"the filter for {key.name!r} holds a lone surrogate: {value!a}; remove it") from None
    return str(value)


def _checked_integer(key: _Key, value: int) -> int:
    if not -(2**63) <= value < 2**63:
        raise ConfigError(f"the filter for {key.name!r} holds {value}; integers have 64 bits")
    return int(value)


def _range(key: _Key, raw: Mapping[str, Any]) -> Condition:
    bounds = {name: _bound(key, name, value) for name, value in raw.items()}
    if len({isinstance(bound, datetime) for bound in bounds.values()}) > 1:
        raise ConfigError(f"the bounds of {key.name!r} are numbers and dates at once: {dict(raw)!r}; use one kind")
    return InRange(key.path, **bounds)


def _bound(key: _Key, name: str, given: Any) -> float | datetime:
    value = _from_numpy(given) if isinstance(given, np.generic) else given
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if abs(value) < 2**63 and math.isfinite(value):
            return value
    elif isinstance(value, datetime):
        return _with_zone(value)
    elif isinstance(value, date):
        return datetime.combine(value, time(), timezone.utc)
    elif isinstance(value, str):
        parsed = _parsed_datetime(value)
        if parsed is not None:
            return parsed
    hint = "use {'exists': False} for a missing value" if value is None else "use a number, a date or an ISO string"
    raise ConfigError(f"{name!r} of {key.name!r} cannot be {given!r} ({type(given).__name__}); {hint}")


def _from_numpy(value: np.generic[Any]) -> Any:
    return iso_datetime64(value) if isinstance(value, np.datetime64) else value.item()


def _parsed_datetime(value: str) -> datetime | None:
    try:
        return _with_zone(read_datetime(value.strip()))
    except ValueError:
        return None


def read_datetime(text: str) -> datetime:
    """Return the moment that an ISO string names; a ``ValueError`` if it names none."""
    return datetime.fromisoformat(f"{text[:-1]}+00:00" if text[-1:] in {"Z", "z"} else text)  # 3.10 reads no final Z


def _with_zone(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        return moment.replace(tzinfo=timezone.utc)
    try:
        return moment.astimezone(timezone.utc)
    except OverflowError:
        raise ConfigError(
            f"{moment.isoformat()} lies outside the years 1 to 9999 in UTC; use a later or earlier date"
        ) from None
