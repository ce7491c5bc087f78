"""Passages out of one collection into another one of the same store."""

from __future__ import annotations

from collections.abc import Iterator

from searchkit.collection.backends.base import Backend
from searchkit.collection.collection import Collection
from searchkit.collection.filters import IS_FIRST_WINDOW
from searchkit.collection.passages import Record, content_hash
from searchkit.collection.reading import read_passages
from searchkit.collection.schema import key_of
from searchkit.collection.scope import EVERYTHING
from searchkit.config import SearchKitConfig
from searchkit.stages import Encoder


def collection_beside(
    old: Collection, backend: Backend, encoder: Encoder | None, config: SearchKitConfig | None, purpose: str
) -> Collection:
    """Return a collection in ``backend``, made for ``purpose``, with the old one's parts where none are given."""
    return Collection(
        backend.name,
        backend,
        encoder or old.encoder,
        old.sparse_encoder,
        config or old.config,
        old.token_reader,
        purpose=purpose,
    )


def stored_records(collection: Collection) -> Iterator[Record]:
    """Return all passages as they would be written, under the keys of their scopes; in pages, nothing is kept.

    Raises:
        CollectionError: A passage is incomplete.
    """
    for page in _first_points(collection):
        for first, passage in read_passages(collection.backend, page, EVERYTHING, collection.location).items():
            if passage.id is not None:
                digest = content_hash(passage.text, passage.metadata)
                yield Record(passage.id, key_of(first), passage.text, passage.metadata, digest)


def prune(new: Collection, old: Collection) -> int:
    """Delete the passages of ``new`` that ``old`` does not have, and return how many there were."""
    pages = list(_first_points(new))
    return new.delete_passages(
        [first for page in pages for first in sorted(set(page).difference(old.backend.existing(page)))]
    )


def _first_points(collection: Collection) -> Iterator[list[int]]:
    return collection.backend.scan(collection.backend.render(IS_FIRST_WINDOW))
