"""Loading the engine of a folder: created, checked against what the folder says about it, or looked at only."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import qdrant_edge as edge

from searchkit.collection.backends import copying
from searchkit.collection.backends.base import SCAN_PAGE
from searchkit.collection.backends.embedded_errors import mapped_engine_errors
from searchkit.collection.backends.folder import VIEW_PREFIX, CollectionFolder, StoreRecord, is_engine_name
from searchkit.collection.backends.seal import find_damage
from searchkit.collection.ledger import Ledger
from searchkit.collection.manifest import Manifest
from searchkit.collection.schema import HASH, key_of, window_index_of
from searchkit.config import SearchKitConfig
from searchkit.errors import CollectionError, RetrievalError

_log = logging.getLogger(__name__)

_DEFAULT_M, _DEFAULT_EF_CONSTRUCT, _DEFAULT_FULL_SCAN = 16, 100, 10_000
"""Qdrant's own defaults; the engine wants all three as soon as one is given."""
_SHOWN_FILES = 3
_CLOSE_S, _CLOSE_POLL_S = 30.0, 0.001
_MEND = (
    "`searchkit doctor --repair` mends what can be mended; else restore it from a backup, or delete the folder and add "
    "the passages again"
)


@dataclass(slots=True)
class Census:
    """What is in a store.

    Attributes:
        ledger: Its points.
        firsts: Keys of the passages whose first window is there.
        others: The windows that are no first ones.
    """

    ledger: Ledger = field(default_factory=Ledger)
    firsts: set[int] = field(default_factory=set)
    others: list[int] = field(default_factory=list)

    @property
    def orphans(self) -> list[int]:
        """Windows whose first window, always written last, is missing: their passage was never complete."""
        return [point for point in self.others if key_of(point) not in self.firsts]


@dataclass(frozen=True, slots=True)
class Store:
    """A loaded engine.

    Attributes:
        engine: The engine's object.
        record: What the folder says about it, brought up to date.
        orphans: Windows that an interrupted writer left behind.
        view: A private folder that the engine was loaded from; `None` for a writer's.
    """

    engine: edge.EdgeShard
    record: StoreRecord
    orphans: list[int] = field(default_factory=list)
    view: Path | None = None


def load_store(folder: CollectionFolder, manifest: Manifest, config: SearchKitConfig) -> Store:
    """Load the store of a locked folder; create it if there is none yet.

    A store that was closed in good order is compared file by file with its seal. Another is read: its points must be
    those of the ledger, or what its journal allows.

    Raises:
        CollectionError: It is damaged or lost points; the message says which and what to do.
    """
    record = folder.read_record()
    if record is None:
        _refuse_lost_record(folder)
        return _created(folder, manifest, config)
    seal = None if folder.journal.exists() else folder.read_seal()
    path = folder.path / record.engine
    if not path.is_dir():
        raise CollectionError(f"the collection in {folder.path} is damaged: {path.name}/ is missing; {_MEND}")
    if seal is not None:
        refuse_damage(folder, record)
    engine = _loaded(folder, path)
    try:
        store = _counted(folder, record, engine) if seal is None else _sealed(folder, record, engine)
    except BaseException:
        close_engine(engine)
        raise
    for leftover in folder.leftovers(record):
        shutil.rmtree(leftover, ignore_errors=True)
    return store


def view_store(folder: CollectionFolder) -> Store:
    """Load the store of a folder that readers share, without changing a byte of it.

    The engine insists on a log of its own, and writes its small files anew; so it is given a private folder, beside
    the shared one if that can be written to.

    Raises:
        CollectionError: It is damaged, or was not closed in good order.
    """
    record = folder.read_record()
    if record is None or folder.journal.exists() or folder.read_seal() is None:
        raise CollectionError(
            f"the collection in {folder.path} was not closed in good order and cannot be opened read-only; open it "
            "once for writing, which brings it up to date, or see `searchkit doctor`"
        )
    refuse_damage(folder, record)
    path = folder.path / record.engine
    view = _private_folder(folder)
    try:
        copying.view_store(path, view)
        engine = _loaded(folder, view)
        return Store(engine, _sealed(folder, record, engine).record, view=view)
    except BaseException:
        shutil.rmtree(view, ignore_errors=True)
        raise


def _private_folder(folder: CollectionFolder) -> Path:
    with suppress(OSError):
        return Path(tempfile.mkdtemp(prefix=VIEW_PREFIX, dir=folder.path))
    return Path(tempfile.mkdtemp(prefix=VIEW_PREFIX))


def refuse_damage(folder: CollectionFolder, record: StoreRecord) -> None:
    """Compare the engine's files with their seal.

    Raises:
        CollectionError: They differ; the message names the files.
    """
    damage = find_damage(folder.path / record.engine, folder.read_seal() or {})
    if damage:
        shown = ", ".join(f"{record.engine}/{one}" for one in damage[:_SHOWN_FILES])
        more = f" and {len(damage) - _SHOWN_FILES} more" if len(damage) > _SHOWN_FILES else ""
        raise CollectionError(f"the collection in {folder.path} is damaged since it was closed: {shown}{more}; {_MEND}")


