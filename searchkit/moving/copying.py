"""A collection from one engine to another: the points as they are, vectors included, checked on arrival.

The copy is marked unfinished until it was compared with its source, so that nobody opens a part of it. An interrupted
copy is finished by making it again: what has arrived is compared and kept, what is stale is replaced or deleted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from searchkit.collection.backends.base import Backend, Point
from searchkit.collection.filters import IS_FIRST_WINDOW
from searchkit.collection.manifest import Manifest, check_manifest
from searchkit.collection.notes import check_finished
from searchkit.collection.opening import open_backend
from searchkit.config import SearchKitConfig
from searchkit.errors import CollectionError, ConfigError
from searchkit.moving.checksum import Checksum, content_digest
from searchkit.types import Frozen

OnProgress = Callable[[int], None]

_VECTOR_TOLERANCE = 1e-5
"""Engines scale a unit vector to unit length once more, which moves its last bits."""


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


class CopyReport(Frozen):
    """What one copy did.

    Attributes:
        passages: Passages in the copy.
        points: Points in the copy; a long passage has several.
        copied: Points that were written.
        kept: Points that were there from an earlier part of the same copy.
        checksum: Checksum of ids, texts, metadata and BM25 vectors, the same for source and copy; hexadecimal.
        seconds: Wall-clock time of the call.
    """

    passages: int
    points: int
    copied: int
    kept: int
    checksum: str
    seconds: float


def copy_collection(
    source: Location,
    target: Location,
    *,
    config: SearchKitConfig | None = None,
    on_progress: OnProgress | None = None,
) -> CopyReport:
    """Copy a collection with its vectors and its manifest; nothing is encoded again.

    Streamed in pages. Interrupted, it is finished by the same call. Points that are written to the source meanwhile
    make the final comparison fail, and the next call brings them over.

    Args:
        source: What is copied; not changed.
        target: Where to; missing, empty, or an earlier part of the same copy.
        config: Index, filter fields and storage of the target, and connection of both; names of vectors and windows
            are the source's.
        on_progress: Gets the number of points finished since its last call; each counts twice, copied and compared.

    Raises:
        ConfigError: Source and target are one place, or a place is not one.
        CollectionError: The source is missing or unfinished, the target holds something else, or the copy is not equal
            to the source afterwards.
    """
    started = time.perf_counter()
    advance = on_progress or (lambda _: None)
    settings = config or SearchKitConfig()
    manifest = stored_manifest(source, settings)
    if manifest is None:
        raise _missing(source)
    settings = settings.model_copy(
        update={"vector_name": manifest.dense_vector, "sparse_vector_name": manifest.sparse_vector}
    )
    with _opened(source, settings) as origin, _opened(target, settings) as goal:
        if origin.location == goal.location:
            raise ConfigError(f"source and target are both {origin.location}; give the target another name or place")
        origin.find_manifest()
        check_finished(origin.notes(), "", origin.location)
        origin.open()
        copy = _Copy(origin, goal, advance, f"copy of {source.collection!r}")
        return copy.run(manifest, started)


def stored_manifest(place: Location, config: SearchKitConfig) -> Manifest | None:
    """Return what a collection was made with, without opening it; ``None`` if it does not exist."""
    with _opened(place, config) as backend:
        return backend.find_manifest()


def point_count(place: Location, config: SearchKitConfig) -> int:
    """Return how many points a collection has.

    Raises:
        CollectionError: It does not exist, or cannot be opened.
    """
    with _opened(place, config) as backend:
        if backend.find_manifest() is None:
            raise _missing(place)
        backend.open()
        return backend.count(None)


def _missing(place: Location) -> CollectionError:
    return CollectionError(f"{place!r} does not exist; check its name and place")


@contextmanager
def _opened(place: Location, config: SearchKitConfig) -> Iterator[Backend]:
    backend = open_backend(
        place.collection, path=place.path, url=place.url, client=place.client, api_key=place.api_key, config=config
    )
    try:
        yield backend
    finally:
        backend.close()


@dataclass(slots=True)
class _Copy:
    """One copy on its way.

    Attributes:
        origin: The source, open.
        goal: The target.
        advance: Told of every point twice.
        purpose: What the target is marked with until it is complete.
    """

    origin: Backend
    goal: Backend
    advance: OnProgress
    purpose: str
    copied: int = 0
    kept: int = 0

    def run(self, manifest: Manifest, started: float) -> CopyReport:
        """Write, compare, and only then let others open the target."""
        is_new = self._prepare(manifest)
        expected = self._write_all(is_new=is_new)
        self._compare(expected)
        self.goal.note(self.goal.notes().model_copy(update={"unfinished": ""}))
        return CopyReport(
            passages=self.goal.count(self.goal.render(IS_FIRST_WINDOW)),
            points=expected.count,
            copied=self.copied,
            kept=self.kept,
            checksum=f"{expected.value:032x}",
            seconds=time.perf_counter() - started,
        )

    def _prepare(self, manifest: Manifest) -> bool:
        """Create or open the target and mark it unfinished; return whether it is empty."""
        goal = self.goal
        stored = goal.find_manifest()
        is_new = stored is None
        if stored is None:
            stored = goal.create(manifest, self.purpose)
            goal.find_manifest()
        self._check_same(stored, manifest)
        if not goal.notes().unfinished:
            goal.open()
            if goal.count(None) and not self._is_same_already():
                raise CollectionError(
                    f"{goal.location} holds {goal.count(None)} points and is no earlier part of this copy; copy to "
                    "another name, or delete it"
                )
            goal.note(goal.notes().model_copy(update={"unfinished": self.purpose}))
        check_finished(goal.notes(), self.purpose, goal.location)
        goal.open()
        return is_new or not goal.count(None)

    def _check_same(self, stored: Manifest, wanted: Manifest) -> None:
        try:
            check_manifest(stored, wanted, self.goal.location)
        except CollectionError as error:
            raise CollectionError(
                f"{self.goal.location} holds another collection than {self.origin.location}; copy to another name, or "
                f"delete it ({error})"
            ) from error

    def _is_same_already(self) -> bool:
        """Whether an earlier copy is complete and still equal; then making it again is no error."""
        if self.origin.count(None) != self.goal.count(None):
            return False
        return _checksum_of(self.origin) == _checksum_of(self.goal)

    def _write_all(self, *, is_new: bool) -> Checksum:
        """Bring every point over that the target lacks; return the checksum of all of them."""
        total = Checksum()
        with self.goal.writing():
            for page in self.origin.read_all():
                total.add(page)
                there = {} if is_new else self.goal.read([point.id for point in page])
                missing = [point for point in page if not _is_same(point, there.get(point.id))]
                if missing:
                    self.goal.upsert(missing, [point.id for point in missing if point.id not in there])
                self.copied += len(missing)
                self.kept += len(page) - len(missing)
                self.advance(len(page))
            if not is_new:
                self._delete_stale()
        return total

    def _delete_stale(self) -> None:
        for page in list(self.goal.scan(None)):
            gone = sorted(set(page).difference(self.origin.existing(page)))
            if gone:
                self.goal.delete(gone)

    def _compare(self, expected: Checksum) -> None:
        """Read the target back and compare it with the source.

        Raises:
            CollectionError: They differ.
        """
        found = Checksum()
        for page in self.goal.read_all():
            found.add(page)
            originals = self.origin.read([point.id for point in page])
            if not all(_is_same(point, originals.get(point.id)) for point in page):
                raise self._differs("points with other contents")
            self.advance(len(page))
        if found != expected or self.origin.count(None) != expected.count:
            raise self._differs(f"{found.count} points (checksum {found.value:032x}) for {expected.count}")

    def _differs(self, what: str) -> CollectionError:
        return CollectionError(
            f"{self.goal.location} is not equal to {self.origin.location} after the copy: {what}; the source was "
            "written to meanwhile, or the target is damaged. Run the same copy again: it brings over what is missing"
        )


def _checksum_of(backend: Backend) -> Checksum:
    total = Checksum()
    for page in backend.read_all():
        total.add(page)
    return total


def _is_same(point: Point, other: Point | None) -> bool:
    if other is None or content_digest(point) != content_digest(other):
        return False
    return _are_close(point.dense, other.dense)


def _are_close(vector: Sequence[float], other: Sequence[float]) -> bool:
    if len(vector) != len(other):
        return False
    difference = np.asarray(vector, dtype=np.float32) - np.asarray(other, dtype=np.float32)
    return bool(np.abs(difference).max(initial=0.0) <= _VECTOR_TOLERANCE)
