"""Conditions on metadata, aimed at the payload of another tool's layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from qdrant_client import models

from searchkit.collection.backends import client_filters
from searchkit.collection.filters import All, AnyOf, Condition, Exists, InRange, Not, parse_filter
from searchkit.collection.layouts import Layout, top_segment
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


def unseen_beside(raw: object, layout: Layout) -> frozenset[str]:
    """Return the keys of a dict filter that are looked for in the metadata object alone, and may lie beside it."""
    if not layout.metadata_root or not isinstance(raw, Mapping):
        return frozenset()
    return frozenset(_top_keys(parse_filter(raw))) - layout.beside_keys - layout.hidden_keys


def _top_keys(condition: Condition) -> Iterator[str]:
    if isinstance(condition, AnyOf | InRange | Exists):
        yield top_segment(condition.path.partition(".")[2]).strip('"')
        return
    for part in [condition.condition] if isinstance(condition, Not) else condition.conditions:
        yield from _top_keys(part)


def _leaf(condition: AnyOf | InRange | Exists, layout: Layout) -> models.Filter:
    _, _, path = condition.path.partition(".")
    inside = _at(layout.filter_path(path), condition)
    top = top_segment(path)
    if top.strip('"') not in layout.beside_keys:
        return inside
    # As `Layout.metadata_of` reads it: the key beside counts where the metadata object has no value for it. A "not"
    # around this is its exact opposite, and takes in nothing that the key beside rules out.
    is_empty = models.IsEmptyCondition(is_empty=models.PayloadField(key=layout.filter_path(top)))
    return models.Filter(should=[inside, models.Filter(must=[is_empty, _at(path, condition)])])


def _at(path: str, condition: AnyOf | InRange | Exists) -> models.Filter:
    root, _, _ = condition.path.partition(".")
    if root == FLAGS and isinstance(condition, AnyOf):
        # Ours mirror their bools as strings; other tools store the bools alone.
        matches = [models.MatchValue(value=value == "true") for value in condition.values]
        return models.Filter(should=[models.FieldCondition(key=path, match=match) for match in matches])
    if root != METADATA:
        raise AssertionError(f"a condition of ours starts with {METADATA!r}, not {root!r}")
    return client_filters.render(replace(condition, path=path))
