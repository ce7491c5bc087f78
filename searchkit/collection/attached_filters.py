"""Conditions on metadata, aimed at the payload of another tool's layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from qdrant_client import models

from searchkit.collection.backends import client_filters
from searchkit.collection.filters import All, AnyOf, Condition, Exists, InRange, Not, parse_filter
from searchkit.collection.layouts import Layout
from searchkit.collection.schema import FLAGS, METADATA


def native_filter(raw: object, layout: Layout) -> models.Filter | None:
    """Return a filter of the caller's as qdrant-client takes it.

    Args:
        raw: The dict language of ``search``, whose keys are metadata keys; a ``models.Filter``, taken as it is; or
            ``None``.
        layout: Where the metadata lies.

    Raises:
        ConfigError: The filter is neither, or says something impossible.
    """
    if raw is None:
        return None
    if not isinstance(raw, Mapping):
        return client_filters.accept(raw)
    return rendered(parse_filter(raw), layout) if raw else None


def rendered(condition: Condition, layout: Layout) -> models.Filter:
    """Return a condition of ours on the metadata of another tool's payloads."""
    if isinstance(condition, Not):
        return models.Filter(must_not=[rendered(condition.condition, layout)])
    if isinstance(condition, AnyOf | InRange | Exists):
        return _leaf(condition, layout)
    parts: list[Any] = [rendered(part, layout) for part in condition.conditions]
    return models.Filter(must=parts) if isinstance(condition, All) else models.Filter(should=parts)


def _leaf(condition: AnyOf | InRange | Exists, layout: Layout) -> models.Filter:
    root, _, key = condition.path.partition(".")
    path = layout.filter_path(key)
    if root == FLAGS and isinstance(condition, AnyOf):
        # Ours mirror their bools as strings; other tools store the bools alone.
        matches = [models.MatchValue(value=value == "true") for value in condition.values]
        return models.Filter(should=[models.FieldCondition(key=path, match=match) for match in matches])
    if root != METADATA:
        raise AssertionError(f"a condition of ours starts with {METADATA!r}, not {root!r}")
    return client_filters.render(replace(condition, path=path))
