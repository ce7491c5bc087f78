"""One open shard of the embedded engine, shared by all collections of this process that use its folder."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from uuid import UUID

import qdrant_edge as edge

from searchkit.collection.backends.base import SCAN_PAGE
from searchkit.collection.backends.embedded_errors import mapped_engine_errors
from searchkit.collection.backends.folder import CollectionFolder
from searchkit.collection.filters import payload_path
from searchkit.collection.manifest import Ledger, Manifest
from searchkit.collection.schema import FLAGS, HASH, METADATA, key_of, window_index_of
from searchkit.config import FilterFieldType, SearchKitConfig
from searchkit.errors import CollectionError, RetrievalError

_log = logging.getLogger(__name__)

_CHECKPOINT_POINTS = 10_000
"""Points between two flushes of one long write. A flush costs some ten milliseconds, and keeps the log short."""

_INDEX_TYPES: Mapping[FilterFieldType, edge.PayloadSchemaType | edge.KeywordIndexParams] = {
    "keyword": edge.PayloadSchemaType.Keyword,
    "integer": edge.PayloadSchemaType.Integer,
    "float": edge.PayloadSchemaType.Float,
    "bool": edge.PayloadSchemaType.Keyword,  # on the mirror, which holds strings
    "datetime": edge.PayloadSchemaType.Datetime,
    "text": edge.PayloadSchemaType.Text,
    "tenant": edge.KeywordIndexParams(is_tenant=True),
}

_DEFAULT_M, _DEFAULT_EF_CONSTRUCT, _DEFAULT_FULL_SCAN = 16, 100, 10_000
"""Qdrant's own defaults; the engine wants all three as soon as one is given."""

_open_shards: dict[tuple[int, int, int], SharedShard] = {}
_registry_lock = threading.RLock()


def acquire(folder: CollectionFolder, manifest: Manifest, config: SearchKitConfig) -> SharedShard:
    """Return the open shard of ``folder``, opening it if this process has not; pair with `SharedShard.release`.

    Raises:
        CollectionError: Another process has it, or it is damaged or lost points.
    """
    with _registry_lock:
        key = (os.getpid(), *folder.identity)  # a forked child must not use its parent's shard
        shard = _open_shards.get(key)
        if shard is None:
            shard = _open_shards[key] = SharedShard(key, folder, manifest, config)
        shard.users += 1
        return shard


