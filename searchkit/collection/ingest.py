"""Writing passages: streamed, in batches, idempotent, resumable.

The first window of a passage carries the digest of the whole passage and is written last; before windows of a stored
passage are touched, that digest is emptied. So whatever interrupts the writing, a passage whose digest is there is
complete, and any other is written again.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from searchkit.collection.backends.base import Backend, Point
from searchkit.collection.changes import Change, is_long, payload_of, texts_of, write_order
from searchkit.collection.manifest import Manifest
from searchkit.collection.passages import Record, contradiction
from searchkit.collection.schema import (
    HASH,
    METADATA,
    TOKENS,
    key_of,
    point_id,
    point_ids,
    window_count,
    window_index_of,
)
from searchkit.collection.scope import EVERYTHING, Scope
from searchkit.collection.vectors import passage_vectors, passage_words
from searchkit.collection.windows import split
from searchkit.config import IngestConfig
from searchkit.errors import CollectionError, PayloadError
from searchkit.stages import Encoder, SparseEncoder, SparseVector, TokenWriter, Vectors, Window
from searchkit.types import AddReport, Skipped

_BATCH_CHARS = 4_000_000
"""Characters of text in one batch at most, so that memory stays flat whatever the passages' length."""
_WRITE_POINTS = 512
"""Points handed to the backend at once; on its way to a server a vector becomes a Python list, ten times its size."""
_SEEN_MASK = 2**62 - 1


@dataclass(slots=True)
class _Run:
    """What one call has done so far.

    Attributes:
        session: Holds the backend's write session, entered with the first write and left with the call.
        seen: Marks of all passages of the call; small integers, because a stream may have millions.
    """

    session: ExitStack
    is_writing: bool = False
    seen: set[int] = field(default_factory=set)
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    tokens_renewed: int = 0
    skipped: list[Skipped] = field(default_factory=list)

    @property
    def written(self) -> int:
        return self.added + self.updated + self.unchanged


