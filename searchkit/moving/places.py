"""Where collections lie, and what can be told of one without a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from searchkit.collection.backends.base import Backend
from searchkit.collection.manifest import Manifest
from searchkit.collection.opening import open_backend
from searchkit.config import SearchKitConfig
from searchkit.errors import CollectionError, ConfigError


@dataclass(frozen=True, slots=True)
class Location:
    """Where a collection lies: exactly one of ``path``, ``url`` and ``client``.

    Attributes:
        collection: Its name.
        path: Folder of the embedded engine.
        url: Address of a Qdrant server.
        client: A ``QdrantClient``; it is never closed here.
        api_key: Key for ``url``.
    """

    collection: str
    path: str | Path | None = None
    url: str | None = None
    client: Any = None
    api_key: str | None = None

    def __repr__(self) -> str:
        place = next((one for one in (self.path, self.url, self.client) if one is not None), None)
        return f"Location({self.collection!r}, {place!r})"


def stored_manifest(place: Location, config: SearchKitConfig) -> Manifest | None:
    """Return what a collection was made with, without opening it; ``None`` if it does not exist."""
    with opened(place, config) as backend:
        return backend.find_manifest()


def point_count(place: Location, config: SearchKitConfig) -> int:
    """Return how many points a collection has.

    Raises:
        CollectionError: It does not exist, or cannot be opened.
    """
    with opened(place, config) as backend:
        if backend.find_manifest() is None:
            raise missing(place)
        backend.open()
        return backend.count(None)


def missing(place: Location) -> CollectionError:
    """Return the error for a place where nothing is."""
    return CollectionError(f"{place!r} does not exist; check its name and place")


@contextmanager
def opened(place: Location, config: SearchKitConfig) -> Iterator[Backend]:
    """Yield the engine of a place, with nothing read yet, and close it.

    Raises:
        ConfigError: It is no place.
    """
    if not isinstance(place, Location):
        raise ConfigError(
            f"a place is a Location, not {type(place).__name__} ({place!r:.80}); write "
            "Location('handbook', path='.searchkit')"
        )
    backend = open_backend(
        place.collection, path=place.path, url=place.url, client=place.client, api_key=place.api_key, config=config
    )
    try:
        yield backend
    finally:
        backend.close()
