"""One open shard of the embedded engine, shared by all collections of this process that use its folder."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, TypeVar

import qdrant_edge as edge

from searchkit.collection.backends.base import SCAN_PAGE
from searchkit.collection.backends.embedded_errors import mapped_engine_errors
from searchkit.collection.backends.embedded_indexes import index_types
from searchkit.collection.backends.folder import CollectionFolder, StoreRecord
from searchkit.collection.backends.journal import Journal
from searchkit.collection.backends.optimizing import Optimizer
from searchkit.collection.backends.seal import take_seal
from searchkit.collection.backends.store import close_engine, digest_of, engine_ids, integer_of, load_store, view_store
from searchkit.collection.ledger import Ledger
from searchkit.collection.manifest import Manifest
from searchkit.collection.schema import HASH
from searchkit.config import FilterFieldType, SearchKitConfig
from searchkit.errors import CollectionError

T = TypeVar("T")

_CHECKPOINT_POINTS = 10_000
"""Points between two flushes of one long write. A flush costs some ten milliseconds, and keeps the log short."""

_Key = tuple[int, int, int, bool]
_open_shards: dict[_Key, SharedShard] = {}
_registry_lock = threading.RLock()


def acquire(folder: CollectionFolder, manifest: Manifest, config: SearchKitConfig) -> SharedShard:
    """Return the open shard of ``folder``, opening it if this process has not; pair with `SharedShard.release`.

    Raises:
        CollectionError: Another process has it, or it is damaged or lost points.
    """
    with _registry_lock:
        place = (os.getpid(), *folder.identity)  # a forked child must not use its parent's shard
        shard = _open_shards.get((*place, False))
        if shard is None:
            key = (*place, config.read_only)
            shard = _open_shards.get(key)
            if shard is None:
                shard = _open_shards[key] = SharedShard(key, folder, manifest, config)
        shard.users += 1
        return shard


class SharedShard:
    """A loaded shard with the lock on its folder and its ledger.

    Attributes:
        engine: The engine's object, which an optimization replaces: reach it through `read`.
        users: How many backends use it; the last one to leave closes it.
        optimizer: Rebuilds it in the background.
    """

    def __init__(self, key: _Key, folder: CollectionFolder, manifest: Manifest, config: SearchKitConfig) -> None:
        self.users = 0
        self._key = key
        self._folder = folder
        self._location = f"the collection in {folder.path}"
        self._write_lock = threading.RLock()
        self._writers = 0
        self._unflushed = 0
        self._is_torn = False
        self._indexed: set[str] = set()
        self._journal: Journal | None = None
        self._touched: set[int] | None = None
        self._is_reader = config.read_only
        self.optimizer = Optimizer(self, config.optimize.after_points)
        self._lock_file = folder.lock(is_reader=self._is_reader)
        try:
            store = view_store(folder) if self._is_reader else load_store(folder, manifest, config)
            self.engine, self.record, self._view = store.engine, store.record, store.view
            if not self._is_reader:
                self._finish_recovery(store.orphans)
            self.ensure_indexes(config.filter_fields)
        except BaseException:
            self._lock_file.close()
            raise

    @property
    def process(self) -> int:
        """The process that opened it, the only one that may use it."""
        return self._key[0]

    @property
    def folder(self) -> CollectionFolder:
        """The collection's folder."""
        return self._folder

    def release(self) -> None:
        """Leave the shard; the last user closes and seals it."""
        with _registry_lock:
            self.users -= 1
            if self.users > 0:
                return
            _open_shards.pop(self._key, None)
            if self._key[0] != os.getpid():
                return
            try:
                self.optimizer.cancel()
                with self.mapped("close"):
                    close_engine(self.engine)
                self._seal()
            finally:
                self._lock_file.close()
                if self._view is not None:
                    shutil.rmtree(self._view, ignore_errors=True)

    def mapped(self, action: str) -> AbstractContextManager[None]:
        """Map the engine's exceptions."""
        return mapped_engine_errors(self._location, action)

    def read(self, action: str, call: Callable[[edge.EdgeShard], T]) -> T:
        """Return what ``call`` reads from the engine; again, if the engine was replaced in the middle of it."""
        while True:
            engine = self.engine
            try:
                with self.mapped(action):
                    return call(engine)
            except CollectionError:
                if engine is self.engine:
                    raise

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Enclose writes: the folder keeps a journal until the last writer has flushed."""
        with self._write_lock, self._folder.mapped_os_errors():
            if self._writers == 0 and self._journal is None:
                self._folder.drop_seal()
                self._journal = Journal(self._folder.journal)
                if self._is_torn:
                    self._journal.unknown()
            self._writers += 1
        try:
            yield
        finally:
            with self._write_lock:
                self._writers -= 1
                if self._writers == 0:
                    self._checkpoint()
                    self._end_journal()
                    self.optimizer.consider(self.record.unindexed)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep the other writers of this process out."""
        with self._write_lock:
            yield

    def upsert(self, points: Sequence[edge.Point], digests: Mapping[int, str], added: Sequence[int]) -> None:
        """Store points.

        Args:
            points: The points.
            digests: Their ids, with the digests of their passages.
            added: The ids of those that were not there.
        """
        if not points:
            return
        with self._write_lock:
            before = self._digests(list(digests.keys() - set(added)))
            operation = edge.UpdateOperation.upsert_points(list(points))
            self._update("write to", operation, self.record.ledger.written(digests, before), digests, len(points))
            if self._unflushed >= _CHECKPOINT_POINTS:
                self._checkpoint()

    def delete(self, points: Sequence[int]) -> None:
        """Delete points that are there."""
        with self._write_lock:
            operation = edge.UpdateOperation.delete_points(engine_ids(points))
            self._update("delete from", operation, self.record.ledger.deleted(self._digests(points)), points)

    def invalidate(self, points: Sequence[int]) -> None:
        """Empty the content hash of passages, given their first points."""
        with self._write_lock:
            before = self._digests(points)
            operation = edge.UpdateOperation.set_payload(engine_ids(points), {HASH: ""})
            after = self.record.ledger.written(dict.fromkeys(before, ""), before)
            self._update("write to", operation, after, points, len(points))

    def scan(self, native: edge.Filter | None) -> Iterator[list[int]]:
        """Return the ids of all points that match, page by page."""
        offset = None
        while True:
            request = edge.ScrollRequest(offset=offset, limit=SCAN_PAGE, filter=native, with_payload=False)
            records, offset = self.read("read", lambda engine, request=request: engine.scroll(request))  # type: ignore[misc]
            if records:
                yield [integer_of(record.id) for record in records]
            if offset is None:
                return

    def ensure_indexes(self, fields: Mapping[str, FilterFieldType]) -> None:
        """Create the payload indexes of metadata fields that have none."""
        wanted = index_types(fields)
        if self._is_reader or wanted.keys() <= self._indexed:
            return
        with self._write_lock:
            missing = wanted.keys() - self.read("index", lambda engine: engine.info().payload_schema.keys())
            for path in sorted(missing):
                operation = edge.UpdateOperation.create_field_index(path, wanted[path])
                self._update("index", operation, self.record.ledger, ())
        self._indexed.update(wanted)

    def patch(self, payloads: Mapping[int, Mapping[str, Any]]) -> None:
        """Set payload fields of points that are there; not the digest, which the ledger counts."""
        with self._write_lock:
            for point, fields in payloads.items():
                operation = edge.UpdateOperation.set_payload(engine_ids([point]), dict(fields))
                self._update("write to", operation, self.record.ledger, (point,))

    def track(self) -> None:
        """Begin to note which points change."""
        with self._write_lock:
            self._touched = set()

    def changed(self, most: int) -> list[int]:
        """Return points that changed since they were last returned, at most so many."""
        with self._write_lock:
            touched = self._touched if self._touched is not None else set()
            return [touched.pop() for _ in range(min(most, len(touched)))]

    def untrack(self) -> None:
        """Note no more."""
        with self._write_lock:
            self._touched = None

    def replace(self, engine: edge.EdgeShard, name: str, unindexed: int) -> edge.EdgeShard:
        """Put an engine that holds the same points in the place of the present one, and return that one.

        The new record on disk is the switch: whatever happens before it leaves the old engine, after it the new one.
        """
        with self._write_lock, self._folder.mapped_os_errors():
            self._folder.drop_seal()
            self.record = StoreRecord(self.record.ledger, name, unindexed)
            self._folder.write_record(self.record)
            if self._journal is not None:
                self._journal.empty()
            old, self.engine, self._touched = self.engine, engine, None
            return old

    def _update(
        self,
        action: str,
        operation: edge.UpdateOperation,
        after: Ledger,
        points: Collection[int],
        written: int = 0,
    ) -> None:
        with self.writing(), self._write_lock:
            if self._journal is None:  # pragma: no cover  # writing() has just opened it
                raise AssertionError
            try:
                with self._folder.mapped_os_errors():
                    self._journal.plan(after)
                    with self.mapped(action):
                        self.engine.update(operation)
                    self._journal.done()
                self.record = StoreRecord(after, self.record.engine, self.record.unindexed + written)
            except BaseException:
                self._is_torn = True  # what was applied is unknown: the next open counts anew
                with suppress(OSError):
                    self._journal.unknown()
                raise
            finally:
                if self._touched is not None:
                    self._touched.update(points)
            self._unflushed += len(points)

    def _digests(self, points: Sequence[int]) -> dict[int, str]:
        """Return the digests of those ``points`` that are there."""
        if not points:
            return {}
        ids = engine_ids(points)
        records = self.read("read", lambda engine: engine.retrieve(ids, [HASH], False))
        return {integer_of(record.id): digest_of(record) for record in records}

    def _checkpoint(self) -> None:
        with self._write_lock, self._folder.mapped_os_errors():
            with self.mapped("flush"):
                self.engine.flush()
            self._folder.write_record(self.record)
            if self._journal is not None and not self._is_torn:
                self._journal.empty()
            self._unflushed = 0

    def _end_journal(self) -> None:
        if self._journal is not None:
            with self._folder.mapped_os_errors():
                self._journal.close(is_finished=not self._is_torn)
            self._journal = None

    def _seal(self) -> None:
        path = self._folder.path / self.record.engine
        if self._is_reader or self._is_torn or self._folder.journal.exists() or not path.exists():
            return  # what was deleted meanwhile needs no seal
        with self._folder.mapped_os_errors():
            if self._folder.read_seal() is None:
                with self.mapped("close"):
                    edge.EdgeShard.load(str(path)).close()  # loading finishes what closing puts off
                self._folder.write_seal(take_seal(path))

    def _finish_recovery(self, orphans: Sequence[int]) -> None:
        """Delete what an interrupted writer left half, and bring the ledger on disk up to date."""
        if not self._folder.journal.exists():
            return
        with self._folder.mapped_os_errors():
            self._folder.write_record(self.record)
        with self.writing():
            for start in range(0, len(orphans), SCAN_PAGE):
                self.delete(orphans[start : start + SCAN_PAGE])
