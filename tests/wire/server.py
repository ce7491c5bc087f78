"""A Qdrant server on a real socket, for tests: requests, status codes and envelopes of one, the in-memory mode inside.

It shows how a client behaves on the wire. It does not show what only a server has: HNSW, replication, real strict mode.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.wire.store import Store, WireError, jsonable

LIMIT_BYTES = 32 * 2**20
_START_S = 20.0


class WireServer:
    """A server in a thread of this process; a context manager.

    Args:
        api_key: Key that every request must carry, if any.
        read_only_key: Key that may read only.
        is_strict: Whether filters on fields without an index are refused.
        limit_bytes: Largest request.
        certificate: Certificate and key files for TLS.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        read_only_key: str | None = None,
        is_strict: bool = False,
        limit_bytes: int = LIMIT_BYTES,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        self.store = Store(is_strict=is_strict)
        self.requests: list[tuple[str, str, int]] = []
        """Method, path with query, and size of every request in order."""
        self.planned: list[tuple[str, Response]] = []
        """Answers given instead of the real ones: each to the next request whose path ends so, in order."""
        self.limit_bytes = limit_bytes
        self._keys = (api_key, read_only_key)
        self._socket = socket.create_server(("127.0.0.1", 0))
        # asyncio does so itself only for sockets whose protocol number is set; without it every answer waits 40 ms.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"{'http' if certificate is None else 'https'}://127.0.0.1:{self.port}"
        methods = ["GET", "PUT", "POST", "PATCH", "DELETE"]
        app = Starlette(routes=[Route("/{path:path}", self._serve, methods=methods)])
        tls: dict[str, Any] = {}
        if certificate is not None:
            tls = {"ssl_certfile": str(certificate[0]), "ssl_keyfile": str(certificate[1])}
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            http="h11",
            timeout_keep_alive=60,
            timeout_graceful_shutdown=2,
            **tls,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="wire-server", daemon=True
        )

    def start(self) -> WireServer:
        """Start and wait until it answers."""
        self._thread.start()
        end = time.monotonic() + _START_S
        while not self._server.started:
            if time.monotonic() > end or not self._thread.is_alive():
                raise RuntimeError("the wire server did not start")
            time.sleep(0.002)
        return self

    def stop(self) -> None:
        """Stop; open connections are closed."""
        self._server.should_exit = True
        self._thread.join(_START_S)
        self._socket.close()
        self.store.close()

    def __enter__(self) -> WireServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def _serve(self, request: Request) -> Response:
        body = await request.body()
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        self.requests.append((request.method, target, len(body)))
        if self.planned and request.url.path.endswith(self.planned[0][0]):
            return self.planned.pop(0)[1]
        try:
            self._admit(request, len(body))
            parts = request.path_params["path"].rstrip("/").split("/")
            result = await run_in_threadpool(self.store.answer, request.method, parts, body)
        except WireError as error:
            return _error(error)
        if request.path_params["path"] == "":
            return _json(200, result)
        return _json(200, {"result": jsonable(result), "status": "ok", "time": 0.0001})

    def _admit(self, request: Request, size: int) -> None:
        key, read_only = self._keys
        if key is not None:
            given = request.headers.get("api-key")
            if given is None:
                raise WireError(401, "Must provide an API key or an Authorization bearer token")
            if given not in {key, read_only}:
                raise WireError(401, "Invalid API key or JWT")
            if given == read_only and not _is_read(request):
                raise WireError(403, "Forbidden: Global write access is required")
        if size > self.limit_bytes:
            raise WireError(
                400,
                f"Payload error: JSON payload ({size} bytes) is larger than allowed (limit: {self.limit_bytes} bytes).",
            )


def _is_read(request: Request) -> bool:
    path = request.url.path.rstrip("/")
    reads = ("/points", "/scroll", "/count", "/query", "/query/batch", "/query/groups", "/facet")
    return request.method == "GET" or (request.method == "POST" and path.endswith(reads))


def _json(status: int, content: Any) -> Response:
    return Response(json.dumps(content), status, media_type="application/json")


def _error(error: WireError) -> Response:
    if error.status == 401:
        return Response(str(error), 401, media_type="text/plain")
    if not str(error):
        return Response(b"", 404)
    return _json(error.status, {"status": {"error": str(error)}, "time": 0.0001})
