"""What `SearchKit.attach(..., read_only=False)` writes is read, found and deleted by the library that owns it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from haystack_integrations.document_stores.qdrant.converters import convert_haystack_documents_to_qdrant_points
from llama_index.core.schema import MetadataMode, NodeRelationship, TextNode
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters, VectorStoreQuery
from llama_index.core.vector_stores.types import VectorStoreQueryMode
from llama_index.core.vector_stores.utils import node_to_metadata_dict
from qdrant_client import QdrantClient, models

from searchkit import Bm25Encoder, SearchKit
from searchkit.testing import FakeEncoder, FakeReranker
from tests.contract.foreign_stores import (
    COSINE_64,
    NAME,
    TEXTS,
    dense,
    document,
    haystack_filled,
    langchain_filled,
    llamaindex_filled,
    plain_filled,
)

NEW = "Cooks earn more than waiters in most towns."
NEW_ID = str(uuid.uuid5(uuid.NAMESPACE_URL, NEW))
CHANGED = "Hairdressers are paid every Friday."
METADATA = {"lang": "en", "year": 2024, "open": True, "tags": ["pay", "food"]}
pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant:UserWarning")


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    client = QdrantClient(":memory:")
    yield client
    client.close()


def attach(client: QdrantClient, **arguments: Any) -> SearchKit:
    return SearchKit.attach(
        NAME, client=client, encoder=FakeEncoder(), reranker=FakeReranker(), read_only=False, **arguments
    )


def write(client: QdrantClient, first: Any, *, new_id: str = NEW_ID, **arguments: Any) -> None:
    """Add a passage, change the first one, delete the second; the collection's own description stays as it was."""
    before = client.get_collection(NAME).config
    with attach(client, **arguments) as kit:
        second = kit.search(TEXTS[1])[0].id
        report = kit.add([{"id": new_id, "text": NEW, **METADATA}], show_progress=False)
        assert (report.added, report.updated, report.unchanged) == (1, 0, 0)
        again = kit.add([*kit.get([new_id]), *kit.get([first])], show_progress=False)
        assert (again.added, again.updated, again.unchanged) == (0, 0, 2)
        changed = kit.get([first])[0].model_copy(update={"text": CHANGED})
        assert kit.add([changed], show_progress=False).updated == 1
        assert kit.delete([second]) == 1
        assert kit.count() == 3
        assert kit.search(NEW)[0].id == new_id
    assert client.get_collection(NAME).config == before
    assert not client.get_collection(NAME).config.metadata


def same_sparse(client: QdrantClient, point: str, name: str, text: str) -> None:
    stored: Any = client.retrieve(NAME, [point], with_vectors=True)[0].vector
    fresh = Bm25Encoder().encode_passages([text])[0]
    assert dict(zip(stored[name].indices, stored[name].values, strict=True)) == pytest.approx(
        dict(zip(fresh.indices, fresh.values, strict=True))
    )


@pytest.mark.parametrize("mode", ["dense", "hybrid"])
def test_langchain_qdrant(client: QdrantClient, mode: str) -> None:
    store, ids = langchain_filled(client, mode)
    write(client, ids[0])
    (read,) = store.get_by_ids([NEW_ID])
    assert (read.page_content, read.metadata) == (NEW, {**METADATA, "_id": NEW_ID, "_collection_name": NAME})
    assert store.similarity_search(NEW, k=1) == [read]
    only_new = models.Filter(must=[models.FieldCondition(key="metadata.year", match=models.MatchValue(value=2024))])
    assert store.similarity_search(CHANGED, k=5, filter=only_new) == [read]
    assert [one.page_content for one in store.get_by_ids(ids)] == [CHANGED, TEXTS[2]]
    ((_, score),) = store.similarity_search_with_score(CHANGED, k=1)
    assert score >= (1.0 if mode == "dense" else 0.5) - 1e-5  # two legs that agree, fused by Qdrant
    if mode == "hybrid":
        same_sparse(client, NEW_ID, "langchain-sparse", NEW)
    store.delete([NEW_ID])
    assert client.count(NAME).count == 2


