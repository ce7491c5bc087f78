"""The store of mcp-server-qdrant over a folder, with vectors that need no model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp_server_qdrant.embeddings.base import EmbeddingProvider
from mcp_server_qdrant.qdrant import Entry, QdrantConnector

from tests.contract.foreign_stores import NAME, dense


class Provider(EmbeddingProvider):
    async def embed_documents(self, documents: list[str]) -> list[list[float]]:
        return dense(documents)

    async def embed_query(self, query: str) -> list[float]:
        return dense([query])[0]

    def get_vector_name(self) -> str:
        return "fast-words"

    def get_vector_size(self) -> int:
        return 64


@asynccontextmanager
async def memory_server(folder: Path) -> AsyncIterator[QdrantConnector]:
    connector = QdrantConnector(None, None, NAME, Provider(), qdrant_local_path=str(folder))
    yield connector
    await connector._client.close()


async def stored(connector: QdrantConnector, text: str, metadata: dict[str, Any]) -> None:
    await connector.store(Entry(content=text, metadata=metadata))
