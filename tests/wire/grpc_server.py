"""The same test server over gRPC: requests become REST's models, answers gRPC's, by the client's own converters."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

import grpc
from pydantic import BaseModel
from qdrant_client import grpc as wire
from qdrant_client import models
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc
from qdrant_client.grpc import collections_service_pb2_grpc, points_service_pb2_grpc

from tests.wire.store import Store, WireError

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.ALREADY_EXISTS,
}
_KINDS = {value: name.removeprefix("FieldType").lower() for name, value in wire.FieldType.items()}


class GrpcServer:
    """Serves a `Store` over gRPC; a context manager.

    Args:
        store: The collections.
        api_key: Key that every request must carry, if any.
    """

    def __init__(self, store: Store, api_key: str | None = None) -> None:
        self._store = store
        self._api_key = api_key
        self.planned: list[tuple[str, grpc.StatusCode, str]] = []
        """Errors given instead of answers: method, code and details of each, in order."""
        self.methods: list[str] = []
        self._server = grpc.server(ThreadPoolExecutor(max_workers=8))
        points_service_pb2_grpc.add_PointsServicer_to_server(_Services(self), self._server)
        collections_service_pb2_grpc.add_CollectionsServicer_to_server(_Services(self), self._server)
        self.port: int = self._server.add_insecure_port("127.0.0.1:0")

    def __enter__(self) -> GrpcServer:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop(None).wait()

    def answer(self, context: Any, name: str, call: Callable[[Store], Any]) -> Any:
        """Return what ``call`` makes of the store, or end the request with an error's code."""
        self.methods.append(name)
        if self.planned and self.planned[0][0] == name:
            _, code, details = self.planned.pop(0)
            context.abort(code, details)
        given = dict(context.invocation_metadata()).get("api-key")
        if self._api_key is not None and given != self._api_key:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "Invalid API key or JWT")
        try:
            return call(self._store)
        except WireError as error:
            context.abort(_CODES[error.status], str(error))


def _ask(store: Store, method: str, name: str, rest: str = "", body: BaseModel | None = None) -> Any:
    parts = ["collections", name, *(rest.split("/") if rest else ())]
    return store.answer(
        method, parts, b"" if body is None else body.model_dump_json(exclude_none=True, by_alias=True).encode()
    )


def _maybe(request: Any, field: str, convert: Callable[[Any], Any] = lambda value: value) -> Any:
    return convert(getattr(request, field)) if request.HasField(field) else None


def _full(point: Any) -> Any:
    """Return a point with a payload, for converters that want one."""
    return point.model_copy(update={"payload": point.payload or {}})


def _updated(result: models.UpdateResult) -> Any:
    return wire.PointsOperationResponse(result=RestToGrpc.convert_update_result(result), time=0.0)


class _Services:
    """Both services; each method is named as gRPC names it."""

    def __init__(self, server: GrpcServer) -> None:
        self._server = server

    def __getattr__(self, name: str) -> Any:
        handler = _HANDLERS.get(name)
        if handler is None:  # registered, never called by us

            def unknown(_: Any, context: Any) -> None:
                context.abort(grpc.StatusCode.UNIMPLEMENTED, name)

            return unknown

        def serve(request: Any, context: Any) -> Any:
            found = _COLLECTION_GET if name == "Get" and isinstance(request, wire.GetCollectionInfoRequest) else handler
            if name == "Delete" and isinstance(request, wire.DeleteCollection):
                found = _COLLECTION_DELETE
            return self._server.answer(context, name, lambda store: found(store, request))

        return serve


def _exists(store: Store, request: Any) -> Any:
    found = _ask(store, "GET", request.collection_name, "exists")
    return wire.CollectionExistsResponse(result=wire.CollectionExists(exists=found["exists"]))


def _list(store: Store, _: Any) -> Any:
    listed = store.answer("GET", ["collections"], b"").collections
    return wire.ListCollectionsResponse(collections=[wire.CollectionDescription(name=one.name) for one in listed])


def _collection_get(store: Store, request: Any) -> Any:
    info = _ask(store, "GET", request.collection_name)
    return wire.GetCollectionInfoResponse(result=RestToGrpc.convert_collection_info(info))


def _collection_delete(store: Store, request: Any) -> Any:
    return wire.CollectionOperationResponse(result=_ask(store, "DELETE", request.collection_name))


def _create(store: Store, request: Any) -> Any:
    wanted = models.CreateCollection(
        vectors=_maybe(request, "vectors_config", GrpcToRest.convert_vectors_config),
        sparse_vectors=_maybe(request, "sparse_vectors_config", GrpcToRest.convert_sparse_vector_config),
        shard_number=_maybe(request, "shard_number"),
        replication_factor=_maybe(request, "replication_factor"),
        write_consistency_factor=_maybe(request, "write_consistency_factor"),
        on_disk_payload=_maybe(request, "on_disk_payload"),
        metadata=GrpcToRest.convert_payload(request.metadata),
    )
    return wire.CollectionOperationResponse(result=_ask(store, "PUT", request.collection_name, body=wanted))


