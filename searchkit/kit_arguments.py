"""The arguments that a kit is opened with, checked."""

from __future__ import annotations

import os

from pydantic import SecretStr

from searchkit.config import SearchKitConfig
from searchkit.errors import ConfigError
from searchkit.stages import Encoder, Reranker, SparseEncoder


def hidden_key(api_key: str | None) -> SecretStr | None:
    """Return the key in a form that no frame, repr or dump shows."""
    if api_key is not None and not isinstance(api_key, str):
        raise ConfigError(f"api_key is a string, not {type(api_key).__name__}")
    if api_key is not None and not (api_key.isascii() and api_key.isprintable() and api_key == api_key.strip()):
        raise ConfigError(
            "api_key holds characters that no request can carry, perhaps the line break of a file: strip it"
        )
    return None if api_key is None else SecretStr(api_key)


def check_place(path: object, url: object, client: object, api_key: object) -> None:
    """Refuse what cannot be one place of a collection.

    Raises:
        ConfigError: Several places are given, or one that cannot be, or a key without a server.
    """
    given = [name for name, value in (("path", path), ("url", url), ("client", client)) if value is not None]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} were given: a collection lies in one place; pass one of them")
    if path is not None and (not isinstance(path, str | os.PathLike) or isinstance(os.fspath(path), bytes)):
        raise ConfigError(f"path is a folder's name, not {type(path).__name__}")
    if path is not None and (not os.fspath(path) or "\x00" in str(os.fspath(path))):
        raise ConfigError(f"path={os.fspath(path)!r} is no folder's name; the working directory is '.'")
    if url is not None and (not isinstance(url, str) or not url.strip()):
        raise ConfigError(f"url={url!r} is no address; write http://host:6333")
    if api_key is not None and url is None:
        raise ConfigError("api_key was given without url: only a server asks for a key; pass url= as well")


def check_objects(encoder: object, sparse_encoder: object, reranker: object, config: object) -> None:
    """Refuse names and classes where objects are wanted.

    Raises:
        ConfigError: An argument is of another kind; the message shows one that would do.
    """
    wanted = (
        ("encoder", encoder, Encoder, 'SentenceEncoder("BAAI/bge-small-en-v1.5")'),
        ("sparse_encoder", sparse_encoder, SparseEncoder, 'Bm25Encoder("german")'),
        ("reranker", reranker, Reranker, 'CrossEncoderReranker("cross-encoder/ms-marco-MiniLM-L6-v2")'),
        ("config", config, SearchKitConfig, "SearchKitConfig(windows=WindowConfig(max_tokens=128))"),
    )
    for name, value, kind, example in wanted:
        if value is not None and (isinstance(value, type) or not isinstance(value, kind)):
            raise ConfigError(f"{name}={value!r:.80} is no {kind.__name__}: pass an object such as {example}")
    if isinstance(sparse_encoder, Encoder):  # has the methods of a sparse one as well, and gives dense vectors
        raise ConfigError(f"sparse_encoder={sparse_encoder!r:.80} is a bi-encoder: pass it as encoder=")
