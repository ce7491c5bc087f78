"""Which failures are repeated, how long is waited, and that a deadline is an end."""

from __future__ import annotations

import json
import logging
import ssl
import threading
from datetime import datetime, timedelta, timezone

import grpc
import httpcore
import httpx
import pytest
from pydantic_core import PydanticSerializationError
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from searchkit.collection.backends.client_calls import ClientCalls
from searchkit.collection.backends.client_retries import asked_wait, is_breakdown, is_overload, is_transient
from searchkit.config import CircuitBreakerConfig, RetryConfig, SearchKitConfig, ServerConfig
from searchkit.deadline import Deadline, bound_by
from searchkit.errors import (
    CircuitOpenError,
    CollectionError,
    ConfigError,
    PayloadError,
    RetrievalError,
    RetrievalTimeoutError,
)


def response(status, headers=None):
    return UnexpectedResponse(status, "reason", b"", httpx.Headers(headers or {}))


class Rpc(grpc.RpcError, grpc.Call):
    """An error as gRPC raises it."""

    def __init__(self, code, details=""):
        self._code, self._details = code, details

    def code(self):
        return self._code

    def details(self):
        return self._details


Rpc.__abstractmethods__ = frozenset()


def test_of_all_statuses_only_408_429_and_5xx_are_repeated():
    repeated = {status for status in range(300, 600) if is_transient(response(status))}
    assert repeated == {408, 429, *range(500, 600)}


def test_of_all_grpc_codes_those_are_repeated_that_mean_the_same():
    repeated = {code.name for code in grpc.StatusCode if is_transient(Rpc(code))}
    assert repeated == {"UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "ABORTED", "RESOURCE_EXHAUSTED"}
    assert not is_transient(Rpc(grpc.StatusCode.RESOURCE_EXHAUSTED, "Sent message larger than max"))


BROKEN = [
    httpx.ConnectError("refused"),
    httpx.ReadError("reset"),
    httpx.WriteError("reset"),
    httpx.RemoteProtocolError("cut"),
    httpx.ReadTimeout("slow"),
    httpx.ConnectTimeout("slow"),
    httpx.PoolTimeout("slow"),
    httpcore.ConnectError("refused"),
    httpcore.ReadError("reset"),
    httpcore.WriteError("reset"),
    httpcore.RemoteProtocolError("cut"),
    httpcore.ReadTimeout("slow"),
    httpcore.PoolTimeout("slow"),
]


@pytest.mark.parametrize("error", BROKEN, ids=[f"{type(one).__module__}.{type(one).__name__}" for one in BROKEN])
def test_transport_errors_are_repeated(error):
    assert is_breakdown(error)
    assert is_breakdown(ResponseHandlingException(error))


def tls_refusal():
    error = httpcore.ConnectError("certificate verify failed")
    error.__cause__ = ssl.SSLCertVerificationError("self-signed certificate")
    return ResponseHandlingException(error)


PERMANENT = [
    tls_refusal(),
    ResponseHandlingException(ValueError("wrong shape")),
    ResponseHandlingException(httpx.LocalProtocolError("ours")),
    ResponseHandlingException(httpx.UnsupportedProtocol("ftp")),
    json.JSONDecodeError("bad", "<html>", 0),
    PydanticSerializationError("numpy"),
    ValueError("Collection x not found"),
    RuntimeError("closed"),
    AssertionError("no result"),
    KeyError("bug"),
]


@pytest.mark.parametrize("error", PERMANENT, ids=[repr(one) for one in PERMANENT])
def test_nothing_else_is_repeated(error):
    assert not is_transient(error)


def test_an_overload_is_no_breakdown():
    for error in (response(429), ResourceExhaustedResponse("slow down", 3), QdrantException("Retry-After ...")):
        assert is_overload(error)
        assert not is_breakdown(error)


NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=timezone.utc)


def with_header(given):
    return QdrantException(f"Retry-After header value is not a valid integer: {given}")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ResourceExhaustedResponse("slow down", 7), 7.0),
        (with_header("Thu, 01 Jan 2026 12:00:09 GMT"), 9.0),
        (with_header("Thu, 01 Jan 2026 11:59:00 GMT"), 0.0),
        (with_header("1.5"), 1.5),
        (with_header("soon"), None),
        (QdrantException("something else"), None),
        (response(429), None),
        (response(503, {"Retry-After": "4"}), 4.0),
        (response(503, {"Retry-After": "Thu, 01 Jan 2026 12:01:00 -0000"}), 60.0),
        (response(503, {"Retry-After": "-4"}), 0.0),
        (httpx.ReadError("reset"), None),
        (None, None),
    ],
    ids=str,
)
def test_both_forms_of_retry_after_are_understood(error, expected):
    assert asked_wait(error, NOW) == expected


def test_a_date_is_compared_with_the_clock():
    later = datetime.now(timezone.utc) + timedelta(seconds=100)
    assert asked_wait(with_header(later.strftime("%a, %d %b %Y %H:%M:%S GMT"))) == pytest.approx(100, abs=3)


