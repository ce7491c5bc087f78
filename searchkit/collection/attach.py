"""Finding out how another tool's collection is to be read, and whether our models fit it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr
from qdrant_client import QdrantClient

from searchkit.collection.attach_vectors import (
    Stored,
    check_dense,
    check_dense_writing,
    is_bm25,
    is_same_bm25,
    stored_points,
)
from searchkit.collection.attached import AttachedCollection
from searchkit.collection.attached_answers import Attachment
from searchkit.collection.attached_writing import AttachedWriter
from searchkit.collection.backends.client_calls import ClientCalls
from searchkit.collection.backends.client_connection import checked_client, connect, is_local, lock_of
from searchkit.collection.backends.client_home import MANIFEST_KEY
from searchkit.collection.layout_detection import detect_layout
from searchkit.collection.layouts import TEXT_KEYS_OF_TOOLS, DenseVector, choose_dense, choose_sparse
from searchkit.config import SearchKitConfig
from searchkit.errors import CollectionError, ConfigError
from searchkit.stages import Encoder, SparseEncoder

logger = logging.getLogger(__name__)

SAMPLED_POINTS = 128
"""Points whose payloads decide on the layout."""


def attach_collection(
    name: str,
    *,
    client: Any,
    url: str | None,
    api_key: str | SecretStr | None,
    text_field: str | None,
    vector: str | None,
    encoder: Encoder,
    sparse_encoder: SparseEncoder,
    config: SearchKitConfig,
    check_encoder: bool,
    read_only: bool,
) -> AttachedCollection:
    """Return a collection that another tool wrote, ready to be searched, and written to if asked.

    Args:
        name: Name of the collection.
        client: A client of the caller's; excludes ``url``.
        url: Address of a server.
        api_key: Key for ``url``.
        text_field: Payload key of the text, where it cannot be detected.
        vector: Name of the dense vector, where it cannot be detected.
        encoder: What wrote the dense vectors.
        sparse_encoder: What BM25 vectors are compared with.
        config: Settings of fusion and search.
        check_encoder: Whether some texts are encoded again to compare their vectors with the stored ones.
        read_only: Whether writing is refused.

    Raises:
        CollectionError: There is no such collection, its layout or vectors are not certain, the encoder is not the
            one that wrote it, or points like the tool's own cannot be written.
    """
    used = _client(client, url, api_key, config)
    calls = ClientCalls(name, name, config, lock_of(used) if is_local(used) else None, can_declare=False)
    try:
        examination = _Examination(used, calls, name, encoder, sparse_encoder, check_encoder)
        found = examination.attachment(text_field, vector)
        writer = None if read_only else examination.writer(found, config)
    except BaseException:
        if client is None:
            used.close()
        raise
    return AttachedCollection(used, calls, name, found, config, writer, owns_client=client is None)


def _client(client: Any, url: str | None, api_key: str | SecretStr | None, config: SearchKitConfig) -> QdrantClient:
    if (client is None) == (url is None):
        raise ConfigError("a collection is attached through client= or through url=; pass one of them")
    if url is not None:
        return connect(url, api_key, config)
    return checked_client(client)


class _Examination:
    """Reads what a collection is made of, and some of its points, once."""

    def __init__(
        self,
        client: QdrantClient,
        calls: ClientCalls,
        name: str,
        encoder: Encoder,
        sparse_encoder: SparseEncoder,
        check_encoder: bool,
    ) -> None:
        self._client = client
        self._calls = calls
        self._name = name
        self._encoder = encoder
        self._sparse_encoder = sparse_encoder
        self._check_encoder = check_encoder
        if not calls.run("open", lambda: client.collection_exists(name)):
            listed = calls.run("open", client.get_collections).collections
            known = ", ".join(sorted(one.name for one in listed)) or "none"
            raise CollectionError(f"there is no collection {name!r}; found {known}")
        info = calls.run("open", lambda: client.get_collection(name))
        config = info.config
        if MANIFEST_KEY in (config.metadata or {}):
            raise CollectionError(f"{name!r} was made by searchkit; open it with SearchKit({name!r}, ...) instead")
        self._sampled = calls.run("open", lambda: client.scroll(name, limit=SAMPLED_POINTS, with_payload=True))[0]
        self._vectors = _named(config.params.vectors)
        self._sparse_names = sorted(config.params.sparse_vectors or {})
        self._indexed_paths = list(info.payload_schema or {})
        self._stored: list[Stored] = []

    def attachment(self, text_field: str | None, vector: str | None) -> Attachment:
        """Return how the collection is to be read."""
        vectors = _dense_vectors(self._vectors)
        payloads = [point.payload or {} for point in self._sampled]
        layout = detect_layout(payloads, [one.name for one in vectors], text_field, self._indexed_paths)
        dense = choose_dense(layout, vectors, self._encoder.dimension, vector)
        sparse_name = choose_sparse(layout, self._sparse_names)
        self._stored = stored_points(self._client, self._calls, self._name, layout, self._sampled)
        if self._check_encoder:
            check_dense(self._name, dense, self._stored, self._encoder)
        if sparse_name is not None and not is_bm25(sparse_name, self._stored, self._sparse_encoder):
            logger.warning(
                "collection %r: its sparse vector %r is not BM25 of sparse_encoder= (%s) and is not searched",
                self._name,
                sparse_name,
                self._sparse_encoder.fingerprint().model,
            )
            sparse_name = None
        return Attachment(layout, dense, sparse_name)

    def writer(self, found: Attachment, config: SearchKitConfig) -> AttachedWriter:
        """Return what writes points like the tool's own.

        Raises:
            CollectionError: A point of ours would lack something that the tool's points have.
        """
        if not self._sampled and found.layout.text_key in TEXT_KEYS_OF_TOOLS:
            raise CollectionError(
                f"cannot write to {self._name!r}: it has no points, so it cannot be seen which tool's layout it has; "
                "write its first passage with that tool"
            )
        others = sorted(set(self._vectors) - {found.dense.name}) + [
            name for name in self._sparse_names if name != found.sparse_name
        ]
        if others:
            raise CollectionError(
                f"cannot write to {self._name!r}: points of ours would lack its vectors {', '.join(map(repr, others))},"
                " which no encoder of this kit writes (a sparse vector is written where it is BM25 of ours or "
                "fastembed's); write with the tool that owns it, or leave read_only=True to search"
            )
        if found.sparse_name is not None and not is_same_bm25(
            found.sparse_name, found.layout, self._stored, self._sparse_encoder
        ):
            raise CollectionError(
                f"cannot write to {self._name!r}: its sparse vector {found.sparse_name!r} is BM25 of another language "
                "or other settings than ours, and points written now would rank unlike the others; pass it as "
                "sparse_encoder=, write with the tool that owns it, or leave read_only=True to search"
            )
        if self._check_encoder:
            check_dense_writing(self._name, found.dense, found.layout, self._stored, self._encoder)
        return AttachedWriter(
            client=self._client,
            name=self._name,
            layout=found.layout,
            dense_name=found.dense.name,
            sparse_name=found.sparse_name,
            encoder=self._encoder,
            sparse_encoder=self._sparse_encoder,
            batch_size=config.ingest.batch_size,
            calls=self._calls,
        )


def _named(given: Any) -> dict[str, Any]:
    return given if isinstance(given, dict) else {} if given is None else {"": given}


def _dense_vectors(named: Mapping[str, Any]) -> list[DenseVector]:
    # Late-interaction vectors hold one vector a token: another search altogether.
    single = {name: vector for name, vector in named.items() if vector.multivector_config is None}
    return [DenseVector(name, vector.size, vector.distance.value) for name, vector in sorted(single.items())]
