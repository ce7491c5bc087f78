"""Building the index in another process, on a copy, while this one searches and writes.

The engine holds the interpreter's lock for as long as it builds, which would stop every thread of this process. So a
child copies the store (writers wait, searches do not), builds the index in the copy and proves that it holds the same
points. Then the copy is loaded here, gets the points that changed meanwhile, and takes the old store's place. A child
that dies leaves nothing but its copy, which is deleted; the collection never depends on it.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

import qdrant_edge as edge

from searchkit.collection.backends.child import Child
from searchkit.collection.backends.folder import ENGINE
from searchkit.collection.backends.store import close_engine, engine_ids, integer_of
from searchkit.collection.ledger import read_ledger
from searchkit.errors import CollectionError, RetrievalError, SearchkitError

if TYPE_CHECKING:
    from searchkit.collection.backends.shard import SharedShard

_log = logging.getLogger(__name__)

_DELTA_POINTS = 128
"""Points brought over at once: some ten milliseconds in which nothing else runs."""


class Optimizer:
    """Optimizes one shard, once at a time.

    Args:
        shard: The shard.
        after_points: Unindexed points that start it by itself; ``None`` for never.
    """

    def __init__(self, shard: SharedShard, after_points: int | None) -> None:
        self._shard = shard
        self._after_points = after_points
        self._lock = threading.Lock()
        self._run: _Run | None = None
        self._is_closed = False

    @property
    def is_running(self) -> bool:
        """Whether an optimization is under way."""
        run = self._run
        return run is not None and not run.result.done()

    def consider(self, unindexed: int) -> None:
        """Start by itself if too many points are without an index; a failure of it is logged."""
        if self._after_points is not None and unindexed > self._after_points:
            self._start(is_asked_for=False)

    def run(self, *, wait: bool) -> bool:
        """Start, or join what is under way.

        Returns:
            With ``wait``, whether the index was rebuilt; else whether an optimization is under way.

        Raises:
            RetrievalError: It failed; the collection is as it was.
            CollectionError: The collection was closed meanwhile.
        """
        run = self._start()
        if run is None:
            raise CollectionError(f"the collection in {self._shard.folder.path} is closed; open it again")
        return run.result.result() if wait else True

    def cancel(self) -> None:
        """End what is under way and start nothing more."""
        with self._lock:
            self._is_closed = True
            run = self._run
        if run is not None:
            run.cancel()

    def _start(self, *, is_asked_for: bool = True) -> _Run | None:
        with self._lock:
            if self._is_closed:
                return None
            if not self.is_running:
                self._run = _Run(self._shard, None if is_asked_for else self._stop_by_itself)
                self._run.start()
            return self._run

    def _stop_by_itself(self, error: BaseException) -> None:
        if not self._is_closed:
            self._after_points = None  # what failed once would fail after every write
            _log.warning("the index is not rebuilt by itself any more: %s", error)


class _Run:
    """One optimization: a thread of ours that waits for a child.

    Args:
        shard: The shard.
        on_failure: Called with the error before anybody who waits hears of it, and may write at once.

    Attributes:
        result: Whether anything was rebuilt.
    """

    def __init__(self, shard: SharedShard, on_failure: Callable[[BaseException], None] | None) -> None:
        self.result: Future[bool] = Future()
        self._shard = shard
        self._on_failure = on_failure
        self._location = f"the collection in {shard.folder.path}"
        self._name = f"{ENGINE}-{secrets.token_hex(4)}"
        self._child: Child | None = None
        self._is_cancelled = threading.Event()
        # A daemon, so that an exiting interpreter goes on to close the collection, which cancels this.
        self._thread = threading.Thread(target=self._main, name="searchkit-optimize", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def cancel(self) -> None:
        self._is_cancelled.set()
        child = self._child
        if child is not None:
            child.process.kill()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _main(self) -> None:
        target = self._shard.folder.path / self._name
        try:
            old = self._optimize(target)
            if old is not None:
                self._discard(*old)
        except BaseException as error:  # noqa: BLE001  # handed to whoever waits
            meaning = self._meaning(error)
            if self._on_failure is not None:
                self._on_failure(meaning)
            self.result.set_exception(meaning)
        else:
            self.result.set_result(old is not None)

    def _discard(self, engine: edge.EdgeShard, path: Path) -> None:
        """Close the engine that was replaced and delete its files."""
        with self._shard.mapped("close"):
            close_engine(engine)
        shutil.rmtree(path, ignore_errors=True)

    def _meaning(self, error: BaseException) -> SearchkitError:
        if self._is_cancelled.is_set():
            return CollectionError(f"{self._location} was closed while its index was built; the old index stays")
        if isinstance(error, SearchkitError):
            return error
        return RetrievalError(
            f"cannot optimize {self._location}: {error}; it is as it was, see that there is room for a second copy"
        )

    def _optimize(self, target: Path) -> tuple[edge.EdgeShard, Path] | None:
        """Return the engine that was replaced and its folder; ``None`` if there was nothing to do."""
        source = self._shard.folder.path / self._shard.record.engine
        try:
            if self._build(source, target):
                return self._take_over(target), source
        except BaseException:
            self._give_up(target)
            raise
        self._give_up(target)
        return None

    def _give_up(self, target: Path) -> None:
        self._shard.untrack()
        shutil.rmtree(target, ignore_errors=True)

    def _build(self, source: Path, target: Path) -> bool:
        """Have the child copy the store and build the index; return whether that changed anything."""
        child = self._child = Child("searchkit.collection.backends.optimizing_child", f"optimize {self._location}")
        try:
            if self._is_cancelled.is_set():
                child.process.kill()
            child.tell({"source": str(source.resolve()), "target": str(target.resolve())})
            child.hear("ready")
            with self._shard.exclusive():
                self._shard.track()
                copied = self._shard.record.ledger
                child.tell({"is": "go"})
                child.hear("copied")
            answer = child.hear("optimized")
        finally:
            child.end()
        if read_ledger(answer["ledger"]) != copied:
            raise RetrievalError(f"cannot optimize {self._location}: its copy does not hold the same points")
        return bool(answer["has_changed"])

    def _take_over(self, target: Path) -> edge.EdgeShard:
        """Load the copy, bring it up to date, put it in the old one's place and return that."""
        shard = self._shard
        with shard.mapped("open"):
            engine = edge.EdgeShard.load(str(target))
        late = 0
        try:
            while points := shard.changed(_DELTA_POINTS):
                late += self._bring(points, engine)
                if len(points) < _DELTA_POINTS:  # steady writers would go on for ever
                    break
            with shard.exclusive():  # now the last few, with the writers waiting
                while points := shard.changed(_DELTA_POINTS):
                    late += self._bring(points, engine)
                self._check(engine)
                return shard.replace(engine, self._name, late)
        except BaseException:
            close_engine(engine)
            raise

    def _check(self, engine: edge.EdgeShard) -> None:
        if self._is_cancelled.is_set() or engine.info().points_count != self._shard.record.ledger.points:
            raise RetrievalError(f"cannot optimize {self._location}: the copy could not catch up")

    def _bring(self, points: Sequence[int], engine: edge.EdgeShard) -> int:
        """Make the copy's ``points`` what they are in the shard."""
        ids = engine_ids(points)
        with self._shard.exclusive(), self._shard.mapped("optimize"):
            records = self._shard.engine.retrieve(ids, True, True)
            present = [edge.Point(record.id, record.vector or {}, record.payload or {}) for record in records]
            gone = set(points) - {integer_of(record.id) for record in records}
            if present:
                engine.update(edge.UpdateOperation.upsert_points(present))
            if gone:
                engine.update(edge.UpdateOperation.delete_points(engine_ids(gone)))
        return len(present)
