"""Writing into a collection that another tool owns: its layout, its vectors, and nothing of ours beside them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from qdrant_client import QdrantClient, models

from searchkit.collection.backends.client_calls import ClientCalls
from searchkit.collection.backends.client_errors import RequestTooLargeError
from searchkit.collection.ingest import batches
from searchkit.collection.layout_payloads import encoded_text, payload_for, point_for
from searchkit.collection.layouts import Layout, Payload
from searchkit.collection.manifest import SPECIAL_TOKENS
from searchkit.collection.passages import Record, RecordStream, contradiction
from searchkit.collection.vectors import passage_vectors, passage_words
from searchkit.errors import PayloadError
from searchkit.stages import Encoder, EncoderFingerprint, SparseEncoder
from searchkit.types import AddReport, PassageId, Skipped

_POINTS_PER_REQUEST = 64
"""Of 3,072 dimensions each, a request stays under 5 MB; a server takes 32."""


@dataclass(slots=True)
class _Run:
    """What one call has done so far; ``seen`` holds a digest by point."""

    seen: dict[int | str, str] = field(default_factory=dict)
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    truncated: int = 0
    skipped: list[Skipped] = field(default_factory=list)

    @property
    def written(self) -> int:
        return self.added + self.updated + self.unchanged


@dataclass(frozen=True, slots=True)
class _Change:
    """A passage to be written: its point, its new payload, and whether the point is there."""

    point: int | str
    payload: dict[str, Any]
    is_there: bool


@dataclass(frozen=True, slots=True)
class AttachedWriter:
    """Writes passages as the tool that owns the collection writes them, one point a passage.

    Attributes:
        client: The client.
        name: Name of the collection.
        layout: The tool's.
        dense_name: Name of the dense vector, empty for the unnamed one.
        sparse_name: Name of the BM25 vector, ``None`` if there is none.
        encoder: Encodes what the tool would encode.
        sparse_encoder: Encodes it as well.
        batch_size: Passages read, encoded and compared together.
        calls: Makes the calls of the client.
    """

    client: QdrantClient
    name: str
    layout: Layout
    dense_name: str
    sparse_name: str | None
    encoder: Encoder
    sparse_encoder: SparseEncoder
    batch_size: int
    calls: ClientCalls

    def write(self, stream: RecordStream, on_progress: Callable[[int], None] | None) -> AddReport:
        """Write all passages of ``stream`` and report.

        Raises:
            PayloadError: A passage is unusable; it says how many passages were written before.
            EncodingError: An encoder returned unusable vectors; the batches before are written.
        """
        started = time.perf_counter()
        run = _Run()
        made_by = self.encoder.fingerprint()
        room = self.encoder.max_tokens - SPECIAL_TOKENS - len(self.encoder.token_spans(made_by.passage_prompt))
        try:
            for batch in batches(stream, self.batch_size):
                changes = self._changes(self._without_repeats(batch, run), run)
                texts = [encoded_text(self.layout, change.payload) for change in changes]
                self._store(changes, texts, made_by)
                run.added += sum(not change.is_there for change in changes)
                run.updated += sum(change.is_there for change in changes)
                run.truncated += sum(self._is_longer(text, room) for text in texts)
                if on_progress is not None:
                    on_progress(len(batch))
        except PayloadError as error:
            stays = f"{run.written} passages before it were written and stay" if run.written else "nothing was written"
            raise PayloadError(f"{error} ({stays})") from error
        return AddReport(
            added=run.added,
            updated=run.updated,
            unchanged=run.unchanged,
            skipped=tuple(run.skipped),
            truncated_count=run.truncated,
            seconds=time.perf_counter() - started,
        )

    def delete(self, points: Sequence[int | str]) -> None:
        """Delete points."""
        selector = models.PointIdsList(points=list(points))
        self.calls.run("delete from", lambda: self.client.delete(self.name, selector, wait=True))

    def _without_repeats(self, batch: Sequence[Record], run: _Run) -> dict[int | str, Record]:
        fresh: dict[int | str, Record] = {}
        for record in batch:
            point = point_for(self.layout, record.id)
            if point not in run.seen:
                run.seen[point] = record.hash
                fresh[point] = record
            elif run.seen[point] != record.hash:
                raise contradiction(record.id)
            else:
                run.skipped.append(Skipped(id=record.id, reason="the same passage came before in this call"))
        return fresh

    def _changes(self, records: dict[int | str, Record], run: _Run) -> list[_Change]:
        """Return what differs from what is stored; the rest is counted as unchanged."""
        if not records:
            return []
        found = self.calls.run("read", lambda: self.client.retrieve(self.name, list(records), with_payload=True))
        stored: dict[str, Payload] = {str(record.id): record.payload or {} for record in found}
        changes = []
        for point, record in records.items():
            before = stored.get(str(point))
            identity: PassageId = point if self.layout.id_key is None else record.id
            payload = payload_for(self.layout, identity, record.text, record.metadata, before)
            if before is not None and self._is_same(before, payload, point):
                run.unchanged += 1
            else:
                changes.append(_Change(point, payload, before is not None))
        return changes

    def _is_same(self, before: Payload, after: Payload, point: PassageId) -> bool:
        layout = self.layout
        is_same_text = layout.text_of(before, point) == layout.text_of(after, point)
        return is_same_text and layout.metadata_of(before) == layout.metadata_of(after)

    def _store(self, changes: Sequence[_Change], texts: Sequence[str], made_by: EncoderFingerprint) -> None:
        if not changes:
            return
        dense = passage_vectors(self.encoder, texts, made_by)
        vectors: list[Any] = [{self.dense_name: row} for row in dense.tolist()]
        if self.sparse_name is not None:
            for one, terms in zip(vectors, passage_words(self.sparse_encoder, texts), strict=True):
                if terms.indices:
                    one[self.sparse_name] = models.SparseVector(indices=terms.indices, values=terms.values)
        points = [
            models.PointStruct(id=change.point, vector=vector, payload=change.payload)
            for change, vector in zip(changes, vectors, strict=True)
        ]
        for start in range(0, len(points), _POINTS_PER_REQUEST):
            self._send(points[start : start + _POINTS_PER_REQUEST])

    def _send(self, points: list[models.PointStruct]) -> None:
        """Send one request; in halves if the server finds it too large."""
        try:
            self.calls.run("write to", lambda: self.client.upsert(self.name, points, wait=True))
        except RequestTooLargeError as error:
            if len(points) == 1:
                raise PayloadError(
                    f"the point {points[0].id!r} is larger than the server accepts in one request; shorten its metadata"
                ) from error
            self._send(points[: len(points) // 2])
            self._send(points[len(points) // 2 :])

    def _is_longer(self, text: str, room: int) -> bool:
        # A token covers at least one byte, so this few bytes cannot be too many tokens.
        return len(text.encode()) > room and len(self.encoder.token_spans(text)) > room
