"""Qdrant servers and clusters, and the in-memory mode, through qdrant-client."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from qdrant_client import QdrantClient, models

from searchkit.collection.backends.base import SCAN_PAGE, LegQuery, Point
from searchkit.collection.backends.client_errors import RequestTooLargeError
from searchkit.collection.backends.client_filters import accept, render
from searchkit.collection.backends.client_home import MANIFEST_KEY, NOTES_KEY, ClientHome, ForeignCollectionError
from searchkit.collection.backends.client_points import POINTS_PAGE, whole_point
from searchkit.collection.backends.client_requests import creation, integer_of, leg_request, point_struct, request_parts
from searchkit.collection.filters import Condition, payload_path
from searchkit.collection.manifest import Manifest
from searchkit.collection.notes import Notes
from searchkit.collection.schema import FLAGS, HASH, ID, METADATA, WINDOW_INDEX, uuid_text
from searchkit.config import FilterFieldType, SearchKitConfig
from searchkit.errors import CollectionError, PayloadError, RetrievalError

_LOCAL_DIGITS = 6
"""The local mode's scores differ in the seventh digit from call to call, with the alignment of its arrays."""

_IndexType = models.PayloadSchemaType | models.KeywordIndexParams
_INDEX_TYPES: Mapping[FilterFieldType, _IndexType] = {
    "keyword": models.PayloadSchemaType.KEYWORD,
    "integer": models.PayloadSchemaType.INTEGER,
    "float": models.PayloadSchemaType.FLOAT,
    "bool": models.PayloadSchemaType.KEYWORD,  # on the mirror, which holds strings
    "datetime": models.PayloadSchemaType.DATETIME,
    "text": models.PayloadSchemaType.TEXT,
    "tenant": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True),
}