def _index(store: Store, request: Any) -> Any:
    schema: Any = models.PayloadSchemaType(_KINDS[request.field_type])
    if request.HasField("field_index_params"):
        schema = GrpcToRest.convert_payload_schema_params(request.field_index_params)
    wanted = models.CreateFieldIndex(field_name=request.field_name, field_schema=schema)
    return _updated(_ask(store, "PUT", request.collection_name, "index", wanted))


def _upsert(store: Store, request: Any) -> Any:
    points = models.PointsList(points=[GrpcToRest.convert_point_struct(point) for point in request.points])
    return _updated(_ask(store, "PUT", request.collection_name, "points", points))


def _delete(store: Store, request: Any) -> Any:
    selector = GrpcToRest.convert_points_selector(request.points)
    return _updated(_ask(store, "POST", request.collection_name, "points/delete", selector))


def _update_batch(store: Store, request: Any) -> Any:
    results = []
    for operation in request.operations:
        change = operation.set_payload  # the only one that searchkit sends
        selector = GrpcToRest.convert_points_selector(change.points_selector)
        wanted = models.SetPayload(payload=GrpcToRest.convert_payload(change.payload), points=selector.points)
        result = _ask(store, "POST", request.collection_name, "points/payload", wanted)
        results.append(RestToGrpc.convert_update_result(result))
    return wire.UpdateBatchResponse(result=results)


def _set_payload(store: Store, request: Any) -> Any:
    selector = GrpcToRest.convert_points_selector(request.points_selector)
    wanted = models.SetPayload(
        payload=GrpcToRest.convert_payload(request.payload),
        points=getattr(selector, "points", None),
        filter=getattr(selector, "filter", None),
        key=_maybe(request, "key"),
    )
    return _updated(_ask(store, "POST", request.collection_name, "points/payload", wanted))


def _get(store: Store, request: Any) -> Any:
    wanted = models.PointRequest(
        ids=[GrpcToRest.convert_point_id(one) for one in request.ids],
        with_payload=GrpcToRest.convert_with_payload_selector(request.with_payload),
        with_vector=_maybe(request, "with_vectors", GrpcToRest.convert_with_vectors_selector),
    )
    records = _ask(store, "POST", request.collection_name, "points", wanted)
    return wire.GetResponse(result=[RestToGrpc.convert_record(_full(record)) for record in records])


def _scroll(store: Store, request: Any) -> Any:
    wanted = models.ScrollRequest(
        filter=_maybe(request, "filter", GrpcToRest.convert_filter),
        offset=_maybe(request, "offset", GrpcToRest.convert_point_id),
        limit=_maybe(request, "limit"),
        with_payload=GrpcToRest.convert_with_payload_selector(request.with_payload),
        with_vector=_maybe(request, "with_vectors", GrpcToRest.convert_with_vectors_selector),
    )
    page = _ask(store, "POST", request.collection_name, "points/scroll", wanted)
    following = page.next_page_offset
    return wire.ScrollResponse(
        result=[RestToGrpc.convert_record(_full(record)) for record in page.points],
        next_page_offset=None if following is None else RestToGrpc.convert_extended_point_id(following),
    )


def _count(store: Store, request: Any) -> Any:
    wanted = models.CountRequest(filter=_maybe(request, "filter", GrpcToRest.convert_filter), exact=True)
    found = _ask(store, "POST", request.collection_name, "points/count", wanted)
    return wire.CountResponse(result=RestToGrpc.convert_count_result(found))


def _query_batch(store: Store, request: Any) -> Any:
    searches = [GrpcToRest.convert_query_points(one) for one in request.query_points]
    wanted = models.QueryRequestBatch(searches=searches)
    answers = _ask(store, "POST", request.collection_name, "points/query/batch", wanted)
    return wire.QueryBatchResponse(
        result=[
            wire.BatchResult(result=[RestToGrpc.convert_scored_point(_full(point)) for point in answer.points])
            for answer in answers
        ]
    )


_COLLECTION_GET, _COLLECTION_DELETE = _collection_get, _collection_delete
_HANDLERS: dict[str, Callable[[Store, Any], Any]] = {
    "CollectionExists": _exists,
    "List": _list,
    "Create": _create,
    "CreateFieldIndex": _index,
    "Upsert": _upsert,
    "Delete": _delete,
    "SetPayload": _set_payload,
    "UpdateBatch": _update_batch,
    "Get": _get,
    "Scroll": _scroll,
    "Count": _count,
    "QueryBatch": _query_batch,
}
