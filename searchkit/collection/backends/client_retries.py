"""Which failures of a request are worth a repetition, and how long to wait before it. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

import grpc  # type: ignore[import-untyped]
import httpcore
import httpx
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from searchkit.collection.backends.client_errors import grpc_code, is_tls_refusal, is_too_large

_BROKEN = (
    httpx.TimeoutException,
    httpx.NetworkError,
    httpx.RemoteProtocolError,
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.RemoteProtocolError,
)
_GRPC_BROKEN = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "ABORTED")
_NOT_A_NUMBER = re.compile(r"Retry-After header value is not a valid integer: (.+)")
"""How qdrant-client refuses a Retry-After that is a date or a fraction."""


def is_overload(error: BaseException) -> bool:
    """Return whether the server works, but asks to be spared (429)."""
    if isinstance(error, QdrantException):
        return True
    if isinstance(error, grpc.RpcError):
        code, detail = grpc_code(error)
        return code == "RESOURCE_EXHAUSTED" and not is_too_large(detail)
    return isinstance(error, UnexpectedResponse) and error.status_code == 429


def is_breakdown(error: BaseException) -> bool:
    """Return whether the server could not be reached, did not answer, or says that it cannot (408, 5xx)."""
    if isinstance(error, UnexpectedResponse):
        status = error.status_code or 0
        return status == 408 or 500 <= status < 600
    if isinstance(error, grpc.RpcError):
        return grpc_code(error)[0] in _GRPC_BROKEN
    source = error.source if isinstance(error, ResponseHandlingException) else error
    return isinstance(source, _BROKEN) and not is_tls_refusal(source)


def is_timeout(error: BaseException) -> bool:
    """Return whether no answer came in time."""
    if isinstance(error, grpc.RpcError):
        return grpc_code(error)[0] == "DEADLINE_EXCEEDED"
    source = error.source if isinstance(error, ResponseHandlingException) else error
    return isinstance(source, (httpx.TimeoutException, httpcore.TimeoutException))


def is_transient(error: BaseException) -> bool:
    """Return whether the same request may succeed when it is made again."""
    return is_overload(error) or is_breakdown(error)


def asked_wait(error: BaseException | None, now: datetime | None = None) -> float | None:
    """Return the seconds that the server asks to wait (Retry-After); ``None`` if it does not say.

    Args:
        error: What the request raised.
        now: The time that a date is compared with; default the present.
    """
    if isinstance(error, ResourceExhaustedResponse):
        return max(0.0, float(error.retry_after_s))
    if isinstance(error, QdrantException):
        refused = _NOT_A_NUMBER.search(str(error))
        return None if refused is None else _seconds(refused[1].strip(), now)
    if isinstance(error, UnexpectedResponse) and error.headers is not None:
        given = error.headers.get("retry-after")
        return None if given is None else _seconds(given, now)
    return None


def _seconds(given: str, now: datetime | None) -> float | None:
    try:
        return max(0.0, float(given))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(given)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - (now or datetime.now(timezone.utc))).total_seconds())
