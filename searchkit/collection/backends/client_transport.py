"""Connections to a server over REST, with an end to every request.

httpx gives a time to each read, so a server that sends a byte now and then is never late. Here the end of the whole
request lies in a context variable, and every read and write gets what is left until then.
"""

from __future__ import annotations

import math
import os
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import httpcore
import httpx
from pydantic import SecretStr

from searchkit.config import ServerConfig

_END: ContextVar[float] = ContextVar("searchkit_request_end", default=math.inf)
_WRITE_BYTES = 2**16
_KEEP_ALIVE_S = 60.0


@contextmanager
def request_end(seconds: float) -> Iterator[None]:
    """Let requests made in this context end ``seconds`` from now, with a time-out if they are not answered."""
    token = _END.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _END.reset(token)


def _left(timeout: float | None, kind: type[httpcore.TimeoutException]) -> float | None:
    """Return the seconds that one operation on a socket may take; ``None`` is forever."""
    end = _END.get()
    if math.isinf(end):
        return timeout
    left = end - time.monotonic()
    if left <= 0:
        raise kind("the time for the whole request is over")
    return left if timeout is None else min(timeout, left)


class _BoundedStream(httpcore.NetworkStream):
    """A connection whose reads and writes end with the request."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        view = memoryview(buffer)
        for start in range(0, len(view), _WRITE_BYTES):
            self._stream.write(bytes(view[start : start + _WRITE_BYTES]), _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _BoundedStream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _BoundedNetwork(httpcore.NetworkBackend):
    """Opens such connections."""

    def __init__(self) -> None:
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _BoundedStream(self._backend.connect_tcp(host, port, left, local_address, socket_options))


class _Body(httpx.SyncByteStream):
    """An answer's body as httpx wants it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    def close(self) -> None:
        self._stream.close()


class BoundedTransport(httpx.BaseTransport):
    """The transport of an ``httpx.Client``; its errors are httpcore's.

    The API key is added here, at the last moment, so that the client does not hold it.

    Args:
        config: Times, TLS and the number of connections.
        timeout_s: Longest silence where ``config`` does not say.
        api_key: Sent with every request.
        is_tls: Whether the server is reached over https.

    Raises:
        OSError: ``config.ca_file`` cannot be read as certificates.
    """

    def __init__(self, config: ServerConfig, timeout_s: float, api_key: SecretStr | None, *, is_tls: bool) -> None:
        self._config = config
        self._read_s = config.read_timeout_s or timeout_s
        self._api_key = api_key
        self._tls = _tls_context(config) if is_tls else None
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._pool = self._new_pool()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request and return its answer, whose body is still to be read."""
        target = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        pool_s = _left(self._read_s, httpcore.PoolTimeout)
        times = {"connect": self._config.connect_timeout_s, "read": self._read_s, "write": self._read_s, "pool": pool_s}
        answer = self._connections().handle_request(
            httpcore.Request(
                request.method,
                target,
                headers=self._headers(request),
                content=request.stream,
                extensions={"timeout": times},
            )
        )
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Body(answer.stream), extensions=answer.extensions
        )

    def _headers(self, request: httpx.Request) -> list[tuple[bytes, bytes]]:
        # Not a variable of the caller's: tools that print the variables of a traceback's frames would show the key.
        key = [] if self._api_key is None else [(b"api-key", self._api_key.get_secret_value().encode())]
        return [*request.headers.raw, *key]

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()

    def _connections(self) -> httpcore.ConnectionPool:
        with self._lock:
            if self._process != os.getpid():  # a forked child must not write into its parent's connections
                self._process = os.getpid()
                self._pool = self._new_pool()
            return self._pool

    def _new_pool(self) -> httpcore.ConnectionPool:
        return httpcore.ConnectionPool(
            ssl_context=self._tls,
            max_connections=self._config.pool_size,
            max_keepalive_connections=self._config.pool_size,
            keepalive_expiry=_KEEP_ALIVE_S,
            network_backend=_BoundedNetwork(),
        )


def _tls_context(config: ServerConfig) -> ssl.SSLContext:
    if config.ca_file is None:
        return httpx.create_ssl_context(verify=config.verify_tls)
    return ssl.create_default_context(cafile=config.ca_file)
