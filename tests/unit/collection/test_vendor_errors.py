"""No exception of a vendor reaches the caller: each has one of ours, chosen in one place."""

from __future__ import annotations

import inspect
import json
import ssl
import threading

import grpc
import httpcore
import httpx
import pytest
import qdrant_client.common.client_exceptions
import qdrant_client.http.exceptions
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from searchkit.collection import open_collection
from searchkit.collection.backends.client_calls import ClientCalls
from searchkit.collection.backends.client_errors import (
    VENDOR_EXCEPTIONS,
    MissingCollectionError,
    RequestTooLargeError,
    meaning_of,
)
from searchkit.collection.backends.embedded_errors import mapped_engine_errors
from searchkit.config import SearchKitConfig
from searchkit.errors import (
    CollectionError,
    ConfigError,
    PayloadError,
    RetrievalError,
    RetrievalTimeoutError,
    SearchkitError,
)
from searchkit.testing import FakeEncoder, FakeSparseEncoder


def classes_of(module):
    return [kind for _, kind in inspect.getmembers(module, inspect.isclass) if issubclass(kind, Exception)]


def test_every_exception_class_of_the_client_is_mapped():
    vendors = {
        *classes_of(qdrant_client.common.client_exceptions),
        *classes_of(qdrant_client.http.exceptions),
        *(kind for kind in classes_of(httpx) if issubclass(kind, (httpx.HTTPError, httpx.InvalidURL))),
        *(
            kind for kind in classes_of(httpcore) if kind is not httpcore.ConnectionNotAvailable
        ),  # never leaves the pool
        *(kind for kind in classes_of(grpc) if issubclass(kind, grpc.RpcError)),
    }
    assert len(vendors) > 10
    assert [kind for kind in vendors if not issubclass(kind, VENDOR_EXCEPTIONS)] == []


def response(status, content=b'{"status":{"error":"what it says"},"time":0}'):
    return UnexpectedResponse(status, "reason", content, httpx.Headers())


def validation_error():
    class Model(BaseModel):
        n: int

    with pytest.raises(ValidationError) as caught:
        Model(n="x")
    return caught.value


class Rpc(grpc.RpcError, grpc.Call):
    """An error as gRPC raises it."""

    def __init__(self, code, details="what it says"):
        self._code = code
        self._details = details

    def code(self):
        return self._code

    def details(self):
        return self._details


Rpc.__abstractmethods__ = frozenset()


def tls_refusal():
    error = httpcore.ConnectError("certificate verify failed")
    error.__cause__ = ssl.SSLCertVerificationError("self-signed certificate")
    return error


CASES = [
    (response(400), RetrievalError, r"status 400 \[what it says\]"),
    (response(400, b"<html>proxy</html>"), RetrievalError, "proxy"),
    (
        response(400, b'{"status":{"error":"Index required but not found for \\"metadata.x\\""}}'),
        ConfigError,
        "filter_fields",
    ),
    (response(400, b'{"status":{"error":"payload is larger than allowed"}}'), RequestTooLargeError, "larger"),
    (response(401), CollectionError, "api_key"),
    (response(403), CollectionError, "api_key"),
    (response(404), MissingCollectionError, "add passages first"),
    (response(408), RetrievalTimeoutError, "408"),
    (response(413, b""), RequestTooLargeError, "larger"),
    (response(500), RetrievalError, "status 500"),
    (response(503, b""), RetrievalError, "status 503"),
    (response(504), RetrievalTimeoutError, "504"),
    (response(None), RetrievalError, "status 0"),
    (ResponseHandlingException(httpx.ConnectError("refused")), CollectionError, "no server can be reached"),
    (ResponseHandlingException(httpcore.ConnectError("refused")), CollectionError, "no server can be reached"),
    (ResponseHandlingException(httpcore.ReadTimeout("")), RetrievalTimeoutError, "timeout_s"),
    (ResponseHandlingException(httpcore.RemoteProtocolError("cut")), RetrievalError, "repeat the call"),
    (ResponseHandlingException(tls_refusal()), CollectionError, "ca_file"),
    (httpcore.ReadError("reset"), RetrievalError, "repeat the call"),
    (httpx.InvalidURL("no host"), RetrievalError, "no host"),
    (AssertionError("Retrieve API returned None result"), RetrievalError, "not one of a Qdrant server"),
    (ResponseHandlingException(httpx.ReadTimeout("")), RetrievalTimeoutError, "timeout_s"),
    (ResponseHandlingException(httpx.PoolTimeout("")), RetrievalTimeoutError, "timeout_s"),
    (ResponseHandlingException(httpx.ReadError("reset")), RetrievalError, "repeat the call"),
    (ResponseHandlingException(httpx.RemoteProtocolError("cut")), RetrievalError, "repeat the call"),
    (ResponseHandlingException(validation_error()), RetrievalError, "not one of a Qdrant server"),
    (json.JSONDecodeError("bad", "<html>", 0), RetrievalError, "not one of a Qdrant server"),
    (httpx.ConnectTimeout("slow"), RetrievalTimeoutError, "timeout_s"),
    (ResourceExhaustedResponse("slow down", 7), RetrievalError, "wait 7 s"),
    (QdrantException("something"), RetrievalError, "something"),
    (PydanticSerializationError("numpy"), RetrievalError, "numpy"),
    (validation_error(), RetrievalError, "ValidationError"),
    (Rpc(grpc.StatusCode.DEADLINE_EXCEEDED), RetrievalTimeoutError, "in time"),
    (Rpc(grpc.StatusCode.NOT_FOUND), MissingCollectionError, "add passages first"),
    (Rpc(grpc.StatusCode.RESOURCE_EXHAUSTED), RetrievalError, r"RESOURCE_EXHAUSTED \[what it says\]"),
    (Rpc(grpc.StatusCode.RESOURCE_EXHAUSTED, "Sent message larger than max"), RequestTooLargeError, "larger"),
    (Rpc(grpc.StatusCode.OUT_OF_RANGE, "decoded message length too large"), RequestTooLargeError, "larger"),
    (Rpc(grpc.StatusCode.UNAUTHENTICATED), CollectionError, "api_key"),
    (Rpc(grpc.StatusCode.PERMISSION_DENIED), CollectionError, "api_key"),
    (Rpc(grpc.StatusCode.INVALID_ARGUMENT, 'Index required but not found for "metadata.x"'), ConfigError, "'x'"),
    (Rpc(grpc.StatusCode.INVALID_ARGUMENT), RetrievalError, "what it says"),
    (Rpc(grpc.StatusCode.UNAVAILABLE), RetrievalError, r"UNAVAILABLE \[what it says\]"),
    (grpc.RpcError("bare"), RetrievalError, "bare"),
    (ValueError("Collection things not found"), MissingCollectionError, "add passages first"),
    (RuntimeError("QdrantLocal instance is closed."), CollectionError, "client is closed"),
    (ValueError("Wrong input"), RetrievalError, "ValueError: Wrong input"),
]


