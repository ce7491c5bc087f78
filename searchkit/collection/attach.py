"""Finding out how another tool's collection is to be read, and whether our models fit it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from qdrant_client import QdrantClient, models

from searchkit.collection.attached import AttachedCollection, Attachment, plain_id
from searchkit.collection.backends.client import MANIFEST_KEY, connect
from searchkit.collection.backends.client_errors import mapped_client_errors
from searchkit.collection.layouts import DenseVector, Layout, choose_dense, choose_sparse, detect_layout
from searchkit.config import SearchKitConfig
from searchkit.errors import CollectionError, ConfigError
from searchkit.stages import Encoder, SparseEncoder

logger = logging.getLogger(__name__)

SAMPLED_POINTS = 128
"""Points whose payloads decide on the layout."""
COMPARED_POINTS = 8
"""Points whose texts are encoded again, to compare with what is stored."""
LEAST_COSINE = 0.4
"""Below it, stored vectors are of another model: the same one gives 1, and 0.6 or more for a text that was stored with
a heading or a prompt; two models give about 0."""
LEAST_SHARED_WORDS = 0.5
"""Share of a text's BM25 terms that a stored sparse vector must have to be BM25 at all."""


def attach_collection(
    name: str,
    *,
    client: Any,
    url: str | None,
    api_key: str | None,
    text_field: str | None,
    vector: str | None,
    encoder: Encoder,
    sparse_encoder: SparseEncoder,
    config: SearchKitConfig,
    check_encoder: bool,
) -> AttachedCollection:
    """Return a collection that another tool wrote, ready to be searched.

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

    Raises:
        CollectionError: There is no such collection, its layout or vectors are not certain, or the encoder is not the
            one that wrote it.
    """
    used = _client(client, url, api_key, config)
    try:
        found = _examined(used, name, text_field, vector, encoder, sparse_encoder, check_encoder=check_encoder)
    except BaseException:
        if client is None:
            used.close()
        raise
    return AttachedCollection(used, name, found, config, owns_client=client is None)


def _client(client: Any, url: str | None, api_key: str | None, config: SearchKitConfig) -> QdrantClient:
    if (client is None) == (url is None):
        raise ConfigError("a collection is attached through client= or through url=; pass one of them")
    if url is not None:
        return connect(url, api_key, config.timeout_s)
    if not isinstance(client, QdrantClient):
        raise ConfigError(f"client is a qdrant_client.QdrantClient, not {type(client).__name__}; asearch works with it")
    return client


def _examined(
    client: QdrantClient,
    name: str,
    text_field: str | None,
    vector: str | None,
    encoder: Encoder,
    sparse_encoder: SparseEncoder,
    *,
    check_encoder: bool,
) -> Attachment:
    with mapped_client_errors(name, "open"):
        if not client.collection_exists(name):
            known = ", ".join(sorted(one.name for one in client.get_collections().collections)) or "none"
            raise CollectionError(f"there is no collection {name!r}; found {known}")
        config = client.get_collection(name).config
        if MANIFEST_KEY in (config.metadata or {}):
            raise CollectionError(f"{name!r} was made by searchkit; open it with SearchKit({name!r}, ...) instead")
        sampled = client.scroll(name, limit=SAMPLED_POINTS, with_payload=True)[0]
    vectors = _dense_vectors(config.params.vectors)
    layout = detect_layout([point.payload or {} for point in sampled], [one.name for one in vectors], text_field)
    dense = choose_dense(layout, vectors, encoder.dimension, vector)
    sparse_name = choose_sparse(layout, sorted(config.params.sparse_vectors or {}))
    texts, stored = _compared(client, name, layout, sampled)
    if check_encoder:
        _check_dense(name, dense, texts, stored, encoder)
    if sparse_name is not None and not _is_bm25(sparse_name, texts, stored, sparse_encoder):
        logger.warning("collection %r: its sparse vector %r is not BM25 and is not searched", name, sparse_name)
        sparse_name = None
    return Attachment(layout, dense, sparse_name)


def _dense_vectors(given: Any) -> list[DenseVector]:
    named = given if isinstance(given, dict) else {} if given is None else {"": given}
    # Late-interaction vectors hold one vector a token: another search altogether.
    single = {name: vector for name, vector in named.items() if vector.multivector_config is None}
    return [DenseVector(name, vector.size, vector.distance.value) for name, vector in sorted(single.items())]


def _compared(
    client: QdrantClient, name: str, layout: Layout, sampled: Sequence[models.Record]
) -> tuple[list[str], list[dict[str, Any]]]:
    """Return some texts and, for each, the stored vectors by name."""
    texts = {point.id: layout.text_of(point.payload or {}, plain_id(point.id)) for point in sampled}
    chosen = {point: text for point, text in texts.items() if text is not None}
    points = list(chosen)[:COMPARED_POINTS]
    if not points:
        return [], []
    with mapped_client_errors(name, "read"):
        records = client.retrieve(name, points, with_payload=False, with_vectors=True)
    vectors = {record.id: record.vector for record in records}
    stored = [vectors.get(point) for point in points]
    return [chosen[point] for point in points], [one if isinstance(one, dict) else {"": one} for one in stored]


def _pairs(name: str, texts: Sequence[str], stored: Sequence[dict[str, Any]]) -> list[tuple[str, Any]]:
    """Return each text with its stored vector ``name``, where it has one."""
    return [(text, one[name]) for text, one in zip(texts, stored, strict=True) if one.get(name) is not None]


def _check_dense(
    name: str, dense: DenseVector, texts: Sequence[str], stored: Sequence[dict[str, Any]], encoder: Encoder
) -> None:
    pairs = [
        (text, one[dense.name]) for text, one in zip(texts, stored, strict=True) if one.get(dense.name) is not None
    ]
    if not pairs:
        return
    fresh = encoder.encode_passages([text for text, _ in pairs])
    there = np.asarray([vector for _, vector in pairs], dtype=np.float32)
    lengths = np.maximum(np.linalg.norm(there, axis=1), 1e-9)
    cosine = float(np.median((fresh * there).sum(axis=1) / lengths))
    if cosine < LEAST_COSINE:
        raise CollectionError(
            f"the dense vector {dense.name!r} of {name!r} was not written by this encoder: texts encoded again have a "
            f"cosine of {cosine:.2f} to what is stored (1.00 is the same model). Pass encoder= with the model that "
            "wrote it, or check_encoder=False if something else than the text was encoded on purpose"
        )


def _is_bm25(sparse_name: str, texts: Sequence[str], stored: Sequence[dict[str, Any]], encoder: SparseEncoder) -> bool:
    pairs = [
        (text, one[sparse_name]) for text, one in zip(texts, stored, strict=True) if one.get(sparse_name) is not None
    ]
    if not pairs:
        return False
    shares = []
    for fresh, (_, there) in zip(encoder.encode_passages([text for text, _ in pairs]), pairs, strict=True):
        if fresh.indices:
            shares.append(len(set(fresh.indices).intersection(there.indices)) / len(fresh.indices))
    return bool(shares) and float(np.median(shares)) >= LEAST_SHARED_WORDS
