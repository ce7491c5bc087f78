"""Clients: one for a server, made from its address and our settings, and what must be known of any."""

from __future__ import annotations

import ipaddress
import logging
import math
import threading
import weakref
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr
from qdrant_client import AsyncQdrantClient, QdrantClient

from searchkit.collection.backends.client_transport import BoundedTransport
from searchkit.config import SearchKitConfig, ServerConfig
from searchkit.errors import ConfigError

_log = logging.getLogger(__name__)

_local_locks: weakref.WeakKeyDictionary[QdrantClient, threading.RLock] = weakref.WeakKeyDictionary()


def connect(url: str, api_key: str | SecretStr | None, config: SearchKitConfig) -> QdrantClient:
    """Return a client for a server; nothing is sent yet.

    Args:
        url: Its address; without a scheme it is https if there is a key, else http.
        api_key: Sent with every request. Over REST the client never holds it; over gRPC it does.
        config: Times, TLS and pool.

    Raises:
        ConfigError: The address cannot be one, or the certificates cannot be read.
    """
    server = config.server
    key = SecretStr(api_key) if isinstance(api_key, str) else api_key
    is_tls = key is not None if "://" not in url else url.startswith("https://")
    if key is not None and not is_tls and not _is_this_machine(url):
        _log.warning("the API key is sent unencrypted to %s; use https", without_password(url))
    try:
        transport = BoundedTransport(server, config.timeout_s, key, is_tls=is_tls)
        arguments: dict[str, Any] = {"transport": transport}
        if server.prefer_grpc:
            arguments.update(_grpc_arguments(server, key))
        # The check of versions is a request whose failure is a mere warning; the first real request says it better.
        return QdrantClient(
            url=url, https=is_tls, timeout=math.ceil(config.timeout_s), check_compatibility=False, **arguments
        )
    except ValueError as error:
        raise ConfigError(
            f"{without_password(url)!r} is not the address of a Qdrant server: {error}; write http://host:6333"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"SearchKitConfig.server.ca_file={server.ca_file!r} cannot be read as certificates: "
            f"{error.strerror or error}; name a file in PEM format"
        ) from error


def _grpc_arguments(server: ServerConfig, api_key: SecretStr | None) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if server.ca_file is not None:
        options["root_certificates"] = Path(server.ca_file).read_bytes()
    return {
        "prefer_grpc": True,
        "grpc_port": server.grpc_port,
        "pool_size": server.pool_size,
        "grpc_options": options,
        "headers": {} if api_key is None else {"api-key": api_key.get_secret_value()},
    }


def checked_client(client: Any) -> QdrantClient:
    """Return the client that a caller gave.

    Raises:
        ConfigError: It is something else.
    """
    if isinstance(client, QdrantClient):
        return client
    hint = 'pass one, such as client=QdrantClient(":memory:")'
    if isinstance(client, AsyncQdrantClient):
        hint = "SearchKit.asearch works with it"
    elif client == ":memory:":
        hint = 'write client=QdrantClient(":memory:")'
    elif isinstance(client, str):
        hint = "an address is given as url="
    raise ConfigError(f"client is a qdrant_client.QdrantClient, not {type(client).__name__}; {hint}")


def is_local(client: QdrantClient) -> bool:
    """Return whether the client is qdrant-client's own imitation of the engine, in memory or in a folder."""
    return client.init_options.get("location") == ":memory:" or client.init_options.get("path") is not None


def server_of(client: QdrantClient) -> object:
    """Return what the clients of one server share, if they name it alike; a local one is only itself."""
    if is_local(client):
        return client
    options = client.init_options
    return str(options.get("url") or options.get("location") or "").rstrip("/"), options.get("host"), options["port"]


def lock_of(client: QdrantClient) -> AbstractContextManager[Any]:
    """Return what a call of the client is made under.

    The local mode loses points when threads write and read at once; a server does not.
    """
    return _local_locks.setdefault(client, threading.RLock()) if is_local(client) else nullcontext()


def without_password(url: str) -> str:
    """Return an address as it may stand in a message."""
    scheme, separator, rest = url.rpartition("://")
    return scheme + separator + rest.rpartition("@")[2]


def _is_this_machine(url: str) -> bool:
    try:
        host = urlsplit(url if "://" in url else f"//{url}").hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