@pytest.mark.parametrize(
    ("error", "kind", "message"), CASES, ids=[f"{n} {case[0]!r:.60}" for n, case in enumerate(CASES)]
)
def test_a_clients_error_says_where_what_and_what_to_do(error, kind, message):
    with pytest.raises(kind, match=message) as caught:
        asked_once("search", error)
    assert str(caught.value).startswith("cannot search the place")
    assert caught.value.__cause__ is error
    assert type(meaning_of(error, "x")) is kind


def asked_once(action, error):
    """Run a call that fails, as the in-memory mode's are run: nothing is repeated."""

    def fail():
        raise error

    ClientCalls("things", "the place", SearchKitConfig(), threading.RLock()).run(action, fail)


def test_what_is_no_vendors_error_passes():
    for error in (KeyboardInterrupt(), KeyError("bug"), PayloadError("ours")):
        with pytest.raises(type(error)) as caught:
            asked_once("search", error)
        assert caught.value is error


class PanicException(BaseException):  # the name that Rust panics have
    """As the engine's panics look from here."""


ENGINE = [
    (Exception("failed to open WAL: Kind(WouldBlock)"), CollectionError, "another process"),
    (Exception("Service runtime error: Shard is not initialized"), CollectionError, "is closed"),
    (Exception("No space left on device (os error 28)"), RetrievalError, "disk is full"),
    (Exception("Permission denied (os error 13)"), CollectionError, "owner of its files"),
    (Exception("Wrong input: Vector dimension error: expected dim: 8, got 7"), CollectionError, "wrong length"),
    (Exception("Wrong input: Not existing vector name error: foo"), CollectionError, "no vector of that name"),
    (Exception("anything else"), RetrievalError, "the embedded engine says: anything else"),
    (ValueError("invalid JSON path"), RetrievalError, "invalid JSON path"),
    (PanicException("index out of bounds"), RetrievalError, "index out of bounds"),
]


@pytest.mark.parametrize(("error", "kind", "message"), ENGINE, ids=[str(case[0]) for case in ENGINE])
def test_an_engines_error_says_where_what_and_what_to_do(error, kind, message):
    with pytest.raises(kind, match=message) as caught, mapped_engine_errors("the place", "search"):
        raise error
    assert str(caught.value).startswith("cannot search the place")
    assert caught.value.__cause__ is error


def test_what_is_not_the_engines_error_passes():
    for error in (KeyboardInterrupt(), KeyError("bug"), PayloadError("ours")):
        with pytest.raises(type(error)) as caught, mapped_engine_errors("the place", "search"):
            raise error
        assert caught.value is error


def open_at(url, **changes):
    return open_collection(
        "things",
        url=url,
        encoder=FakeEncoder(),
        sparse_encoder=FakeSparseEncoder(),
        config=SearchKitConfig.model_validate({"timeout_s": 1.0} | changes),
    )


def test_a_server_that_is_not_there_is_named():
    with pytest.raises(CollectionError, match=r"'things' at http://127\.0\.0\.1:1: no server can be reached"):
        open_at("http://127.0.0.1:1")


@pytest.mark.parametrize("url", ["http://", "http://host:port", "ftp://host"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(SearchkitError, match=r"things|address"):
        open_at(url)


def test_an_api_key_is_in_no_message():
    with pytest.raises(CollectionError) as caught:
        open_collection(
            "things",
            url="https://user:canary-word@127.0.0.1:1",
            api_key="canary-key",
            encoder=FakeEncoder(),
            sparse_encoder=FakeSparseEncoder(),
            config=SearchKitConfig(),
        )
    assert "canary" not in str(caught.value)
    assert "127.0.0.1:1" in str(caught.value)


def test_a_closed_client_is_a_collection_error():
    client = QdrantClient(":memory:")
    collection = open_collection(
        "things", client=client, encoder=FakeEncoder(), sparse_encoder=FakeSparseEncoder(), config=SearchKitConfig()
    )
    collection.add(["text"])
    client.close()
    with pytest.raises(CollectionError, match="the client is closed"):
        collection.count()