@dataclass(frozen=True, slots=True)
class _Encoded:
    """What is stored of each window beside its text, in order; ``tokens`` is empty where no token ids are stored."""

    dense: Vectors
    sparse: Sequence[SparseVector]
    tokens: Sequence[str]


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes passages into a backend.

    Attributes:
        backend: Where to.
        manifest: What the collection is or will be made with.
        encoder: Encodes the windows.
        sparse_encoder: Encodes them as well.
        config: Sizes.
        is_there: Tells whether the collection exists.
        ensure: Creates and opens the collection; called before the first write only.
        scope: What the passages are written through.
        tokens: Makes the reranker's token ids, which are stored with each window; ``None`` stores none.
    """

    backend: Backend
    manifest: Manifest
    encoder: Encoder
    sparse_encoder: SparseEncoder
    config: IngestConfig
    is_there: Callable[[], bool]
    ensure: Callable[[], None]
    scope: Scope = EVERYTHING
    tokens: TokenWriter | None = None

    def write(self, stream: Iterable[Record], on_progress: Callable[[int], None] | None) -> AddReport:
        """Write all passages of ``stream`` and report.

        Raises:
            PayloadError: A passage is unusable; it says how many passages were written before.
            EncodingError: An encoder returned unusable vectors; the batches before are written.
        """
        started = time.perf_counter()
        with ExitStack() as session:
            run = _Run(session)
            try:
                for batch in batches(stream, self.config.batch_size):
                    self._write_batch(self._without_repeats(batch, run), run)
                    if on_progress is not None:
                        on_progress(len(batch))
            except PayloadError as error:
                stays = (
                    f"{run.written} passages before it were written and stay" if run.written else "nothing was written"
                )
                raise PayloadError(f"{error} ({stays})") from error
        return AddReport(
            added=run.added,
            updated=run.updated,
            unchanged=run.unchanged,
            tokens_renewed=run.tokens_renewed,
            skipped=tuple(run.skipped),
            seconds=time.perf_counter() - started,
        )

    def _without_repeats(self, batch: Sequence[Record], run: _Run) -> list[Record]:
        """Return the records that come for the first time in this call."""
        fresh: dict[int, Record] = {}
        for record in batch:
            mark = record.key & _SEEN_MASK
            if mark not in run.seen:
                run.seen.add(mark)
                fresh[record.key] = record
                continue
            first = fresh.get(record.key)
            if (first.hash if first else self._stored_hash(record)) != record.hash:
                raise contradiction(record.id)
            run.skipped.append(Skipped(id=record.id, reason="the same passage came before in this call"))
        return list(fresh.values())

    def _stored_hash(self, record: Record) -> str | None:
        _, payload = self._stored(record, self._lookup([record]))
        return None if payload is None else payload.get(HASH)

    def _write_batch(self, records: Sequence[Record], run: _Run) -> None:
        if not self.is_there():
            # A collection comes into being with its first passages: an encoder that fails must not leave an empty one.
            changes = [Change(record, self._split(record), 0) for record in records]
            encoded = self._encoded(changes)
            self.ensure()
            with self.backend.exclusive():
                self._store(changes, encoded, run)
            return
        with self.backend.exclusive():
            changes = self._changes(records, run)
            if changes:
                self._store(changes, self._encoded(changes), run)

    def _changes(self, records: Sequence[Record], run: _Run) -> list[Change]:
        """Return what differs from what is stored; the rest is counted as unchanged."""
        known = self._lookup(records)
        changes = []
        outdated = []
        for given in records:
            record, payload = self._stored(given, known)
            if payload is None:
                changes.append(Change(record, self._split(record), 0))
            elif payload.get(HASH) == record.hash:
                run.unchanged += 1
                if self.tokens is not None and not self.tokens.is_current(payload.get(TOKENS)):
                    outdated.append(Change(record, self._split(record), window_count(payload)))
            else:
                changes.append(Change(record, self._split(record), window_count(payload)))
        if self.tokens is not None and outdated:
            self._renew_tokens(outdated, self.tokens, run)
        return changes

    def _renew_tokens(self, outdated: Sequence[Change], tokens: TokenWriter, run: _Run) -> None:
        """Write the token ids of stored passages anew, first windows last: it is they that are looked at."""
        self._begin_writing(run)
        made = tokens.encode(texts_of(outdated))
        rows = write_order(outdated)
        for start in range(0, len(rows), _WRITE_POINTS):
            part = rows[start : start + _WRITE_POINTS]
            self.backend.patch(
                {point_id(change.record.key, window.index): {TOKENS: made[row]} for row, change, window in part}
            )
        run.tokens_renewed += len(outdated)

    def _lookup(self, records: Sequence[Record]) -> Mapping[int, Mapping[str, Any]]:
        """Return what is stored of first windows, by point id, wherever passages of these ids may lie."""
        keys = [key for record in records for key in (record.key, *self.scope.other_keys(record.id))]
        fields = self.scope.lookup_fields if self.tokens is None else (*self.scope.lookup_fields, TOKENS)
        return self.backend.fetch([point_id(key) for key in keys], fields)

    def _stored(
        self, record: Record, known: Mapping[int, Mapping[str, Any]]
    ) -> tuple[Record, Mapping[str, Any] | None]:
        """Return the record under the key of the passage that it replaces, and what is stored of that passage."""
        for key in (record.key, *self.scope.other_keys(record.id)):
            payload = known.get(point_id(key))
            if payload is not None and self.scope.owns(payload.get(METADATA)):
                return (record if key == record.key else replace(record, key=key)), payload
        if point_id(record.key) in known:
            raise CollectionError(
                f"the passage {record.id!r} was changed from outside: it lies where this scope keeps it, but does not "
                "belong to the scope any more; delete it without the scope"
            )
        return record, None

    def _split(self, record: Record) -> list[Window]:
        return split(record.text, self.encoder.token_spans, self.manifest.window_plan)

    def _encoded(self, changes: Sequence[Change]) -> _Encoded:
        """Return a dense and a sparse vector a window, checked, in order, and its token ids."""
        texts = texts_of(changes)
        size = self.config.batch_size
        parts = [texts[start : start + size] for start in range(0, len(texts), size)]
        made_by = self.manifest.encoder
        dense = [passage_vectors(self.encoder, part, made_by) for part in parts]
        sparse = passage_words(self.sparse_encoder, texts)
        tokens = [] if self.tokens is None else self.tokens.encode(texts)
        return _Encoded(dense[0] if len(dense) == 1 else np.concatenate(dense), sparse, tokens)

    def _begin_writing(self, run: _Run) -> None:
        if not run.is_writing:
            run.session.enter_context(self.backend.writing())
            run.is_writing = True

    def _store(self, changes: Sequence[Change], encoded: _Encoded, run: _Run) -> None:
        self._begin_writing(run)
        others = self._other_windows(changes)
        self._clear(changes, others)
        rows = write_order(changes)
        for start in range(0, len(rows), _WRITE_POINTS):
            self._send(rows[start : start + _WRITE_POINTS], encoded, others)
        new = sum(not change.stored_count for change in changes)
        run.added += new
        run.updated += len(changes) - new

    def _clear(self, changes: Sequence[Change], others: set[int]) -> None:
        """Make stored long passages count as changed, and delete the windows that their new text does not have."""
        invalid = [point_id(change.record.key) for change in changes if change.stored_count and is_long(change)]
        if invalid:
            self.backend.invalidate(invalid)
        counts = {change.record.key: len(change.windows) for change in changes} if others else {}
        stale = [point for point in others if window_index_of(point) >= counts[key_of(point)]]
        for start in range(0, len(stale), _WRITE_POINTS):
            self.backend.delete(stale[start : start + _WRITE_POINTS])

    def _other_windows(self, changes: Sequence[Change]) -> set[int]:
        """Return the stored points of long passages beside the first, leftovers of an interrupted write included."""
        wanted = [
            point
            for change in changes
            if is_long(change)
            for point in point_ids(change.record.key, max(change.stored_count, len(change.windows)))[1:]
        ]
        pages = (wanted[start : start + _WRITE_POINTS] for start in range(0, len(wanted), _WRITE_POINTS))
        return {point for page in pages for point in self.backend.existing(page)}

    def _send(self, rows: Sequence[tuple[int, Change, Window]], encoded: _Encoded, there: set[int]) -> None:
        vectors = [array("f", encoded.dense[row].tobytes()) for row, _, _ in rows]
        points = []
        added = []
        for (row, change, window), vector in zip(rows, vectors, strict=True):
            point = point_id(change.record.key, window.index)
            terms = encoded.sparse[row]
            payload = payload_of(change.record, window, encoded.tokens[row] if encoded.tokens else None)
            points.append(Point(point, vector, terms if terms.indices else None, payload))
            if point not in there and (window.index or not change.stored_count):
                added.append(point)
        self.backend.upsert(points, added)


def batches(records: Iterable[Record], size: int) -> Iterator[list[Record]]:
    """Yield records in order, ``size`` at most at a time, fewer where their texts are long."""
    batch: list[Record] = []
    chars = 0
    for record in records:
        batch.append(record)
        chars += len(record.text)
        if len(batch) >= size or chars >= _BATCH_CHARS:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch
