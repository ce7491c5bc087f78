"""What a server does with a request: parsed with the client's own models, answered by the client's in-memory mode."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from qdrant_client import QdrantClient, models

from tests.wire.strict import IndexRequiredError, check

_DIGITS = 6
"""The in-memory mode's scores differ in the seventh digit with the alignment of its arrays; a server's do not."""


class WireError(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def parsed(kind: Any, body: bytes) -> Any:
    """Return a request body as a model of the client's."""
    try:
        return _adapter(kind).validate_json(body or b"{}")
    except ValidationError as error:
        first = error.errors()[0]
        raise WireError(
            400, f"Format error in JSON body: {first['msg']} at {'.'.join(map(str, first['loc']))}"
        ) from error


class Store:
    """Collections of one server. Every call holds one lock, because the in-memory mode is not safe without.

    Args:
        is_strict: Whether filters on fields without an index are refused.
    """

    def __init__(self, *, is_strict: bool = False) -> None:
        self.local = QdrantClient(":memory:")
        self.is_strict = is_strict
        self.created: dict[str, models.CreateCollection] = {}
        self._indexes: dict[str, dict[str, models.PayloadIndexInfo]] = {}
        self._lock = threading.RLock()

    def answer(self, method: str, parts: list[str], body: bytes) -> Any:
        """Return the result of a request; ``parts`` is its path, split."""
        with self._lock:
            try:
                return self._route(method, parts, body)
            except IndexRequiredError as error:
                raise WireError(400, str(error)) from error
            except ValueError as error:
                raise self._refusal(error, parts) from error

    def indexes(self, name: str) -> dict[str, str]:
        """Return the payload indexes of a collection: path and type."""
        return {path: info.data_type.value for path, info in self._indexes.get(name, {}).items()}

    def close(self) -> None:
        """Forget everything."""
        self.local.close()

    def _refusal(self, error: ValueError, parts: list[str]) -> WireError:
        message = str(error)
        if message.startswith("Collection") and message.endswith("not found"):
            return WireError(404, f"Not found: Collection `{parts[1]}` doesn't exist!")
        if "already exists" in message:
            return WireError(409, f"Wrong input: Collection `{parts[1]}` already exists!")
        return WireError(400, f"Wrong input: {message}")

    def _route(self, method: str, parts: list[str], body: bytes) -> Any:
        whole = _SERVER_ROUTES.get(f"{method} {'/'.join(parts)}")
        if whole is not None:
            return whole(self, body)
        if parts[0] != "collections" or len(parts) < 2:
            raise WireError(404, "")
        name, rest = self._resolved(parts[1]), parts[2:]
        found = _ROUTES.get(f"{method} {'/'.join(rest)}")
        if found is not None:
            return found(self, name, body)
        single = _SINGLE_ROUTES.get(f"{method} {rest[0]}")
        if single is None or len(rest) != 2:
            raise WireError(404, "")
        return single(self, name, rest[1])

    def _resolved(self, name: str) -> str:
        aliases = {one.alias_name: one.collection_name for one in self.local.get_aliases().aliases}
        return aliases.get(name, name)

    def _updated(self) -> models.UpdateResult:
        return models.UpdateResult(operation_id=0, status=models.UpdateStatus.COMPLETED)

    def _check(self, name: str, *filters: Any) -> None:
        self._require(name)
        if self.is_strict:
            for one in filters:
                check(one, self.indexes(name))

    def _require(self, name: str) -> None:
        if not self.local.collection_exists(name):
            raise ValueError(f"Collection {name} not found")

    def change_aliases(self, body: bytes) -> Any:
        return self.local.update_collection_aliases(parsed(models.ChangeAliasesOperation, body).actions)

    # Collections

    def exists(self, name: str, _: bytes) -> Any:
        return {"exists": self.local.collection_exists(name)}

    def info(self, name: str, _: bytes) -> Any:
        info = self.local.get_collection(name)
        wanted = self.created.get(name)
        info.payload_schema = dict(self._indexes.get(name, {}))
        if wanted is not None:
            changes = {
                field: getattr(wanted, field)
                for field in ("shard_number", "replication_factor", "write_consistency_factor", "on_disk_payload")
            }
            info.config.params = info.config.params.model_copy(update=changes)
            info.config.quantization_config = wanted.quantization_config
        return info

    def create(self, name: str, body: bytes) -> Any:
        wanted = parsed(models.CreateCollection, body)
        self.local.create_collection(
            name, vectors_config=wanted.vectors, sparse_vectors_config=wanted.sparse_vectors, metadata=wanted.metadata
        )
        self.created[name] = wanted
        self._indexes[name] = {}
        return True

    def change(self, name: str, body: bytes) -> Any:
        wanted = parsed(models.UpdateCollection, body)
        return self.local.update_collection(name, metadata=wanted.metadata)

    def drop(self, name: str, _: bytes) -> Any:
        there = self.local.collection_exists(name)
        self.local.delete_collection(name)
        self.created.pop(name, None)
        self._indexes.pop(name, None)
        return there

    def aliases(self, name: str, _: bytes) -> Any:
        return self.local.get_collection_aliases(name)

    def index(self, name: str, body: bytes) -> Any:
        wanted = parsed(models.CreateFieldIndex, body)
        self._require(name)
        schema = wanted.field_schema
        kind = getattr(schema, "type", schema)
        self._indexes[name][wanted.field_name] = models.PayloadIndexInfo(
            data_type=models.PayloadSchemaType(getattr(kind, "value", kind)),
            params=None if kind is schema else schema,
            points=0,
        )
        return self._updated()

    def drop_index(self, name: str, path: str) -> Any:
        self._indexes.get(name, {}).pop(path, None)
        return self._updated()

    # Points

    def point(self, name: str, point_id: str) -> Any:
        plain = int(point_id) if point_id.isdigit() else point_id
        records = self.local.retrieve(name, [plain], with_payload=True, with_vectors=True)
        if not records:
            raise WireError(404, f"Not found: Point with id {point_id} does not exists!")
        return records[0]

    def upsert(self, name: str, body: bytes) -> Any:
        self._require(name)
        wanted = parsed(models.PointsList | models.PointsBatch, body)
        points = wanted.points if isinstance(wanted, models.PointsList) else wanted.batch
        _check_ids(points.ids if isinstance(points, models.Batch) else (point.id for point in points))
        self.local.upsert(name, points)
        return self._updated()

    def retrieve(self, name: str, body: bytes) -> Any:
        wanted = parsed(models.PointRequest, body)
        _check_ids(wanted.ids)
        payload = True if wanted.with_payload is None else wanted.with_payload
        return self.local.retrieve(name, wanted.ids, payload, wanted.with_vector or False)

    def delete(self, name: str, body: bytes) -> Any:
        selector = parsed(models.PointIdsList | models.FilterSelector, body)
        self._check(name, getattr(selector, "filter", None))
        self.local.delete(name, selector)
        return self._updated()

    def set_payload(self, name: str, body: bytes) -> Any:
        wanted = parsed(models.SetPayload, body)
        self._check(name, wanted.filter)
        self.local.set_payload(name, wanted.payload, wanted.points or wanted.filter, key=wanted.key)
        return self._updated()

    def overwrite_payload(self, name: str, body: bytes) -> Any:
        wanted = parsed(models.SetPayload, body)
        self._check(name, wanted.filter)
        self.local.overwrite_payload(name, wanted.payload, wanted.points or wanted.filter)
        return self._updated()

    def delete_payload(self, name: str, body: bytes) -> Any:
        wanted = parsed(models.DeletePayload, body)
        self._check(name, wanted.filter)
        self.local.delete_payload(name, wanted.keys, wanted.points or wanted.filter)
        return self._updated()

    def batch(self, name: str, body: bytes) -> Any:
        wanted = parsed(models.UpdateOperations, body)
        self._require(name)
        self.local.batch_update_points(name, wanted.operations)
        return [self._updated() for _ in wanted.operations]

    def scroll(self, name: str, body: bytes) -> Any:
        wanted = parsed(models.ScrollRequest, body)
        self._check(name, wanted.filter)
        records, offset = self.local.scroll(
            name,
            wanted.filter,
            limit=wanted.limit or 10,
            order_by=wanted.order_by,
            offset=wanted.offset,
            with_payload=True if wanted.with_payload is None else wanted.with_payload,
            with_vectors=wanted.with_vector or False,
        )
        return models.ScrollResult(points=records, next_page_offset=offset)

    def count(self, name: str, body: bytes) -> Any:
        wanted = parsed(models.CountRequest, body)
        self._check(name, wanted.filter)
        return self.local.count(name, wanted.filter)

    def facet(self, name: str, body: bytes) -> Any:
        wanted = parsed(models.FacetRequest, body)
        self._check(name, wanted.filter)
        return self.local.facet(name, wanted.key, wanted.filter, limit=wanted.limit or 10)

    def query(self, name: str, body: bytes) -> Any:
        return self._query(name, [parsed(models.QueryRequest, body)])[0]

    def query_batch(self, name: str, body: bytes) -> Any:
        return self._query(name, parsed(models.QueryRequestBatch, body).searches)

    def query_groups(self, name: str, body: bytes) -> Any:
        wanted = parsed(models.QueryGroupsRequest, body)
        self._check(name, wanted.filter)
        return self.local.query_points_groups(
            name,
            group_by=wanted.group_by,
            query=wanted.query,
            using=wanted.using,
            prefetch=wanted.prefetch,
            query_filter=wanted.filter,
            limit=wanted.limit or 10,
            group_size=wanted.group_size or 3,
            with_payload=wanted.with_payload or False,
            score_threshold=wanted.score_threshold,
        )

    def _query(self, name: str, requests: list[models.QueryRequest]) -> list[models.QueryResponse]:
        self._check(name, *(request.filter for request in requests))
        plain = [request.model_copy(update={"params": _params(request.params)}) for request in requests]
        answers = self.local.query_batch_points(name, plain)
        for answer in answers:
            for point in answer.points:
                point.score = round(point.score, _DIGITS)
        return answers


_SERVER_ROUTES: dict[str, Callable[[Store, bytes], Any]] = {
    "GET ": lambda store, _: {"title": "qdrant - vector search engine", "version": "1.19.0"},
    "GET collections": lambda store, _: store.local.get_collections(),
    "GET aliases": lambda store, _: store.local.get_aliases(),
    "POST collections/aliases": Store.change_aliases,
}
_SINGLE_ROUTES: dict[str, Callable[[Store, str, str], Any]] = {
    "GET points": Store.point,
    "DELETE index": Store.drop_index,
}
_ROUTES: dict[str, Callable[[Store, str, bytes], Any]] = {
    "GET ": Store.info,
    "PUT ": Store.create,
    "PATCH ": Store.change,
    "DELETE ": Store.drop,
    "GET exists": Store.exists,
    "GET aliases": Store.aliases,
    "PUT index": Store.index,
    "PUT points": Store.upsert,
    "POST points": Store.retrieve,
    "POST points/delete": Store.delete,
    "POST points/payload": Store.set_payload,
    "PUT points/payload": Store.overwrite_payload,
    "POST points/payload/delete": Store.delete_payload,
    "POST points/batch": Store.batch,
    "POST points/scroll": Store.scroll,
    "POST points/count": Store.count,
    "POST points/query": Store.query,
    "POST points/query/batch": Store.query_batch,
    "POST points/query/groups": Store.query_groups,
    "POST facet": Store.facet,
}


def _params(given: models.SearchParams | None) -> models.SearchParams | None:
    """Return what the in-memory mode knows of the parameters of a search; it warns of the others."""
    idf = getattr(given, "idf", None)
    return None if idf is None else models.SearchParams(idf=idf)


def jsonable(result: Any) -> Any:
    """Return a result as it goes into the envelope."""
    if isinstance(result, BaseModel):
        return result.model_dump(mode="json")
    if isinstance(result, list):
        return [jsonable(one) for one in result]
    return result


def _check_ids(ids: Iterable[Any]) -> None:
    for one in ids:
        if isinstance(one, int):
            if 0 <= one < 2**64:
                continue
        elif _is_uuid(str(one)):
            continue
        raise WireError(
            400,
            f"Format error in JSON body: value {one} is not a valid point ID, valid values are either an "
            "unsigned integer or a UUID",
        )


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
