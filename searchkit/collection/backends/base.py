"""What stage 1 needs of a vector engine: a small protocol, point ids as 128-bit integers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from searchkit.collection.backends.kept import Kept
from searchkit.collection.filters import Condition
from searchkit.collection.manifest import Manifest
from searchkit.collection.notes import Notes
from searchkit.config import FilterFieldType, SearchKitConfig
from searchkit.stages import SparseVector

SCAN_PAGE = 1000
"""Points read at once where all or many are read."""


@dataclass(frozen=True, slots=True)
class Point:
    """One window, ready to be stored.

    Attributes:
        id: Point id.
        dense: The dense vector; numbers that float32 holds exactly.
        sparse: The sparse vector; ``None`` for a text of stopwords.
        payload: JSON values.
    """

    id: int
    dense: Sequence[float]
    sparse: SparseVector | None
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LegQuery:
    """A search in one of the two vectors.

    Attributes:
        vector: A dense vector as a list, or a sparse one.
        limit: Points to return at most.
        filter: A filter as the backend's `Backend.render` or `Backend.accept` returned it.
        corpus: A filter like it: the points over which BM25 counts how rare a word is; ``None`` means all.
    """

    vector: list[float] | SparseVector
    limit: int
    filter: Any
    corpus: Any = None


class Backend(Protocol):
    """A collection in one engine. Calls are safe from several threads.

    Every method may raise ``CollectionError`` or ``RetrievalError``, never a vendor's exception. Methods that read or
    write points are called after `open`.
    """

    @property
    def location(self) -> str:
        """Where the collection lies, for messages."""

    @property
    def is_read_only(self) -> bool:
        """Whether writing is impossible."""

    @property
    def name(self) -> str:
        """Name of the collection that is used: another one than was asked for, where one took its place."""

    @property
    def address(self) -> tuple[object, str]:
        """Store and name of the collection that is used; equal where two objects have one, however it was spelled."""

    def find_manifest(self) -> Manifest | None:
        """Return what the collection was made with; ``None`` if it does not exist.

        Where another collection took its place, that one is used from now on.
        """

    def notes(self) -> Notes:
        """Return what was noted on the collection that is used when `find_manifest` found it, or by `note` since."""

    def note(self, notes: Notes) -> None:
        """Replace the notes on the collection that is used, in one step."""

    def leads_to(self) -> str:
        """Return the collection that whoever opens the name that was asked for gets now."""

    def switch_to(self, successor: str) -> None:
        """Make whoever opens the name that was asked for get the collection ``successor`` from now on, in one step."""

    def sibling(self, name: str, config: SearchKitConfig) -> Backend:
        """Return the collection of the same store that has exactly this name; close it as well."""

    def drop(self) -> None:
        """Delete the collection with all it holds; if another one took its place, what leads there stays.

        Raises:
            CollectionError: Somebody has it open, where the engine can tell.
        """

    def refuse_if_dropped(self) -> None:
        """Refuse the open collection if it was dropped since: reads would find nothing, and writes nobody.

        Raises:
            CollectionError: It was.
        """

    def open(self) -> None:
        """Make the collection ready for reading and writing; it exists. May be repeated."""

    def create(self, manifest: Manifest, unfinished: str = "") -> Manifest:
        """Create the collection and return its manifest: the given one, or that of whoever was faster.

        Args:
            manifest: What it is made with.
            unfinished: What is being made of it, if nobody else may open it before it is finished.
        """

    def writing(self) -> AbstractContextManager[None]:
        """Enclose writes; what was written is durable when the context ends. May be nested."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Keep the other writers of this process out, between looking up what is there and writing."""

    def upsert(self, points: Sequence[Point], added: Sequence[int]) -> None:
        """Store points in order; ``added`` are the ids of those that were not there."""

    def delete(self, points: Sequence[int]) -> None:
        """Delete points that are there."""

    def invalidate(self, points: Sequence[int]) -> None:
        """Empty the content hash of passages, given their first points: they count as changed until written again."""

    def patch(self, payloads: Mapping[int, Mapping[str, Any]]) -> None:
        """Set some payload fields of points that are there, in order, and leave the other fields as they are."""

    def existing(self, points: Sequence[int]) -> list[int]:
        """Return those of ``points`` that are there."""

    def fetch(self, points: Sequence[int], fields: Sequence[str] | None = None) -> dict[int, Mapping[str, Any]]:
        """Return the payloads, or some fields of them, of those ``points`` that are there."""

    def read(self, points: Sequence[int]) -> dict[int, Point]:
        """Return those of ``points`` that are there, whole."""

    def read_all(self) -> Iterator[list[Point]]:
        """Return all points, whole, page by page."""

    def query(self, legs: Sequence[LegQuery]) -> list[list[tuple[int, float]]]:
        """Return point ids and scores of each leg, best first."""

    def count(self, native: Any) -> int:
        """Return the number of points that match a rendered filter."""

    def scan(self, native: Any) -> Iterator[list[int]]:
        """Return the ids of all points that match a rendered filter, page by page."""

    def render(self, condition: Condition) -> Any:
        """Return a condition as the engine's own filter."""

    def accept(self, native: object) -> Any:
        """Return a filter object that the caller made with a vendor's classes as the engine's own filter.

        Raises:
            ConfigError: It is no such object, or the engine cannot run it.
        """

    def all_of(self, natives: Sequence[Any]) -> Any:
        """Return a filter that holds where each of several filters of the engine's own holds."""

    def index(self, fields: Mapping[str, FilterFieldType]) -> None:
        """Make sure that metadata fields are indexed, where the engine has indexes; cheap to repeat."""

    def kept(self, config: SearchKitConfig) -> Kept:
        """Return ``config`` with the filter fields and the storage that the engine tells of the open collection."""

    def optimize(self, *, wait: bool) -> bool:
        """Build the index; return whether anything was rebuilt, or without ``wait`` whether it is under way."""

    @property
    def is_optimizing(self) -> bool:
        """Whether that is under way in this process."""

    def close(self) -> None:
        """Release the collection; safe to call twice."""