@pytest.mark.parametrize("mode", ["dense", "hybrid"])
def test_llamaindex(client: QdrantClient, mode: str) -> None:
    store, ids = llamaindex_filled(client, mode)
    write(client, ids[0])
    (read,) = store.get_nodes([NEW_ID])
    expected = TextNode(id_=NEW_ID, text=NEW, metadata=METADATA)
    assert isinstance(read, TextNode)
    assert read.model_copy(update={"embedding": None}) == expected
    assert client.retrieve(NAME, [NEW_ID])[0].payload == node_to_metadata_dict(expected)
    (changed,) = store.get_nodes([ids[0]])
    assert (changed.get_content(), changed.metadata) == (CHANGED, {"lang": "en"})
    assert changed.relationships[NodeRelationship.SOURCE].node_id == "document-1"  # type: ignore[union-attr]
    embedded = expected.get_content(metadata_mode=MetadataMode.EMBED)
    query = VectorStoreQuery(
        query_embedding=dense([embedded])[0],
        query_str=embedded,
        similarity_top_k=1,
        sparse_top_k=1,
        mode=VectorStoreQueryMode.HYBRID if mode == "hybrid" else VectorStoreQueryMode.DEFAULT,
        filters=MetadataFilters(filters=[MetadataFilter(key="year", value=2024)]),
    )
    found = store.query(query)
    assert found.ids == [NEW_ID]
    if mode == "hybrid":
        same_sparse(client, NEW_ID, "text-sparse-new", embedded)
    else:
        assert found.similarities == pytest.approx([1.0])
    store.delete("document-1")  # the source that the changed node still has
    assert [record.id for record in client.scroll(NAME)[0]] == [NEW_ID]


@pytest.mark.parametrize("mode", ["dense", "hybrid"])
def test_haystack(mode: str) -> None:
    store, ids = haystack_filled(mode)
    client = store._client
    assert client is not None
    write(client, ids[0], new_id="cooks")
    condition = {"field": "meta.year", "operator": "==", "value": 2024}
    (read,) = store.filter_documents(condition)
    theirs = document(NEW, mode, id="cooks", meta=METADATA)
    assert (read.id, read.content, read.meta) == ("cooks", NEW, METADATA)
    (point,) = convert_haystack_documents_to_qdrant_points([theirs], use_sparse_embeddings=mode == "hybrid")
    (stored,) = client.retrieve(NAME, [point.id])
    assert {"sparse_embedding": None, **(stored.payload or {})} == {"sparse_embedding": None, **(point.payload or {})}
    assert [one.id for one in store._query_by_embedding(dense([NEW])[0], top_k=1)] == ["cooks"]
    if mode == "hybrid":
        same_sparse(client, str(stored.id), "text-sparse", NEW)
    assert {one.content for one in store.filter_documents()} == {NEW, CHANGED, TEXTS[2]}
    store.delete_documents(["cooks"])
    assert store.count_documents() == 2
    client.close()


async def test_mcp_server_qdrant(tmp_path: Path) -> None:
    from tests.contract.memory_server import memory_server, stored

    async with memory_server(tmp_path) as server:
        for text in TEXTS:
            await stored(server, text, {"lang": "en"})
    client = QdrantClient(path=str(tmp_path))
    points = {record.payload["document"]: record.id for record in client.scroll(NAME)[0] if record.payload}
    write(client, points[TEXTS[0]])
    client.close()
    async with memory_server(tmp_path) as server:
        entries = await server.search(NEW)
        assert (entries[0].content, entries[0].metadata) == (NEW, METADATA)
        assert {entry.content for entry in entries} == {NEW, CHANGED, TEXTS[2]}


def test_the_former_client_add(client: QdrantClient) -> None:
    """It is gone from qdrant-client; its reader returned the payload, and ``payload["document"]`` beside it."""
    plain_filled(client, "fast-words", "document")
    write(client, 0)
    (read,) = client.query_points(NAME, query=dense([NEW])[0], using="fast-words", limit=1).points
    assert (read.id, read.payload) == (NEW_ID, {"document": NEW, **METADATA})


@pytest.mark.parametrize("name", ["", "mine"])
def test_plain_qdrant_client(client: QdrantClient, name: str) -> None:
    plain_filled(client, name, "body")
    write(client, 0, text_field="body")
    (read,) = client.query_points(NAME, query=dense([NEW])[0], using=name or None, limit=1).points
    assert (read.id, read.payload, read.score) == (NEW_ID, {"body": NEW, **METADATA}, pytest.approx(1.0))


def test_an_empty_plain_collection_can_be_filled(client: QdrantClient) -> None:
    client.create_collection(NAME, vectors_config=COSINE_64)
    with attach(client, text_field="body") as kit:
        assert kit.add([NEW, {"id": 5, "text": CHANGED}], show_progress=False).added == 2
        assert {hit.id for hit in kit.search(NEW)} >= {5}
    assert {record.payload["body"] for record in client.scroll(NAME)[0] if record.payload} == {NEW, CHANGED}
