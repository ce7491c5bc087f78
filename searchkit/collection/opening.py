"""Opening a collection: which engine holds it, and whether its name can be one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import SecretStr

from searchkit.collection.backends.base import Backend
from searchkit.collection.collection import Collection
from searchkit.config import SearchKitConfig
from searchkit.errors import ConfigError
from searchkit.stages import Encoder, SparseEncoder, TokenReader

_MAX_NAME_CHARS = 200


def open_collection(
    name: str,
    *,
    path: str | Path | None = None,
    url: str | None = None,
    client: Any = None,
    api_key: str | SecretStr | None = None,
    encoder: Encoder,
    sparse_encoder: SparseEncoder,
    config: SearchKitConfig,
    token_reader: TokenReader | None = None,
) -> Collection:
    """Return the collection ``name``; one that does not exist is created by the first `Collection.add`.

    Args:
        name: Name of the collection.
        path: Folder of the embedded engine; the collection lies in ``path/name``.
        url: Address of a Qdrant server.
        client: A ``QdrantClient``; never closed here. Exactly one of ``path``, ``url`` and ``client`` is given.
        api_key: Key for ``url``.
        encoder: Encodes passages.
        sparse_encoder: Encodes them for BM25.
        config: Settings.
        token_reader: The reranker, if it can read token ids that are stored with the passages.

    Raises:
        ConfigError: The arguments contradict each other, or the name cannot be that of a collection.
        CollectionError: The collection is damaged, locked, not ours, or was made with other settings.
    """
    backend = open_backend(name, path=path, url=url, client=client, api_key=api_key, config=config)
    collection = Collection(name, backend, encoder, sparse_encoder, config, token_reader)
    try:
        collection.open()
    except BaseException:
        collection.close()
        raise
    return collection


def open_backend(
    name: str,
    *,
    path: str | Path | None = None,
    url: str | None = None,
    client: Any = None,
    api_key: str | SecretStr | None = None,
    config: SearchKitConfig,
) -> Backend:
    """Return the engine that holds the collection ``name``; nothing is read yet. Arguments as for `open_collection`.

    Raises:
        ConfigError: The arguments contradict each other, or the name cannot be that of a collection.
        CollectionError: There is something else in its place.
    """
    given = [label for label, value in (("path", path), ("url", url), ("client", client)) if value is not None]
    if len(given) != 1:
        raise ConfigError(f"give exactly one of path, url and client, not {' and '.join(given) or 'none'}")
    if api_key is not None and url is None:
        raise ConfigError("api_key belongs to url; a client of yours brings its own")
    if not isinstance(name, str):
        raise ConfigError(f"a collection's name is a string, not {type(name).__name__}: {name!r}")
    return _embedded(path, name, config) if path is not None else _remote(name, url, client, api_key, config)


def _embedded(path: str | Path, name: str, config: SearchKitConfig) -> Backend:
    # Engines are imported when they are needed: each costs a good part of a second.
    from searchkit.collection.backends.embedded import EmbeddedBackend
    from searchkit.collection.backends.folder import collection_folder

    return EmbeddedBackend(collection_folder(path, name), config)


def _remote(
    name: str, url: str | None, client: Any, api_key: str | SecretStr | None, config: SearchKitConfig
) -> Backend:
    from searchkit.collection.backends.client import ClientBackend
    from searchkit.collection.backends.client_connection import connect, without_password

    if not name or len(name) > _MAX_NAME_CHARS or not name.isprintable() or "/" in name:
        raise ConfigError(
            f"{name!a} cannot name a collection: use 1 to {_MAX_NAME_CHARS} printable characters without '/'"
        )
    if url is None:
        return ClientBackend(client, name, config, place="the given client", is_owner=False)
    return ClientBackend(connect(url, api_key, config), name, config, place=without_password(url), is_owner=True)
