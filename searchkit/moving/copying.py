"""A collection from one engine to another: the points as they are, vectors included, checked on arrival.

The copy is marked unfinished until it was compared with its source, so that nobody opens a part of it. An interrupted
copy is finished by making it again: what has arrived is compared and kept, what is stale is replaced or deleted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from searchkit.collection.backends.base import Backend, Point
from searchkit.collection.filters import IS_FIRST_WINDOW
from searchkit.collection.manifest import Manifest, check_manifest
from searchkit.collection.notes import check_finished
from searchkit.config import SearchKitConfig
from searchkit.errors import CollectionError, ConfigError
from searchkit.moving.checksum import Checksum, content_digest
from searchkit.moving.places import Location, missing, opened, stored_manifest
from searchkit.types import Frozen

OnProgress = Callable[[int], None]

_VECTOR_TOLERANCE = 1e-5
"""Engines scale a unit vector to unit length once more, which moves its last bits."""


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
        raise missing(source)
    settings = settings.model_copy(
        update={"vector_name": manifest.dense_vector, "sparse_vector_name": manifest.sparse_vector}
    )
    with opened(source, settings) as origin, opened(target, settings) as goal:
        origin.find_manifest()
        stored = goal.find_manifest()
        if origin.address == goal.address:
            raise ConfigError(f"source and target are both {origin.location}; give the target another name or place")
        check_finished(origin.notes(), "", origin.location)
        origin.open()
        copy = _Copy(origin, goal, advance, f"copy of {source.collection!r}")
        return copy.run(manifest, stored, started)


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

    def run(self, manifest: Manifest, stored: Manifest | None, started: float) -> CopyReport:
        """Write, compare, and only then let others open the target; one that is complete already is left as it is."""
        is_empty = self._open_goal(manifest, stored)
        made = None if is_empty or self.goal.notes().unfinished else self._found_equal()
        made = made or self._made(is_empty=is_empty)
        return CopyReport(
            passages=self.goal.count(self.goal.render(IS_FIRST_WINDOW)),
            points=made.count,
            copied=self.copied,
            kept=self.kept,
            checksum=f"{made.value:032x}",
            seconds=time.perf_counter() - started,
        )

    def _open_goal(self, manifest: Manifest, stored: Manifest | None) -> bool:
        """Create the target, or open what is there; return whether it is empty."""
        goal = self.goal
        is_new = stored is None
        if stored is None:
            stored = goal.create(manifest, self.purpose)
            goal.find_manifest()
        self._check_same(stored, manifest)
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

    def _found_equal(self) -> Checksum | None:
        """Return the checksum of a finished target that is equal; ``None`` if nothing but dense vectors differs.

        The target is not marked meanwhile: it may be in use, and an interruption must not take it away.
        """
        found, is_equal, count = Checksum(), True, self.goal.count(None)
        for page in self.origin.read_all() if self.origin.count(None) == count else ():
            found.add(page)
            there = self.goal.read([point.id for point in page])
            is_equal = is_equal and all(_is_same(point, there.get(point.id)) for point in page)
        if count != found.count or not (is_equal or _checksum_of(self.goal) == found):
            raise CollectionError(
                f"{self.goal.location} holds {count} points and is no earlier part of this copy; copy to another "
                "name, or delete it"
            )
        if not is_equal:
            return None
        self.kept = found.count
        self.advance(2 * found.count)
        return found

    def _made(self, *, is_empty: bool) -> Checksum:
        """Make the target equal, marked as unfinished until it was compared; return the checksum."""
        self.goal.note(self.goal.notes().model_copy(update={"unfinished": self.purpose}))
        expected = self._write_all(is_new=is_empty)
        self._compare(expected)
        self.goal.note(self.goal.notes().model_copy(update={"unfinished": ""}))
        return expected

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
