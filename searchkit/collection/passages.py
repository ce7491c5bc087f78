"""What a caller may hand in as a passage, checked and brought into one form."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from searchkit.collection.declared import check_declared
from searchkit.collection.filter_form import holds_for_all
from searchkit.collection.filters import parse_filter
from searchkit.collection.metadata import clean_metadata, text_fault
from searchkit.collection.schema import derived_id
from searchkit.collection.scope import EVERYTHING, Scope
from searchkit.config import FilterFieldType
from searchkit.errors import ConfigError, PayloadError
from searchkit.types import Passage, PassageId

MAX_ID = 2**63 - 1
MAX_ID_CHARS = 4096
_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False)
_NO_METADATA: Mapping[Any, Any] = {}


@dataclass(frozen=True, slots=True)
class Record:
    """A passage ready to be written.

    Attributes:
        id: The caller's id, or the one derived from the text.
        key: Passage key, see `searchkit.collection.schema`.
        text: The text.
        metadata: JSON values only; not shared with the caller's object.
        hash: Digest of text and metadata.
    """

    id: PassageId
    key: int
    text: str
    metadata: dict[str, Any]
    hash: str


def read_record(
    item: object,
    max_chars: int,
    scope: Scope = EVERYTHING,
    declared: Mapping[str, FilterFieldType] = _NO_METADATA,
) -> Record:
    """Return ``item`` as a record.

    Args:
        item: A string, a mapping with ``text`` and optionally ``id`` and ``metadata``, or a `Passage`. Every other
            key of a mapping is metadata.
        max_chars: Longest text that is accepted.
        scope: What the passage is written through.
        declared: Kinds of metadata fields that have an index.

    Raises:
        PayloadError: The passage cannot be indexed.
    """
    given_id: object
    text: object
    raw: Mapping[Any, Any]
    if isinstance(item, str):
        given_id, text, raw = None, item, _NO_METADATA
    elif isinstance(item, Passage):
        given_id, text, raw = item.id, item.text, item.metadata
    elif isinstance(item, Mapping):
        given_id, text, raw = _parts(item)
    else:
        raise PayloadError(
            f"a passage is a string, a mapping with 'text', or a Passage, not {type(item).__name__}: {_shown(item)}"
        )
    checked = _checked_text(text, max_chars, given_id)
    passage_id = derived_id(checked) if given_id is None else checked_id(given_id)
    try:
        metadata = scope.stamp(clean_metadata(raw))
        check_declared(metadata, declared)
    except PayloadError as error:
        raise PayloadError(f"passage {passage_id!r}: {error}") from error
    return Record(passage_id, scope.key(passage_id), checked, metadata, content_hash(checked, metadata))


def content_hash(text: str, metadata: Mapping[str, Any]) -> str:
    """Return a digest of text and metadata that does not depend on the order of keys."""
    digest = hashlib.blake2b(text.encode(), digest_size=12)
    if metadata:
        digest.update(b"\0" + _CANONICAL.encode(metadata).encode())
    return digest.hexdigest()


def checked_id(value: object) -> PassageId:
    """Return a passage id if it can be one.

    Raises:
        PayloadError: It is not a non-empty string or an integer from 0 to 2**63 - 1.
    """
    if isinstance(value, np.integer):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise PayloadError(
            f"an id is a string or an integer, not {type(value).__name__}: {_shown(value)}; pass str(id) instead"
        )
    if isinstance(value, int):
        if not 0 <= value <= MAX_ID:
            raise PayloadError(f"an integer id lies between 0 and 2**63 - 1, not {value}; pass str(id) instead")
        return int(value)
    if not value or len(value) > MAX_ID_CHARS:
        raise PayloadError(f"a string id has 1 to {MAX_ID_CHARS} characters, not {len(value)}")
    fault = text_fault(value)
    if fault:
        raise PayloadError(f"the id {_shown(value)} {fault}")
    return str(value)


def checked_ids(ids: object) -> list[PassageId]:
    """Return a list of passage ids, each checked.

    Raises:
        PayloadError: ``ids`` is not an iterable of ids.
    """
    if isinstance(ids, (str, bytes, Mapping)) or not isinstance(ids, Iterable):
        raise PayloadError(f"ids is a list of ids, not {type(ids).__name__}: {_shown(ids)}; write ids=[...]")
    return [checked_id(value) for value in ids]


def check_selection(ids: object, condition: object) -> None:
    """Check that passages to be deleted are named by ids or by a filter that leaves some out.

    Raises:
        ConfigError: Both or neither are given, or the filter is empty or unusable.
    """
    if (ids is None) == (condition is None):
        raise ConfigError("give exactly one of ids and filter")
    if _is_empty(condition):
        raise ConfigError("an empty filter would delete every passage; name the passages by ids or by a filter")


def _is_empty(condition: object) -> bool:
    """Whether a filter lets everything through, as one does that was put together from lists that stayed empty."""
    if isinstance(condition, Mapping):
        return holds_for_all(parse_filter(condition))
    parts = [getattr(condition, name, None) for name in ("must", "should", "must_not", "min_should")]
    return hasattr(condition, "must_not") and not any(parts)


class RecordStream:
    """Checked records of an iterable, one by one, with the place of a bad one in the error.

    Iterating may be done once. A sequence is read twice, the first time only to check it, so that a bad passage at
    its end stops the call before anything is written.

    Args:
        passages: What the caller handed to ``add``.
        max_chars: Longest text that is accepted.
        scope: What the passages are written through.
        declared: Kinds of metadata fields that have an index.

    Raises:
        PayloadError: ``passages`` is a single passage, or a sequence with a bad one.
    """

    def __init__(
        self,
        passages: object,
        max_chars: int,
        scope: Scope = EVERYTHING,
        declared: Mapping[str, FilterFieldType] = _NO_METADATA,
    ) -> None:
        if isinstance(passages, (str, bytes, Mapping, Passage)) or not isinstance(passages, Iterable):
            raise PayloadError(
                f"passages is a list or another iterable of passages, not {type(passages).__name__}: "
                f"{_shown(passages)}; write add([passage])"
            )
        if hasattr(passages, "columns"):  # a table: going through one yields the names of its columns
            raise PayloadError(
                f"passages is a table ({type(passages).__name__}); pass its rows as dicts, in pandas"
                " frame.to_dict('records'), in polars frame.to_dicts()"
            )
        self._passages = passages
        self._max_chars = max_chars
        self._scope = scope
        self._declared = declared
        if isinstance(passages, Sequence):
            self._check_all()

    def __iter__(self) -> Iterator[Record]:
        return self._read()

    def _read(self) -> Iterator[Record]:
        for position, item in enumerate(self._passages):
            try:
                yield read_record(item, self._max_chars, self._scope, self._declared)
            except PayloadError as error:  # noqa: PERF203  # the error needs the position
                raise PayloadError(f"passage at position {position}: {error}") from error

    def _check_all(self) -> None:
        hashes: dict[int, str] = {}
        for position, record in enumerate(self._read()):
            if hashes.setdefault(record.key, record.hash) != record.hash:
                raise contradiction(record.id, position)


def contradiction(passage_id: PassageId, position: int | None = None) -> PayloadError:
    """Return the error for an id that came twice in one call with different contents."""
    place = "" if position is None else f"passage at position {position}: "
    return PayloadError(
        f"{place}the id {passage_id!r} came before in this call with another text or other metadata; "
        "give each passage its own id, or add the newer one in a second call"
    )


def _parts(item: Mapping[Any, Any]) -> tuple[object, object, Mapping[Any, Any]]:
    nested = item.get("metadata")
    if nested is not None and not isinstance(nested, Mapping):
        raise PayloadError(f"'metadata' is a mapping, not {type(nested).__name__}: {_shown(nested)}")
    raw = {key: value for key, value in item.items() if key not in {"id", "text", "metadata"}}
    if nested:
        twice = sorted(str(key) for key in raw.keys() & nested.keys())
        if twice:
            raise PayloadError(f"the keys {twice} are given twice, beside 'metadata' and inside it; give each once")
        raw.update(nested)
    if "text" not in item:
        raise PayloadError(f"a passage needs the key 'text'; this one has {sorted(map(str, item))}")
    return item.get("id"), item["text"], raw


def _checked_text(text: object, max_chars: int, given_id: object) -> str:
    name = "the text" if given_id is None else f"the text of {_shown(given_id)}"
    if not isinstance(text, str):
        raise PayloadError(f"{name} is a string, not {type(text).__name__}: {_shown(text)}")
    if len(text) > max_chars:
        raise PayloadError(
            f"{name} has {len(text)} characters, more than max_passage_chars={max_chars}; split it, or raise "
            "SearchKitConfig.ingest.max_passage_chars"
        )
    if not text or text.isspace():
        raise PayloadError(f"{name} is empty; leave such passages out")
    fault = text_fault(text)
    if fault:
        raise PayloadError(f"{name} {fault}")
    return str(text)


def _shown(value: object) -> str:
    shown = ascii(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