class ClientBackend(ClientHome):
    """A collection that a ``QdrantClient`` reaches.

    Args:
        client: The client.
        name: Name of the collection.
        config: Settings of the index, the vectors' names, the filter fields and request sizes.
        place: Where it is, for messages.
        is_owner: Whether `close` closes the client.

    Raises:
        ConfigError: ``client`` is no ``QdrantClient``.
    """

    def __init__(self, client: QdrantClient, name: str, config: SearchKitConfig, *, place: str, is_owner: bool) -> None:
        super().__init__(client, name, config, place=place)
        self._is_owner = is_owner
        self._is_open = False
        self._indexed: set[str] = set()
        self._write_lock = threading.RLock()

    @property
    def is_read_only(self) -> bool:
        """Whether the settings say so; a read-only key shows at the first write."""
        return self._config.read_only

    def sibling(self, name: str, config: SearchKitConfig) -> ClientBackend:
        """Return another collection that the same client reaches."""
        backend = ClientBackend(self._client, name, config, place=self._place, is_owner=False)
        backend._follows = False
        return backend

    def create(self, manifest: Manifest, unfinished: str = "") -> Manifest:
        """Create the collection with its manifest in one request, so that it never exists without."""
        notes = Notes(name=self._name, unfinished=unfinished)
        metadata = {MANIFEST_KEY: manifest.model_dump(), NOTES_KEY: notes.model_dump()}
        arguments = creation(manifest, self._config, metadata)
        failure = None
        try:
            self._call("create", lambda: self._client.create_collection(self._name, **arguments))
        except RetrievalError as error:  # perhaps because another process was faster
            failure = error
        try:
            stored = self.find_manifest()
        except ForeignCollectionError as error:
            raise failure or CollectionError(
                f"{self.location} was created, but its server keeps no metadata of collections: upgrade the server "
                "(searchkit was written for Qdrant 1.19) and delete the empty collection"
            ) from error
        if stored is None:
            raise failure or CollectionError(
                f"{self.location} was created but is not there; is the url a load balancer?"
            )
        return stored

    def open(self) -> None:
        """Make sure that the declared filter fields are indexed."""
        if self._is_closed:
            raise CollectionError(f"{self.location} is closed; open it again with a new SearchKit")
        if not self._is_open:
            own: dict[str, _IndexType] = {WINDOW_INDEX: models.PayloadSchemaType.INTEGER}
            self._ensure_indexes(own | _index_types(self._config.filter_fields))
        self._is_open = True

    def index(self, fields: Mapping[str, FilterFieldType]) -> None:
        """Make sure that metadata fields are indexed."""
        self._ensure_indexes(_index_types(fields))

    def writing(self) -> AbstractContextManager[None]:
        """Nothing to do: every write is acknowledged when it is durable."""
        return nullcontext()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep the other writers of this object out; other processes may still write."""
        with self._write_lock:
            yield

    def upsert(self, points: Sequence[Point], added: Sequence[int]) -> None:  # noqa: ARG002  # the server counts
        """Store points in order, in requests of at most ``request_bytes``."""
        if self._is_local:
            self._send(points)
            return
        for part in request_parts(points, self._config.ingest.request_bytes):
            self._send(part)

    def delete(self, points: Sequence[int]) -> None:
        """Delete points."""
        selector = models.PointIdsList(points=[uuid_text(point) for point in points])
        self._write("delete from", lambda: self._client.delete(self._name, selector, wait=True))

    def invalidate(self, points: Sequence[int]) -> None:
        """Empty the content hash of passages."""
        ids: list[Any] = [uuid_text(point) for point in points]
        self._write("write to", lambda: self._client.set_payload(self._name, {HASH: ""}, ids, wait=True))

    def patch(self, payloads: Mapping[int, Mapping[str, Any]]) -> None:
        """Set payload fields, all points in one request."""
        operations = [
            models.SetPayloadOperation(set_payload=models.SetPayload(payload=dict(fields), points=[uuid_text(point)]))
            for point, fields in payloads.items()
        ]

        def send() -> models.UpdateResult:
            results = self._client.batch_update_points(self._name, operations, wait=True)
            if not results:
                raise RetrievalError(f"cannot write to {self.location}: the answer is empty; check the url")
            return results[-1]  # the operations are carried out in order: when the last is done, all are

        self._write("write to", send)

    def existing(self, points: Sequence[int]) -> list[int]:
        """Return those of ``points`` that are there."""
        return list(self._retrieve(points, with_payload=False))

    def fetch(self, points: Sequence[int], fields: Sequence[str] | None = None) -> dict[int, Mapping[str, Any]]:
        """Return payloads by point id."""
        return self._retrieve(points, with_payload=True if fields is None else list(fields))

    def read(self, points: Sequence[int]) -> dict[int, Point]:
        """Return points with payload and vectors."""
        ids = [uuid_text(point) for point in points]

        def ask() -> dict[int, Point]:
            records = self._client.retrieve(self._name, ids, with_payload=True, with_vectors=True)
            return {integer_of(record.id): whole_point(record, self._config) for record in records}

        return self._call("read", ask) if ids else {}

    def read_all(self) -> Iterator[list[Point]]:
        """Return all points with payload and vectors, page by page."""
        offset: Any = None

        def page() -> tuple[list[Point], Any]:
            records, following = self._client.scroll(
                self._name, limit=POINTS_PAGE, offset=offset, with_payload=True, with_vectors=True
            )
            return [whole_point(record, self._config) for record in records], following

        while True:
            points, offset = self._call("read", page)
            if points:
                yield points
            if offset is None:
                return

    def query(self, legs: Sequence[LegQuery]) -> list[list[tuple[int, float]]]:
        """Run all legs in one request."""
        requests = [leg_request(leg, self._config, is_local=self._is_local) for leg in legs]
        digits = _LOCAL_DIGITS if self._is_local else None

        def ask() -> list[list[tuple[int, float]]]:
            answers = self._client.query_batch_points(self._name, requests)
            return [
                [
                    (integer_of(point.id), point.score if digits is None else round(point.score, digits))
                    for point in answer.points
                ]
                for answer in answers
            ]

        answers = self._call("search", ask)
        if len(answers) != len(legs):
            raise RetrievalError(
                f"cannot search {self.location}: {len(answers)} answers came for {len(legs)} searches; check the url"
            )
        return answers

    def count(self, native: Any) -> int:
        """Return the number of points that match."""
        return self._call("count", lambda: self._client.count(self._name, native, exact=True).count)

    def scan(self, native: Any) -> Iterator[list[int]]:
        """Return the ids of all points that match, page by page."""
        offset: Any = None

        def page() -> tuple[list[int], Any]:
            records, following = self._client.scroll(
                self._name, native, limit=SCAN_PAGE, offset=offset, with_payload=False
            )
            return [integer_of(record.id) for record in records], following

        while True:
            points, offset = self._call("read", page)
            if points:
                yield points
            if offset is None:
                return

    def render(self, condition: Condition) -> Any:
        """Return a condition as a ``models.Filter``."""
        return render(condition)

    def accept(self, native: object) -> Any:
        """Return a ``models.Filter`` as it is."""
        return accept(native)

    def all_of(self, natives: Sequence[Any]) -> Any:
        """Return a ``models.Filter`` around them."""
        return models.Filter(must=list(natives))

    def optimize(self, *, wait: bool) -> bool:  # noqa: ARG002
        """Nothing to do: a server optimizes by itself, and the local mode has no index."""
        return False

    @property
    def is_optimizing(self) -> bool:
        """Never in this process."""
        return False

    def close(self) -> None:
        """Close the client if it is ours."""
        if not self._is_closed and self._is_owner:
            self._client.close()
        self._is_closed = True

    def _retrieve(self, points: Sequence[int], *, with_payload: bool | list[str]) -> dict[int, Mapping[str, Any]]:
        if not points:
            return {}
        ids = [uuid_text(point) for point in points]

        def read() -> dict[int, Mapping[str, Any]]:
            records = self._client.retrieve(self._name, ids, with_payload)
            return {integer_of(record.id): record.payload or {} for record in records}

        return self._call("read", read)

    def _send(self, points: Sequence[Point]) -> None:
        """Send one request; in halves if the server finds it too large."""
        structs = [point_struct(point, self._config) for point in points]
        try:
            self._write("write to", lambda: self._client.upsert(self._name, structs, wait=True))
        except RequestTooLargeError as error:
            if len(points) == 1:
                raise PayloadError(
                    f"passage {points[0].payload[ID]!r} is larger than the server accepts in one request; shorten "
                    "its metadata"
                ) from error
            middle = len(points) // 2
            self._send(points[:middle])
            self._send(points[middle:])

    def _ensure_indexes(self, wanted: Mapping[str, _IndexType]) -> None:
        missing = wanted.keys() - self._indexed
        if self._is_local or self._config.read_only or not missing:  # the local mode warns that it has no indexes
            return
        present = self._call("index", lambda: self._client.get_collection(self._name)).payload_schema
        for path in sorted(missing - present.keys()):
            self._index(path, wanted[path])
        self._indexed.update(missing)

    def _index(self, path: str, kind: _IndexType) -> None:
        self._write("index", lambda: self._client.create_payload_index(self._name, path, kind, wait=True))


def _index_types(fields: Mapping[str, FilterFieldType]) -> dict[str, _IndexType]:
    return {
        payload_path(name, FLAGS if kind == "bool" else METADATA): _INDEX_TYPES[kind] for name, kind in fields.items()
    }
