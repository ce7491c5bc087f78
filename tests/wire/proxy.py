"""A TCP proxy that breaks requests on purpose, by a seed: the same seed breaks the same requests in the same way."""

from __future__ import annotations

import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from types import TracebackType

_DOWN_S = 0.02
_DRIP_S = 0.01
_UPSTREAM_S = 60.0


class _GoneError(Exception):
    """The other side closed the connection."""


class FaultyProxy:
    """Stands before a server and lets a part of the requests go wrong; a context manager.

    Args:
        port: Port of the server on this machine.
        kind: One of `KINDS`.
        seed: Decides which requests are broken and how.
        rate: Share of requests that are.
    """

    def __init__(self, port: int, kind: str, seed: int, rate: float = 0.3) -> None:
        self._upstream = ("127.0.0.1", port)
        self._fault = KINDS[kind]
        self.random = random.Random(f"{kind} {seed}")
        self._rate = rate
        self._lock = threading.Lock()
        self._forwarding = threading.Lock()
        self._stopped = threading.Event()
        self._open: set[socket.socket] = set()
        self._down_until = 0.0
        self.counts: Counter[str] = Counter()
        """Requests and faults so far."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._listen, name="faulty-proxy", daemon=True)]
        self._threads[0].start()

    @property
    def connection_count(self) -> int:
        """Connections that are open."""
        with self._lock:
            return len(self._open)

    def break_all(self) -> None:
        """Break every request from now on."""
        self._rate = 1.0

    def calm(self) -> None:
        """Break nothing any more; returns when connections are accepted again."""
        self._rate = 0.0
        end = time.monotonic() + _UPSTREAM_S
        while time.monotonic() < end:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(_DOWN_S / 2)

    def __enter__(self) -> FaultyProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        with self._lock:
            for one in (self._listener, *self._open):
                _wake(one)
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    # Connections

    def _listen(self) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                self._stay_down()
                continue
            thread = threading.Thread(target=self._serve, args=(connection,), name="faulty-proxy", daemon=True)
            with self._lock:
                self._open.add(connection)
                self._threads.append(thread)
            thread.start()

    def _stay_down(self) -> None:
        """Refuse connections for a while: there is no listener at all."""
        if self._stopped.is_set():
            return
        self._listener.close()
        self._stopped.wait(max(0.0, self._down_until - time.monotonic()))
        with self._lock:
            self._listener = socket.create_server(("127.0.0.1", self.port))
        if self._stopped.is_set():
            _wake(self._listener)

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while not self._stopped.is_set():
                request = read_message(connection)
                if self._is_broken():
                    self._fault(self, connection, request)
                    return
                connection.sendall(self.forward(request))
        except (_GoneError, OSError):
            pass
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _is_broken(self) -> bool:
        with self._lock:
            self.counts["requests"] += 1
            broken = self.random.random() < self._rate
            self.counts["faults"] += broken
            return broken

    def forward(self, request: bytes) -> bytes:
        """Return the server's answer; one request at a time, so that none overtakes another."""
        with self._forwarding, socket.create_connection(self._upstream, _UPSTREAM_S) as upstream:
            upstream.sendall(request)
            return read_message(upstream)

    # What faults are made of

    def go_down(self) -> None:
        """Close the listener for a moment."""
        self._down_until = time.monotonic() + _DOWN_S
        _wake(self._listener)

    def hold(self, connection: socket.socket) -> None:
        """Say nothing until the client leaves."""
        connection.settimeout(_UPSTREAM_S)  # `__exit__` wakes it
        while connection.recv(65536):
            pass

    def drip(self, connection: socket.socket, answer: bytes) -> None:
        """Send one byte now and then until the client leaves."""
        for start in range(len(answer)):
            connection.sendall(answer[start : start + 1])
            if self._stopped.wait(_DRIP_S):
                return

    def choice(self, options: list[bytes]) -> bytes:
        """Return one of ``options``."""
        with self._lock:
            return self.random.choice(options)

    def draw(self) -> float:
        """Return a number from 0 to 1."""
        with self._lock:
            return self.random.random()


def _wake(one: socket.socket) -> None:
    """End whatever waits for a socket in another thread."""
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