class SharedShard:
    """A loaded shard with the lock on its folder and its ledger.

    Attributes:
        engine: The engine's object. It is safe to call from several threads.
        users: How many backends use it; the last one to leave closes it.
    """

    def __init__(
        self, key: tuple[int, int, int], folder: CollectionFolder, manifest: Manifest, config: SearchKitConfig
    ) -> None:
        self.users = 0
        self._key = key
        self._folder = folder
        self._location = f"the collection in {folder.path}"
        self._write_lock = threading.RLock()
        self._writers = 0
        self._unflushed = 0
        self._is_torn = False
        self._indexed: set[str] = set()
        self._lock_file = folder.lock()
        try:
            self.engine, self._ledger = self._load(manifest, config)
            self._verify()
            self.ensure_indexes(config.filter_fields)
        except BaseException:
            self._lock_file.close()
            raise

    def release(self) -> None:
        """Leave the shard; the last user flushes and closes it."""
        with _registry_lock:
            self.users -= 1
            if self.users > 0:
                return
            _open_shards.pop(self._key, None)
            if self._key[0] != os.getpid():
                return
            try:
                with self.mapped("close"):
                    self.engine.close()
            finally:
                self._lock_file.close()

    def mapped(self, action: str) -> AbstractContextManager[None]:
        """Map the engine's exceptions."""
        return mapped_engine_errors(self._location, action)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Enclose writes: the folder is marked until the last writer has flushed."""
        with self._write_lock:
            if self._writers == 0:
                with self._folder.mapped_os_errors():
                    self._folder.mark()
            self._writers += 1
        try:
            yield
        finally:
            with self._write_lock:
                self._writers -= 1
                if self._writers == 0:
                    self._checkpoint()
                    if not self._is_torn:
                        self._folder.unmark()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep the other writers of this process out."""
        with self._write_lock:
            yield

    def upsert(self, points: Sequence[edge.Point], added: Sequence[int]) -> None:
        """Store points; ``added`` are the ids of those that were not there."""
        if not points:
            return
        self._update("write to", edge.UpdateOperation.upsert_points(list(points)), added, ())
        if self._unflushed >= _CHECKPOINT_POINTS:
            self._checkpoint()

    def delete(self, points: Sequence[int]) -> None:
        """Delete points that are there."""
        operation = edge.UpdateOperation.delete_points([f"{point:032x}" for point in points])
        self._update("delete from", operation, (), points)

    def scan(self, native: edge.Filter | None) -> Iterator[list[int]]:
        """Return the ids of all points that match, page by page."""
        offset = None
        while True:
            request = edge.ScrollRequest(offset=offset, limit=SCAN_PAGE, filter=native, with_payload=False)
            with self.mapped("read"):
                records, offset = self.engine.scroll(request)
            if records:
                yield [integer_of(record.id) for record in records]
            if offset is None:
                return

    def invalidate(self, points: Sequence[int]) -> None:
        """Empty the content hash of passages, given their first points."""
        operation = edge.UpdateOperation.set_payload([f"{point:032x}" for point in points], {HASH: ""})
        self._update("write to", operation, (), ())

    def ensure_indexes(self, fields: Mapping[str, FilterFieldType]) -> None:
        """Create the payload indexes of metadata fields that have none."""
        wanted = {payload_path(name, FLAGS if kind == "bool" else METADATA): kind for name, kind in fields.items()}
        if wanted.keys() <= self._indexed:
            return
        with self._write_lock, self.mapped("index"):
            missing = wanted.keys() - self.engine.info().payload_schema.keys()
            for path in sorted(missing):
                self.engine.update(edge.UpdateOperation.create_field_index(path, _INDEX_TYPES[wanted[path]]))
        self._indexed.update(wanted)

    def patch(self, payloads: Mapping[int, Mapping[str, Any]]) -> None:
        """Set payload fields of points that are there."""
        for point, fields in payloads.items():
            self._update("write to", edge.UpdateOperation.set_payload([f"{point:032x}"], dict(fields)), (), ())

    def _update(
        self, action: str, operation: edge.UpdateOperation, added: Sequence[int], removed: Sequence[int]
    ) -> None:
        with self._write_lock:
            try:
                with self.mapped(action):
                    self.engine.update(operation)
            except BaseException:
                self._is_torn = True  # what was applied is unknown: stay marked, so that the next open counts anew
                raise
            self._ledger.add(added)
            self._ledger.remove(removed)
            self._unflushed += len(added) + len(removed)

    def _checkpoint(self) -> None:
        with self._write_lock, self._folder.mapped_os_errors():
            with self.mapped("flush"):
                self.engine.flush()
            self._folder.write_ledger(self._ledger)
            self._unflushed = 0

    def _load(self, manifest: Manifest, config: SearchKitConfig) -> tuple[edge.EdgeShard, Ledger]:
        ledger = self._folder.read_ledger()
        path = str(self._folder.engine)
        if ledger is None:  # new, or its creation was interrupted before anything was written
            shutil.rmtree(path, ignore_errors=True)
            self._folder.engine.mkdir()
            with self.mapped("create"):
                engine = edge.EdgeShard.create(path, _shard_config(manifest, config))
            ledger = Ledger()
            self._folder.write_ledger(ledger)
            return engine, ledger
        try:
            with self.mapped("open"):
                return edge.EdgeShard.load(path), ledger
        except RetrievalError as error:
            raise CollectionError(
                f"{self._location} is damaged: {error}; restore it from a backup, or delete the folder and add the "
                "passages again"
            ) from error

    def _verify(self) -> None:
        """Compare the points with the ledger; after an interrupted write, count them anew instead."""
        found = Ledger()
        firsts: set[int] = set()
        others: list[int] = []
        for page in self.scan(None):
            found.add(page)
            firsts.update(key_of(point) for point in page if not window_index_of(point))
            others.extend(point for point in page if window_index_of(point))
        if self._folder.is_marked:
            _log.warning("%s: the last writer was interrupted; %d points counted anew", self._location, found.count)
            self._ledger = found
            with self.writing():
                self._delete_orphans([point for point in others if key_of(point) not in firsts])
        elif found != self._ledger:
            with self.mapped("close"):
                self.engine.close()
            raise CollectionError(
                f"{self._location} holds {found.count} points (checksum {found.checksum:032x}) where "
                f"{self._ledger.count} (checksum {self._ledger.checksum:032x}) were written: its files were damaged or "
                "changed from outside; restore it from a backup, or delete the folder and add the passages again"
            )

    def _delete_orphans(self, points: list[int]) -> None:
        """Delete windows whose first window, always written last, is missing: their passage was never complete."""
        for start in range(0, len(points), SCAN_PAGE):
            self.delete(points[start : start + SCAN_PAGE])


def integer_of(point_id: int | UUID | str) -> int:
    """Return the integer of a point id; the engine gives UUIDs for all ids that we made."""
    return point_id.int if isinstance(point_id, UUID) else int(str(point_id).replace("-", ""), 16)


def _shard_config(manifest: Manifest, config: SearchKitConfig) -> edge.EdgeConfig:
    hnsw = config.hnsw
    index = None
    if hnsw.m is not None or hnsw.ef_construct is not None:
        index = edge.HnswIndexConfig(
            m=_DEFAULT_M if hnsw.m is None else hnsw.m,
            ef_construct=_DEFAULT_EF_CONSTRUCT if hnsw.ef_construct is None else hnsw.ef_construct,
            full_scan_threshold=_DEFAULT_FULL_SCAN,
        )
    dense = edge.EdgeVectorParams(size=manifest.encoder.dimension, distance=edge.Distance.Cosine, hnsw_config=index)
    return edge.EdgeConfig(
        vectors={manifest.dense_vector: dense},
        sparse_vectors={manifest.sparse_vector: edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)},
    )
