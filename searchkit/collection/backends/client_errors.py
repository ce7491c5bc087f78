"""Exceptions of qdrant-client, and of what it is built on, as ours, in one place."""

from __future__ import annotations

import json
import ssl

import grpc  # type: ignore[import-untyped]
import httpcore
import httpx
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from searchkit.collection.backends.missing_index import missing_index
from searchkit.errors import CollectionError, ConfigError, RetrievalError, RetrievalTimeoutError, SearchkitError

VENDOR_EXCEPTIONS = (
    ApiException,
    QdrantException,
    grpc.RpcError,
    httpx.HTTPError,
    httpx.InvalidURL,
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    httpcore.ProxyError,
    json.JSONDecodeError,
    PydanticSerializationError,
    ValidationError,
    ValueError,  # the local mode's way to say "not found" and "wrong vector"
    RuntimeError,  # the local mode's way to say "closed"
    AssertionError,  # the client's way to say that an answer holds no result
)
"""Everything that a call of the client may raise by the vendor's design."""

_TIMEOUTS = (httpx.TimeoutException, httpcore.TimeoutException)
_UNREACHED = (httpx.ConnectError, httpcore.ConnectError)
_NONSENSE = (json.JSONDecodeError, ValidationError, AssertionError)
_TRANSPORT = (
    httpx.HTTPError,
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    json.JSONDecodeError,
    AssertionError,
)
_TOO_LARGE = ("larger than allowed", "larger than max", "length too large")


class RequestTooLargeError(RetrievalError):
    """The server refused a request for its size; it may be sent again in smaller parts."""


class MissingCollectionError(CollectionError):
    """The server has no such collection."""


def meaning_of(
    error: Exception, failure: str, collection: str | None = None, *, can_declare: bool = True
) -> SearchkitError:
    """Return our error for one of the vendor's.

    Args:
        error: The vendor's exception.
        failure: What could not be done, as the beginning of a sentence.
        collection: Name of the collection, for calls that the message recommends.
        can_declare: Whether an index that is missing can be declared in `SearchKitConfig`.
    """
    wanted = missing_index(_words(error), collection, can_declare=can_declare)
    if wanted is not None:
        return ConfigError(f"{failure}: {wanted}")
    if isinstance(error, UnexpectedResponse):
        return _of_status(error.status_code or 0, _words(error), failure)
    if isinstance(error, (ResponseHandlingException, *_TRANSPORT)):
        return _of_transport(error.source if isinstance(error, ResponseHandlingException) else error, failure)
    if isinstance(error, QdrantException):
        return _of_overload(error, failure)
    if isinstance(error, grpc.RpcError):
        return _of_grpc(error, failure)
    return _of_local(error, failure)


def _of_overload(error: QdrantException, failure: str) -> RetrievalError:
    if isinstance(error, ResourceExhaustedResponse):
        asked = f"is overloaded and asks to wait {error.retry_after_s} s; repeat the call then"
    else:
        asked = f"is overloaded [{error}]; repeat the call later"
    return RetrievalError(f"{failure}: the server {asked}")


def _of_status(status: int, said: str, failure: str) -> SearchkitError:
    if status in {401, 403}:
        return CollectionError(f"{failure}: the server refuses the API key (status {status}) [{said}]; check api_key")
    if status == 404:
        return MissingCollectionError(f"{failure}: the server does not have it [{said}]; add passages first")
    if status == 413 or (status == 400 and is_too_large(said)):
        return RequestTooLargeError(f"{failure}: the request is larger than the server allows [{said}]")
    if status in {408, 504}:
        return RetrievalTimeoutError(f"{failure}: the server gave up (status {status}) [{said}]")
    return RetrievalError(f"{failure}: the server answers with status {status} [{said}]")


def _words(error: Exception) -> str:
    """Return what the server itself says, as far as it says something."""
    if isinstance(error, grpc.RpcError):
        return grpc_code(error)[1]
    if not isinstance(error, UnexpectedResponse):
        return ""
    try:
        content = json.loads(error.content)
        return str(content["status"]["error"])
    except (ValueError, TypeError, KeyError):
        return error.content[:200].decode(errors="replace")


def _of_transport(source: Exception, failure: str) -> SearchkitError:
    detail = f"{type(source).__name__}: {source}"[:200]
    if isinstance(source, _TIMEOUTS):
        return RetrievalTimeoutError(
            f"{failure}: no answer in time [{detail}]; raise SearchKitConfig.timeout_s or look at the server's load"
        )
    if is_tls_refusal(source):
        return CollectionError(
            f"{failure}: the secure connection fails [{detail}]; name the server's certificates in "
            "SearchKitConfig.server.ca_file, or correct the url"
        )
    if isinstance(source, _UNREACHED):
        return CollectionError(f"{failure}: no server can be reached there [{detail}]; start it or correct the url")
    if isinstance(source, _NONSENSE):
        return RetrievalError(f"{failure}: the answer is not one of a Qdrant server [{detail}]; check the url")
    return RetrievalError(f"{failure}: the connection broke [{detail}]; repeat the call")


def is_tls_refusal(source: BaseException | None) -> bool:
    """Return whether a connection failed for its certificate or its protocol, which no repetition mends."""
    while source is not None:
        if isinstance(source, ssl.SSLError):
            return not isinstance(source, (ssl.SSLEOFError, ssl.SSLZeroReturnError))
        source = source.__cause__ or source.__context__  # httpcore raises anew, without the cause
    return False


_GRPC_STATUS = {
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "INVALID_ARGUMENT": 400,
    "OUT_OF_RANGE": 400,
}
"""gRPC's codes by the HTTP status that stands for the same fault."""


def _of_grpc(error: grpc.RpcError, failure: str) -> SearchkitError:
    code, detail = grpc_code(error)
    if code == "DEADLINE_EXCEEDED":
        return RetrievalTimeoutError(f"{failure}: no answer in time; raise SearchKitConfig.timeout_s")
    if is_too_large(detail):
        return RequestTooLargeError(f"{failure}: the request is larger than the server allows [{detail}]")
    if code in _GRPC_STATUS:
        return _of_status(_GRPC_STATUS[code], detail, failure)
    return RetrievalError(f"{failure}: the server says {code} [{detail}]")


def is_too_large(said: str) -> bool:
    """Return whether a server's words complain about the size of a request."""
    return any(words in said for words in _TOO_LARGE)


def grpc_code(error: grpc.RpcError) -> tuple[str, str]:
    """Return the name of the status of a gRPC error and its details."""
    if isinstance(error, grpc.Call):
        return str(error.code().name), str(error.details())
    return type(error).__name__, str(error)


def _of_local(error: Exception, failure: str) -> SearchkitError:
    message = str(error)
    if "not found" in message:
        return MissingCollectionError(f"{failure}: it does not exist [{message}]; add passages first")
    if "closed" in message:
        return CollectionError(f"{failure}: the client is closed [{message}]; open a new one")
    return RetrievalError(f"{failure}: the client says {type(error).__name__}: {message}")