class Server:
    """Fails with each of ``errors`` in order, then answers."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.calls = 0

    def __call__(self):
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


def calls(breaker=None, **retry):
    retry = {"base_s": 0.001, "cap_s": 0.002} | retry
    server = ServerConfig(retry=RetryConfig(**retry), breaker=CircuitBreakerConfig(**(breaker or {})))
    return ClientCalls("things", "the place", SearchKitConfig(timeout_s=1.0, server=server), None)


def test_a_transient_failure_is_repeated_until_it_works():
    server = Server(response(503), ResponseHandlingException(httpx.ReadError("reset")), response(408))
    assert calls().run("search", server) == "answer"
    assert server.calls == 4


def test_attempts_have_an_end_and_the_last_error_is_ours():
    server = Server(*[response(503)] * 9)
    with pytest.raises(RetrievalError, match=r"cannot search the place: .*503.*\(3 attempts\)"):
        calls(attempts=3).run("search", server)
    assert server.calls == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422])
def test_what_will_not_change_is_asked_once(status):
    server = Server(response(status))
    with pytest.raises(RetrievalError):
        calls().run("search", server)
    assert server.calls == 1


def test_a_server_is_given_the_time_that_it_asks_for():
    waits = []
    guarded = calls()
    retrying = guarded._retrying("search")
    retrying.sleep = waits.append
    retrying(Server(ResourceExhaustedResponse("slow", 7), response(503, {"Retry-After": "3"})))
    assert waits == [7.0, 3.0]


def test_waits_are_random_and_grow():
    def waits():
        seen = []
        retrying = calls(attempts=6, base_s=0.1, cap_s=1.0)._retrying("search")
        retrying.sleep = seen.append
        retrying(Server(*[response(503)] * 5))
        return seen

    many = [waits() for _ in range(200)]
    for number, most in enumerate([0.1, 0.2, 0.4, 0.8, 1.0]):
        column = [one[number] for one in many]
        assert min(column) >= 0
        assert most / 2 < max(column) <= most
        assert len(set(column)) > 100


def test_a_wait_longer_than_allowed_is_an_error_at_once():
    server = Server(ResourceExhaustedResponse("slow", 61))
    with pytest.raises(RetrievalError, match="asks to wait 61 s"):
        calls().run("search", server)
    assert server.calls == 1


def test_no_wait_goes_beyond_the_deadline():
    server = Server(ResourceExhaustedResponse("slow", 2))
    with bound_by(Deadline.after(1.0)), pytest.raises(RetrievalError, match="asks to wait 2 s"):
        calls().run("search", server)
    assert server.calls == 1


def test_a_cancelled_search_is_not_repeated():
    cancelled = threading.Event()
    cancelled.set()
    server = Server(response(503))
    with bound_by(Deadline(cancelled=cancelled)), pytest.raises(RetrievalError, match="503"):
        calls().run("search", server)
    assert server.calls == 1


def test_a_server_that_fails_and_fails_is_left_alone():
    guarded = calls(breaker={"failures": 5}, attempts=3)
    server = Server(*[response(500)] * 99)
    with pytest.raises(RetrievalError, match="500"):
        guarded.run("search", server)
    with pytest.raises(CircuitOpenError, match="the place failed 5 times in a row"):
        guarded.run("search", server)
    with pytest.raises(CircuitOpenError):
        guarded.run("search", server)
    assert server.calls == 5


def test_refusals_and_overloads_do_not_open_the_circuit():
    guarded = calls(breaker={"failures": 1}, attempts=1)
    for error in (response(404), response(429), ResourceExhaustedResponse("slow", 1), ConfigError("x"), KeyError("x")):
        with pytest.raises((RetrievalError, ConfigError, KeyError)):
            guarded.run("search", Server(error))
    assert guarded.run("search", Server()) == "answer"


def test_a_short_deadline_is_not_the_servers_fault():
    guarded = calls(breaker={"failures": 1}, attempts=1)
    late = ResponseHandlingException(httpcore.ReadTimeout("slow"))
    with bound_by(Deadline.after(0.5)), pytest.raises(RetrievalTimeoutError):
        guarded.run("search", Server(late))
    assert guarded.run("search", Server()) == "answer"
    with pytest.raises(RetrievalTimeoutError):
        guarded.run("search", Server(late))
    with pytest.raises(CircuitOpenError):
        guarded.run("search", Server())


def test_our_own_errors_pass_as_they_are():
    error = PayloadError("ours, and a ValueError")
    with pytest.raises(PayloadError) as caught:
        calls().run("search", Server(error))
    assert caught.value is error


def test_a_repetition_is_logged_without_the_request(caplog):
    with caplog.at_level(logging.INFO, logger="searchkit"):
        calls().run("search", Server(response(503)))
    assert "attempt 1 to search failed with UnexpectedResponse" in caplog.text


def test_the_in_memory_mode_is_asked_once_under_its_lock():
    lock = threading.RLock()
    guarded = ClientCalls("things", "the place", SearchKitConfig(), lock)
    server = Server(ValueError("Collection things not found"))
    with pytest.raises(CollectionError):
        guarded.run("search", server)
    assert server.calls == 1
