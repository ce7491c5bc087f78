"""The embedded engine: qdrant-edge in this process, one folder a collection."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import qdrant_edge as edge

from searchkit.collection.backends.base import LegQuery, Point
from searchkit.collection.backends.embedded_filters import accept, render
from searchkit.collection.backends.embedded_indexes import stored_indexes
from searchkit.collection.backends.folder import CollectionFolder, collection_folder
from searchkit.collection.backends.folder_notes import drop_folder, read_folder_notes, write_folder_notes
from searchkit.collection.backends.kept import Kept, filter_fields_of
from searchkit.collection.backends.shard import SharedShard, acquire
from searchkit.collection.backends.store import engine_ids, integer_of
from searchkit.collection.filters import Condition
from searchkit.collection.manifest import Manifest
from searchkit.collection.notes import Notes
from searchkit.collection.schema import HASH
from searchkit.config import FilterFieldType, SearchKitConfig
from searchkit.errors import CollectionError
from searchkit.stages import SparseVector

_POINTS_PAGE = 256
"""Whole points read at once: 256 of 1,024 dimensions are a few megabytes."""


class EmbeddedBackend:
    """A collection in a folder. Several objects of one process share one open shard.

    Args:
        folder: Where the collection is or will be.
        config: Settings of the index, the vectors' names and the filter fields.
    """

    def __init__(self, folder: CollectionFolder, config: SearchKitConfig) -> None:
        self._folder = folder
        self._root, self._given_name = folder.path.parent, folder.path.name
        self._follows = True
        self._config = config
        self._shard: SharedShard | None = None
        self._release: weakref.finalize[..., EmbeddedBackend] | None = None
        self._is_closed = False
        self._lock = threading.Lock()

    @property
    def location(self) -> str:
        """The folder, for messages."""
        return f"the collection in {self._folder.path}"

    @property
    def is_read_only(self) -> bool:
        """Whether the settings say so."""
        return self._config.read_only

    @property
    def name(self) -> str:
        """Name of the folder that is used."""
        return self._folder.path.name

    @property
    def address(self) -> tuple[object, str]:
        """The folder behind all links."""
        return self._folder.path.resolve(), ""

    def find_manifest(self) -> Manifest | None:
        """Read the manifest from the folder, or from that of the collection which took its place."""
        with self._folder.mapped_os_errors():
            if not self._folder.is_there:
                return None
            successor = read_folder_notes(self._folder.path).successor if self._follows else ""
        if successor:
            before = self.location
            self._folder, self._follows = collection_folder(self._root, successor), False
            if not self._folder.is_there:
                raise CollectionError(f"{before} leads to {successor!r}, which is not there; restore it from a backup")
        with self._folder.mapped_os_errors():
            return self._folder.read_manifest()

    def create(self, manifest: Manifest, unfinished: str = "") -> Manifest:
        """Create the folder and write the manifest; the shard comes with `open`."""
        with self._folder.mapped_os_errors():
            if unfinished:
                self._folder.path.mkdir(parents=True, exist_ok=True)
                write_folder_notes(self._folder.path, Notes(unfinished=unfinished))
            return self._folder.create(manifest)

    def notes(self) -> Notes:
        """Read the notes from the folder."""
        with self._folder.mapped_os_errors():
            return read_folder_notes(self._folder.path)

    def note(self, notes: Notes) -> None:
        """Write the notes into the folder."""
        with self._folder.mapped_os_errors():
            write_folder_notes(self._folder.path, notes)

    def switch_to(self, successor: str) -> None:
        """Note the successor in the folder of the name that was asked for."""
        with self._folder.mapped_os_errors():
            root = self._root / self._given_name
            write_folder_notes(root, read_folder_notes(root).model_copy(update={"successor": successor}))

    def leads_to(self) -> str:
        """Read the notes in the folder of the name that was asked for."""
        with self._folder.mapped_os_errors():
            return read_folder_notes(self._root / self._given_name).successor or self._given_name

    def sibling(self, name: str, config: SearchKitConfig) -> EmbeddedBackend:
        """Return the collection in the folder ``name`` beside this one."""
        backend = EmbeddedBackend(collection_folder(self._root, name), config)
        backend._follows = False
        return backend

    def drop(self) -> None:
        """Delete the folder; of one that leads to another, all but that."""
        with self._folder.mapped_os_errors():
            drop_folder(self._folder)

    def refuse_if_dropped(self) -> None:
        """Nothing to do: a folder that is open is locked, and cannot be dropped."""

    def open(self) -> None:
        """Lock the folder, load the shard and compare its points with the ledger."""
        with self._lock:
            if self._is_closed:
                raise self._closed()
            if self._shard is None:
                with self._folder.mapped_os_errors():
                    manifest = self._folder.read_manifest()
                    self._shard = acquire(self._folder, manifest, self._config)
                self._release = weakref.finalize(self, self._shard.release)

    def writing(self) -> AbstractContextManager[None]:
        """Mark the folder while points are written."""
        return self._opened.writing()

    def exclusive(self) -> AbstractContextManager[None]:
        """Lock the shard for writing."""
        return self._opened.exclusive()

    def upsert(self, points: Sequence[Point], added: Sequence[int]) -> None:
        """Store points in one operation of the engine, which its log makes atomic."""
        dense_name, sparse_name = self._config.vector_name, self._config.sparse_vector_name
        converted = []
        digests = {}
        for point in points:
            digests[point.id] = point.payload.get(HASH, "")
            vectors: dict[str, Any] = {dense_name: point.dense}
            if point.sparse is not None:
                vectors[sparse_name] = edge.SparseVector(point.sparse.indices, point.sparse.values)
            converted.append(edge.Point(f"{point.id:032x}", vectors, point.payload))
        self._opened.upsert(converted, digests, added)

    def delete(self, points: Sequence[int]) -> None:
        """Delete points."""
        self._opened.delete(points)

    def invalidate(self, points: Sequence[int]) -> None:
        """Empty the content hash of passages."""
        self._opened.invalidate(points)

    def patch(self, payloads: Mapping[int, Mapping[str, Any]]) -> None:
        """Set payload fields, a point at a time."""
        self._opened.patch(payloads)

    def existing(self, points: Sequence[int]) -> list[int]:
        """Return those of ``points`` that are there."""
        return [integer_of(record.id) for record in self._retrieve(points, with_payload=False)]

    def fetch(self, points: Sequence[int], fields: Sequence[str] | None = None) -> dict[int, Mapping[str, Any]]:
        """Return payloads by point id."""
        records = self._retrieve(points, with_payload=True if fields is None else list(fields))
        return {integer_of(record.id): record.payload or {} for record in records}

    def read(self, points: Sequence[int]) -> dict[int, Point]:
        """Return points with payload and vectors."""
        records = self._retrieve(points, with_payload=True, with_vector=True)
        return {integer_of(record.id): self._whole(record) for record in records}

    def read_all(self) -> Iterator[list[Point]]:
        """Return all points with payload and vectors, page by page."""
        shard, offset = self._opened, None

        def page(engine: edge.EdgeShard) -> tuple[list[edge.Record], Any]:
            request = edge.ScrollRequest(offset=offset, limit=_POINTS_PAGE, with_payload=True, with_vector=True)
            records, following = engine.scroll(request)
            return records, following

        while True:
            records, offset = shard.read("read", page)
            if records:
                yield [self._whole(record) for record in records]
            if offset is None:
                return

    def _whole(self, record: edge.Record) -> Point:
        vectors: Any = record.vector or {}
        sparse = vectors.get(self._config.sparse_vector_name)
        return Point(
            integer_of(record.id),
            list(vectors.get(self._config.vector_name) or ()),
            None if sparse is None else SparseVector(list(sparse.indices), list(sparse.values)),
            record.payload or {},
        )

    def _retrieve(
        self, points: Sequence[int], *, with_payload: bool | list[str], with_vector: bool = False
    ) -> list[edge.Record]:
        ids = engine_ids(points)
        return self._opened.read("read", lambda engine: engine.retrieve(ids, with_payload, with_vector))

    def query(self, legs: Sequence[LegQuery]) -> list[list[tuple[int, float]]]:
        """Run all legs as one batch."""
        shard = self._opened
        with shard.mapped("search"):
            request = edge.QueryBatchRequest([self._request(leg) for leg in legs])
        answers = shard.read("search", lambda engine: engine.query_batch(request))
        return [[(integer_of(point.id), point.score) for point in answer] for answer in answers]

    def _request(self, leg: LegQuery) -> edge.QueryRequest:
        vector = leg.vector
        if isinstance(vector, SparseVector):
            sparse = edge.SparseVector(vector.indices, vector.values)
            query = edge.Query.Nearest(sparse, using=self._config.sparse_vector_name)
            params = None if leg.corpus is None else edge.SearchParams(idf=edge.IdfParams(corpus=leg.corpus))
        else:
            query = edge.Query.Nearest(vector, using=self._config.vector_name)
            params = edge.SearchParams(hnsw_ef=self._config.hnsw.ef_search)
        return edge.QueryRequest(limit=leg.limit, query=query, filter=leg.filter, params=params, with_payload=False)

    def count(self, native: Any) -> int:
        """Return the number of points that match."""
        request = edge.CountRequest(exact=True, filter=native)
        return self._opened.read("count", lambda engine: int(engine.count(request)))

    def scan(self, native: Any) -> Iterator[list[int]]:
        """Return the ids of all points that match, page by page."""
        return self._opened.scan(native)

    def render(self, condition: Condition) -> Any:
        """Return a condition as the engine's filter."""
        return render(condition)

    def accept(self, native: object) -> Any:
        """Convert a filter made with qdrant-client's models."""
        return accept(native)

    def all_of(self, natives: Sequence[Any]) -> Any:
        """Return a filter of the engine's around them."""
        return edge.Filter(must=list(natives))

    def index(self, fields: Mapping[str, FilterFieldType]) -> None:
        """Make sure that metadata fields are indexed."""
        self._opened.ensure_indexes(fields)

    def kept(self, config: SearchKitConfig) -> Kept:
        """Return the payload indexes; the engine tells nothing else."""
        schema = self._opened.read("read the settings of", lambda engine: engine.info().payload_schema)
        fields, left_out = filter_fields_of(stored_indexes(schema))
        return Kept(config.model_copy(update={"filter_fields": {**fields, **config.filter_fields}}), tuple(left_out))

    def optimize(self, *, wait: bool) -> bool:
        """Build the index in another process while this one goes on reading and writing."""
        return self._opened.optimizer.run(wait=wait)

    @property
    def is_optimizing(self) -> bool:
        """Whether that is under way."""
        shard = self._shard
        return shard is not None and shard.optimizer.is_running

    def close(self) -> None:
        """Leave the shard; the last user of this process closes it."""
        with self._lock:
            self._is_closed = True
            self._shard = None
            if self._release is not None:
                self._release()

    @property
    def _opened(self) -> SharedShard:
        shard = self._shard
        if shard is None:
            raise self._closed()
        if shard.process != os.getpid():  # its lock, its threads and the other half of its writes are the parent's
            raise CollectionError(
                f"{self.location} was opened before this process was forked off; open it with a new SearchKit here,"
                " or make the kit after the fork"
            )
        return shard

    def _closed(self) -> CollectionError:
        return CollectionError(f"{self.location} is closed; open it again with a new SearchKit")
