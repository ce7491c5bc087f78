"""Payload indexes of the embedded engine."""

from __future__ import annotations

from collections.abc import Mapping

import qdrant_edge as edge

from searchkit.collection.backends.kept import StoredIndex
from searchkit.collection.filters import payload_path
from searchkit.collection.schema import FLAGS, METADATA
from searchkit.config import FilterFieldType

IndexType = edge.PayloadSchemaType | edge.KeywordIndexParams

_INDEX_TYPES: Mapping[FilterFieldType, IndexType] = {
    "keyword": edge.PayloadSchemaType.Keyword,
    "integer": edge.PayloadSchemaType.Integer,
    "float": edge.PayloadSchemaType.Float,
    "bool": edge.PayloadSchemaType.Keyword,  # on the mirror, which holds strings
    "datetime": edge.PayloadSchemaType.Datetime,
    "text": edge.PayloadSchemaType.Text,
    "tenant": edge.KeywordIndexParams(is_tenant=True),
}


def index_types(fields: Mapping[str, FilterFieldType]) -> dict[str, IndexType]:
    """Return the payload paths of metadata fields with the kind of index that each wants."""
    return {
        payload_path(name, FLAGS if kind == "bool" else METADATA): _INDEX_TYPES[kind] for name, kind in fields.items()
    }


def stored_indexes(schema: Mapping[str, edge.PayloadIndexInfo]) -> dict[str, StoredIndex]:
    """Return the payload indexes that the engine describes, by path."""
    return {path: StoredIndex(_kind_of(info), _is_tenant(info)) for path, info in schema.items()}


def _kind_of(info: edge.PayloadIndexInfo) -> str:
    return str(info.data_type).rpartition(".")[2].lower()


def _is_tenant(info: edge.PayloadIndexInfo) -> bool:
    return bool(getattr(info.params, "is_tenant", False))
