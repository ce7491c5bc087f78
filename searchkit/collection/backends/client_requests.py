"""Points and searches as qdrant-client's models, and how many points fit into one request. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from qdrant_client import models

from searchkit.collection.backends.base import LegQuery, Point
from searchkit.collection.manifest import Manifest
from searchkit.collection.schema import uuid_text
from searchkit.config import SearchKitConfig, StorageConfig
from searchkit.stages import SparseVector

_BYTES_PER_NUMBER, _BYTES_PER_TERM, _BYTES_PER_POINT = 21, 33, 200
"""Room that a float, a sparse term and a point's frame take in a request at most."""


def point_struct(point: Point, config: SearchKitConfig) -> models.PointStruct:
    """Return a point with its vectors under the names of ``config``."""
    vectors: dict[str, Any] = {config.vector_name: list(point.dense)}
    if point.sparse is not None:
        sparse = models.SparseVector(indices=point.sparse.indices, values=point.sparse.values)
        vectors[config.sparse_vector_name] = sparse
    return models.PointStruct(id=uuid_text(point.id), vector=vectors, payload=point.payload)


def leg_request(leg: LegQuery, config: SearchKitConfig, *, is_local: bool) -> models.QueryRequest:
    """Return the search of one leg; the local mode has no index and warns about parameters of one."""
    vector = leg.vector
    if isinstance(vector, SparseVector):
        query: Any = models.SparseVector(indices=vector.indices, values=vector.values)
        using, params = config.sparse_vector_name, rarity_within(leg.corpus)
    else:
        query, using = vector, config.vector_name
        params = None if is_local else _search_params(config)
    return models.QueryRequest(
        query=query, using=using, limit=leg.limit, filter=leg.filter, params=params, with_payload=False
    )


def _search_params(config: SearchKitConfig) -> models.SearchParams:
    storage = config.server.storage
    quantization = None
    if storage.quantization != "none":
        quantization = models.QuantizationSearchParams(rescore=True, oversampling=storage.oversampling)
    return models.SearchParams(hnsw_ef=config.hnsw.ef_search, quantization=quantization)


def creation(manifest: Manifest, config: SearchKitConfig, metadata: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``create_collection`` beside the name; what is left to the server is left out."""
    hnsw, storage = config.hnsw, config.server.storage
    dense = models.VectorParams(
        size=manifest.encoder.dimension,
        distance=models.Distance.COSINE,
        hnsw_config=models.HnswConfigDiff(m=hnsw.m, ef_construct=hnsw.ef_construct, on_disk=storage.hnsw_on_disk),
        quantization_config=_quantization(storage),
        on_disk=storage.vectors_on_disk,
    )
    optional = {
        "shard_number": storage.shard_number,
        "replication_factor": storage.replication_factor,
        "write_consistency_factor": storage.write_consistency_factor,
        "on_disk_payload": storage.payload_on_disk,
    }
    return {
        "vectors_config": {manifest.dense_vector: dense},
        "sparse_vectors_config": {manifest.sparse_vector: models.SparseVectorParams(modifier=models.Modifier.IDF)},
        "metadata": metadata,
        **{name: value for name, value in optional.items() if value is not None},
    }


def _quantization(storage: StorageConfig) -> models.ScalarQuantization | models.BinaryQuantization | None:
    in_ram = storage.quantized_in_ram
    if storage.quantization == "scalar":
        return models.ScalarQuantization(
            scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=in_ram)
        )
    if storage.quantization == "binary":
        return models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=in_ram))
    return None


def rarity_within(corpus: Any) -> models.SearchParams | None:
    """Return parameters by which BM25 counts rarity in ``corpus`` alone; an old client does not know how."""
    known = getattr(models, "IdfCorpusParams", None)
    return None if corpus is None or known is None else models.SearchParams(idf=known(corpus=corpus))


def request_parts(points: Sequence[Point], most_bytes: int) -> Iterator[Sequence[Point]]:
    """Yield ``points`` in order, in parts of about ``most_bytes`` at most; a part has at least one point."""
    start = size = 0
    for end, point in enumerate(points):
        weight = _weight(point)
        if end > start and size + weight > most_bytes:
            yield points[start:end]
            start, size = end, 0
        size += weight
    if start < len(points):
        yield points[start:]


def integer_of(point_id: Any) -> int:
    """Return the integer of a point id as the client gives it."""
    return int(str(point_id).replace("-", ""), 16)


def _weight(point: Point) -> int:
    terms = 0 if point.sparse is None else len(point.sparse.indices)
    payload = len(json.dumps(point.payload))
    return _BYTES_PER_POINT + _BYTES_PER_NUMBER * len(point.dense) + _BYTES_PER_TERM * terms + payload