def reset(connection: socket.socket) -> None:
    """Close a connection with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def read_message(connection: socket.socket) -> bytes:
    """Return one request or answer, head and body."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _received(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            length = int(value)
    chunks, size = [received], len(body)
    while size < length:
        chunks.append(_received(connection))
        size += len(chunks[-1])
    return b"".join(chunks)


def _received(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise _GoneError
    return data


def message(status: str, body: bytes, *headers: str) -> bytes:
    """Return an answer of our own."""
    lines = [f"HTTP/1.1 {status}", "content-type: application/json", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


# The twelve kinds


def _refuse(proxy: FaultyProxy, connection: socket.socket, _: bytes) -> None:
    proxy.go_down()
    reset(connection)


def _reset_on_request(_: FaultyProxy, connection: socket.socket, __: bytes) -> None:
    reset(connection)


def _reset_on_response(proxy: FaultyProxy, connection: socket.socket, request: bytes) -> None:
    answer = proxy.forward(request)
    connection.sendall(answer[: int(proxy.draw() * len(answer))])
    reset(connection)


def _fin(proxy: FaultyProxy, connection: socket.socket, request: bytes) -> None:
    if proxy.draw() < 0.5:
        proxy.forward(request)
    _wake(connection)


def _cut(proxy: FaultyProxy, connection: socket.socket, request: bytes) -> None:
    answer = proxy.forward(request)
    head = answer.index(b"\r\n\r\n") + 4
    connection.sendall(answer[: head + int(proxy.draw() * (len(answer) - head))])
    _wake(connection)


def _stall(proxy: FaultyProxy, connection: socket.socket, request: bytes) -> None:
    if proxy.draw() < 0.5:
        proxy.forward(request)
    proxy.hold(connection)


def _drip(proxy: FaultyProxy, connection: socket.socket, request: bytes) -> None:
    proxy.drip(connection, proxy.forward(request))


def _lose_reply(proxy: FaultyProxy, connection: socket.socket, request: bytes) -> None:
    proxy.forward(request)
    reset(connection) if proxy.draw() < 0.5 else _wake(connection)


def _overload(proxy: FaultyProxy, connection: socket.socket, _: bytes) -> None:
    body = b'{"status":{"error":"Too many requests"},"time":0}'
    form = proxy.choice([b"Retry-After: 0", f"Retry-After: {formatdate(usegmt=True)}".encode(), b"X-Nothing: 0"])
    connection.sendall(message("429 Too Many Requests", body, form.decode(), "connection: close"))


def _server_error(proxy: FaultyProxy, connection: socket.socket, request: bytes) -> None:
    if proxy.draw() < 0.5:
        proxy.forward(request)
    status = proxy.choice([b"500 Internal Server Error", b"502 Bad Gateway", b"503 Unavailable", b"504 Timeout"])
    body = proxy.choice([b'{"status":{"error":"Service internal error"},"time":0}', b"<html>gateway</html>", b""])
    connection.sendall(message(status.decode(), body, "connection: close"))


def _bad_json(proxy: FaultyProxy, connection: socket.socket, request: bytes) -> None:
    answer = proxy.forward(request)
    whole = answer[answer.index(b"\r\n\r\n") + 4 :]
    body = proxy.choice([b"", b"<html>hello</html>", whole[: len(whole) // 2], b"\xff\xfe\x00", b"nonsense"])
    connection.sendall(message("200 OK", body, "connection: close"))


def _wrong_shape(proxy: FaultyProxy, connection: socket.socket, request: bytes) -> None:
    proxy.forward(request)
    shapes = [{"result": 5}, {"result": {"surprise": 1}}, {"result": None}, {"status": "ok"}, [1], "ok", None]
    body = proxy.choice([json.dumps(shape).encode() for shape in shapes])
    connection.sendall(message("200 OK", body, "connection: close"))


Fault = Callable[[FaultyProxy, socket.socket, bytes], None]

KINDS: dict[str, Fault] = {
    "refuse": _refuse,
    "reset on request": _reset_on_request,
    "reset on response": _reset_on_response,
    "FIN": _fin,
    "cut body": _cut,
    "stall": _stall,
    "drip": _drip,
    "lost reply": _lose_reply,
    "429": _overload,
    "5xx": _server_error,
    "bad JSON": _bad_json,
    "wrong shape": _wrong_shape,
}