def take_census(engine: edge.EdgeShard) -> Census:
    """Read ids and digests of all points."""
    census = Census()
    for page in digests(engine):
        census.ledger = census.ledger.written(page, {})
        census.firsts.update(key_of(point) for point in page if not window_index_of(point))
        census.others.extend(point for point in page if window_index_of(point))
    return census


def digests(engine: edge.EdgeShard) -> Iterator[dict[int, str]]:
    """Return the ids of all points with the digests of their passages, page by page."""
    offset = None
    while True:
        request = edge.ScrollRequest(offset=offset, limit=SCAN_PAGE, with_payload=[HASH])
        records, offset = engine.scroll(request)
        yield {integer_of(record.id): digest_of(record) for record in records}
        if offset is None:
            return


def digest_of(record: edge.Record) -> str:
    """Return the digest that a point's payload holds; empty if there is none."""
    return str((record.payload or {}).get(HASH, ""))


def engine_ids(points: Iterable[int]) -> list[int | UUID | str]:
    """Return point ids as the engine takes them."""
    return [f"{point:032x}" for point in points]


def integer_of(point_id: int | UUID | str) -> int:
    """Return the integer of a point id; the engine gives UUIDs for all ids that we made."""
    return point_id.int if isinstance(point_id, UUID) else int(str(point_id).replace("-", ""), 16)


def create_engine(path: Path, manifest: Manifest, config: SearchKitConfig) -> edge.EdgeShard:
    """Create an empty engine in a new folder."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    edge.EdgeShard.create(str(path), _shard_config(manifest, config)).close()
    return edge.EdgeShard.load(str(path))  # which completes its settings on disk; later loads leave them as they are


def close_engine(engine: edge.EdgeShard) -> None:
    """Close an engine as soon as no call of another thread is in it."""
    give_up = time.monotonic() + _CLOSE_S
    while not _is_closed(engine, is_last_try=time.monotonic() > give_up):
        time.sleep(_CLOSE_POLL_S)


def _is_closed(engine: edge.EdgeShard, *, is_last_try: bool) -> bool:
    try:
        engine.close()
    except RuntimeError as error:  # the binding's: "Already borrowed"
        if "borrowed" not in str(error) or is_last_try:
            raise
        return False
    return True


def _refuse_lost_record(folder: CollectionFolder) -> None:
    """Tell a collection that is new, or whose creation was interrupted, from one whose ledger is gone.

    Raises:
        CollectionError: There are, or were, points.
    """
    has_history = folder.journal.exists() or folder.read_seal() is not None
    for path in folder.path.iterdir():
        if not has_history and is_engine_name(path.name) and (path / "segments").is_dir():
            with suppress(CollectionError):
                engine = _loaded(folder, path)
                has_history = engine.info().points_count > 0
                engine.close()
    if has_history:
        raise CollectionError(f"the collection in {folder.path} is damaged: ledger.json is missing; {_MEND}")


def _created(folder: CollectionFolder, manifest: Manifest, config: SearchKitConfig) -> Store:
    record = StoreRecord(Ledger())
    with mapped_engine_errors(f"the collection in {folder.path}", "create"):
        engine = create_engine(folder.path / record.engine, manifest, config)
    folder.drop_seal()
    folder.write_record(record)
    return Store(engine, record)


def _loaded(folder: CollectionFolder, path: Path) -> edge.EdgeShard:
    location = f"the collection in {folder.path}"
    try:
        with mapped_engine_errors(location, "open"):
            return edge.EdgeShard.load(str(path))
    except RetrievalError as error:
        raise CollectionError(f"{location} is damaged: {error}; {_MEND}") from error


def _sealed(folder: CollectionFolder, record: StoreRecord, engine: edge.EdgeShard) -> Store:
    """Compare the number of points alone: their files are known to be those that were closed."""
    with mapped_engine_errors(f"the collection in {folder.path}", "open"):
        count = engine.info().points_count
    if count != record.ledger.points:
        raise CollectionError(
            f"the collection in {folder.path} holds {count} points where {record.ledger.points} were written; {_MEND}"
        )
    return Store(engine, record)


def _counted(folder: CollectionFolder, record: StoreRecord, engine: edge.EdgeShard) -> Store:
    with mapped_engine_errors(f"the collection in {folder.path}", "open"):
        census = take_census(engine)
    found, written = census.ledger, record.ledger
    expectation = folder.read_expectation(record)
    if not expectation.allows(found):
        expected = expectation.ledgers[-1] if expectation.ledgers else written
        raise CollectionError(
            f"the collection in {folder.path} holds {found.points} points (checksum {found.checksum:032x}, contents "
            f"{found.content:032x}) where {expected.points} (checksum {expected.checksum:032x}, contents "
            f"{expected.content:032x}) were written: its files were damaged or changed from outside; {_MEND}"
        )
    if found != written:
        _log.warning("%s: the last writer was interrupted; it had %d points", folder.path, found.points)
    unindexed = record.unindexed + max(0, found.points - written.points)
    return Store(engine, StoreRecord(found, record.engine, unindexed), census.orphans)


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
