"""Exceptions of qdrant-client, and of what it is built on, as ours, in one place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import grpc  # type: ignore[import-untyped]
import httpx
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from searchkit.errors import CollectionError, ConfigError, RetrievalError, RetrievalTimeoutError, SearchkitError

VENDOR_EXCEPTIONS = (
    ApiException,
    QdrantException,
    grpc.RpcError,
    httpx.HTTPError,
    json.JSONDecodeError,
    PydanticSerializationError,
    ValidationError,
    ValueError,  # the local mode's way to say "not found" and "wrong vector"
    RuntimeError,  # the local mode's way to say "closed"
)
"""Everything that a call of the client may raise by the vendor's design."""

_GRPC_TIMEOUT, _GRPC_MISSING, _GRPC_TOO_LARGE = "DEADLINE_EXCEEDED", "NOT_FOUND", "RESOURCE_EXHAUSTED"


class RequestTooLargeError(RetrievalError):
    """The server refused a request for its size; it may be sent again in smaller parts."""


class MissingCollectionError(CollectionError):
    """The server has no such collection."""


@contextmanager
def mapped_client_errors(location: str, action: str) -> Iterator[None]:
    """Turn the client's exceptions into one of our errors, which names ``location`` and what was tried."""
    try:
        yield
    except SearchkitError:
        raise
    except VENDOR_EXCEPTIONS as error:
        raise meaning_of(error, f"cannot {action} {location}") from error


def meaning_of(error: Exception, failure: str) -> SearchkitError:
    """Return our error for one of the vendor's.

    Args:
        error: The vendor's exception.
        failure: What could not be done, as the beginning of a sentence.
    """
    if isinstance(error, UnexpectedResponse):
        return _of_status(error, failure)
    if isinstance(error, ResponseHandlingException):
        return _of_transport(error.source, failure)
    if isinstance(error, (httpx.HTTPError, json.JSONDecodeError)):
        return _of_transport(error, failure)
    if isinstance(error, ResourceExhaustedResponse):
        return RetrievalError(
            f"{failure}: the server is overloaded and asks to wait {error.retry_after_s} s; repeat the call then"
        )
    if isinstance(error, grpc.RpcError):
        return _of_grpc(error, failure)
    return _of_local(error, failure)


def _of_status(error: UnexpectedResponse, failure: str) -> SearchkitError:
    said = _said(error)
    status = error.status_code or 0
    if status in {401, 403}:
        return CollectionError(f"{failure}: the server refuses the API key (status {status}); check api_key")
    if status == 404:
        return MissingCollectionError(f"{failure}: the server does not have it [{said}]; add passages first")
    if status == 413 or (status == 400 and "larger than allowed" in said):
        return RequestTooLargeError(f"{failure}: the request is larger than the server allows [{said}]")
    if status == 400 and "Index required" in said:
        return ConfigError(
            f"{failure}: the server filters indexed fields only [{said}]; declare the field in "
            "SearchKitConfig.filter_fields"
        )
    if status in {408, 504}:
        return RetrievalTimeoutError(f"{failure}: the server gave up (status {status}) [{said}]")
    return RetrievalError(f"{failure}: the server answers with status {status} [{said}]")


def _said(error: UnexpectedResponse) -> str:
    try:
        content = json.loads(error.content)
        return str(content["status"]["error"])
    except (ValueError, TypeError, KeyError):
        return error.content[:200].decode(errors="replace")


def _of_transport(source: Exception, failure: str) -> SearchkitError:
    detail = f"{type(source).__name__}: {source}"
    if isinstance(source, httpx.TimeoutException):
        return RetrievalTimeoutError(
            f"{failure}: no answer in time [{detail}]; raise SearchKitConfig.timeout_s or look at the server's load"
        )
    if isinstance(source, httpx.ConnectError):
        return CollectionError(f"{failure}: no server can be reached there [{detail}]; start it or correct the url")
    if isinstance(source, (json.JSONDecodeError, ValidationError)):
        return RetrievalError(f"{failure}: the answer is not one of a Qdrant server [{detail[:200]}]; check the url")
    return RetrievalError(f"{failure}: the connection broke [{detail}]; repeat the call")


def _of_grpc(error: grpc.RpcError, failure: str) -> SearchkitError:
    code = error.code().name if isinstance(error, grpc.Call) else type(error).__name__
    detail = error.details() if isinstance(error, grpc.Call) else str(error)
    if code == _GRPC_TIMEOUT:
        return RetrievalTimeoutError(f"{failure}: no answer in time; raise SearchKitConfig.timeout_s")
    if code == _GRPC_MISSING:
        return MissingCollectionError(f"{failure}: the server does not have it; add passages first")
    if code == _GRPC_TOO_LARGE:
        return RequestTooLargeError(f"{failure}: the request is larger than the server allows [{detail}]")
    return RetrievalError(f"{failure}: the server says {code} [{detail}]")


def _of_local(error: Exception, failure: str) -> SearchkitError:
    message = str(error)
    if "not found" in message:
        return MissingCollectionError(f"{failure}: it does not exist [{message}]; add passages first")
    if "closed" in message:
        return CollectionError(f"{failure}: the client is closed [{message}]; open a new one")
    return RetrievalError(f"{failure}: the client says {type(error).__name__}: {message}")
