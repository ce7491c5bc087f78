"""How a server keeps a collection, in our settings. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qdrant_client import models

from searchkit.collection.backends.kept import Kept, StoredIndex, filter_fields_of
from searchkit.config import HnswConfig, SearchKitConfig, StorageConfig


def kept_by(info: models.CollectionInfo, config: SearchKitConfig) -> Kept:
    """Return ``config`` with the filter fields, the index and the storage that a server reports of a collection."""
    fields, left_out = filter_fields_of({path: _stored_index(one) for path, one in info.payload_schema.items()})
    params = info.config.params
    vectors: Mapping[str, models.VectorParams] = params.vectors if isinstance(params.vectors, dict) else {}
    dense = vectors.get(config.vector_name)
    graph = (None if dense is None else dense.hnsw_config) or models.HnswConfigDiff()
    quantization = (None if dense is None else dense.quantization_config) or info.config.quantization_config
    storage = config.server.storage.model_copy(
        update={
            "shard_number": params.shard_number,
            "replication_factor": params.replication_factor,
            "write_consistency_factor": params.write_consistency_factor,
            "payload_on_disk": params.on_disk_payload,
            "vectors_on_disk": None if dense is None else dense.on_disk,
            "hnsw_on_disk": graph.on_disk,
            **_quantization_settings(quantization),
        }
    )
    hnsw = config.hnsw.model_copy(update={"m": graph.m, "ef_construct": graph.ef_construct})
    return Kept(
        config.model_copy(
            update={
                "filter_fields": {**fields, **config.filter_fields},
                "hnsw": HnswConfig.model_validate(hnsw.model_dump()),
                "server": config.server.model_copy(
                    update={"storage": StorageConfig.model_validate(storage.model_dump())}
                ),
            }
        ),
        (*left_out, *_unsaid(info, quantization, config)),
    )


def _stored_index(info: models.PayloadIndexInfo) -> StoredIndex:
    params = {} if info.params is None else info.params.model_dump(exclude_none=True, exclude={"type"})
    is_tenant = bool(params.pop("is_tenant", False))
    return StoredIndex(info.data_type.value, is_tenant, bool(params))


def _quantization_settings(quantization: Any) -> dict[str, Any]:
    if isinstance(quantization, models.ScalarQuantization):
        return {"quantization": "scalar", "quantized_in_ram": bool(quantization.scalar.always_ram)}
    if isinstance(quantization, models.BinaryQuantization):
        return {"quantization": "binary", "quantized_in_ram": bool(quantization.binary.always_ram)}
    return {"quantization": "none"}


def _unsaid(info: models.CollectionInfo, quantization: Any, config: SearchKitConfig) -> list[str]:
    """Return in words what our settings have no field for."""
    params, strict_mode = info.config.params, info.config.strict_mode_config
    others = set(params.vectors or () if isinstance(params.vectors, dict) else ()) | set(params.sparse_vectors or ())
    unsaid = [f"the vector {name!r}" for name in sorted(others - {config.vector_name, config.sparse_vector_name})]
    if quantization is not None and not isinstance(quantization, models.ScalarQuantization | models.BinaryQuantization):
        unsaid.append(f"its quantization ({type(quantization).__name__})")
    if params.sharding_method == models.ShardingMethod.CUSTOM:
        unsaid.append("its custom shard keys")
    if strict_mode is not None and strict_mode.enabled:
        unsaid.append("its strict mode")
    return unsaid
