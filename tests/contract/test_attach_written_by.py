"""Collections written by the real libraries; a library that is not installed skips its test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from qdrant_client import QdrantClient, models

from searchkit import Bm25Encoder, SearchKit
from searchkit.testing import FakeEncoder, FakeReranker

TEXTS = [
    "Hairdressers are paid by the hour or by the cut.",
    "The barber shop opens at nine and closes at six.",
    "Friseure verdienen im Jahr weniger als Köche.",
]
LANGUAGES = ["en", "en", "de"]
QUESTION = "how are hairdressers paid"


def _dense(texts: list[str]) -> list[list[float]]:
    return [vector.tolist() for vector in FakeEncoder().encode_passages(texts)]


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    client = QdrantClient(":memory:")
    yield client
    client.close()


def check(client: QdrantClient, *, mode: str, ids: list[Any]) -> None:
    with SearchKit.attach("theirs", client=client, encoder=FakeEncoder(), reranker=FakeReranker()) as kit:
        result = kit.search(QUESTION)
        assert result.mode == mode
        assert result[0].text == TEXTS[0]
        assert {hit.id: hit.text for hit in result} == dict(zip(ids, TEXTS, strict=True))
        german = kit.search(QUESTION, filter={"lang": "de"})
        assert [(hit.id, hit.metadata) for hit in german] == [(ids[2], {"lang": "de"})]
        assert [passage.text for passage in kit.get([ids[1]])] == [TEXTS[1]]


@pytest.mark.parametrize("mode", ["dense", "hybrid"])
def test_langchain_qdrant(client: QdrantClient, mode: str) -> None:
    langchain_qdrant = pytest.importorskip("langchain_qdrant")
    from langchain_core.embeddings import Embeddings

    class Dense(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return _dense(texts)

        def embed_query(self, text: str) -> list[float]:
            return _dense([text])[0]

    class Sparse(langchain_qdrant.SparseEmbeddings):  # type: ignore[misc, name-defined]
        def embed_documents(self, texts: list[str]) -> list[Any]:
            vectors = Bm25Encoder().encode_passages(texts)
            return [langchain_qdrant.SparseVector(indices=one.indices, values=one.values) for one in vectors]

        def embed_query(self, text: str) -> Any:
            return self.embed_documents([text])[0]

    client.create_collection(
        "theirs",
        vectors_config=models.VectorParams(size=64, distance=models.Distance.COSINE),
        sparse_vectors_config={"langchain-sparse": models.SparseVectorParams()} if mode == "hybrid" else None,
    )
    store = langchain_qdrant.QdrantVectorStore(
        client,
        "theirs",
        embedding=Dense(),
        sparse_embedding=Sparse(),
        retrieval_mode=langchain_qdrant.RetrievalMode(mode),
    )
    ids = store.add_texts(TEXTS, metadatas=[{"lang": language} for language in LANGUAGES])
    check(client, mode=mode, ids=[str(uuid.UUID(one)) for one in ids])
    with SearchKit.attach("theirs", client=client, encoder=FakeEncoder(), reranker=FakeReranker()) as kit:
        assert [passage.text for passage in kit.get(ids)] == TEXTS  # LangChain's ids lack the dashes


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant:UserWarning")
@pytest.mark.parametrize("mode", ["dense", "hybrid"])
def test_llamaindex(client: QdrantClient, mode: str) -> None:
    qdrant = pytest.importorskip("llama_index.vector_stores.qdrant")
    from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode

    def words(texts: list[str]) -> tuple[list[list[int]], list[list[float]]]:
        vectors = Bm25Encoder().encode_passages(texts)
        return [one.indices for one in vectors], [one.values for one in vectors]

    nodes = [
        TextNode(
            text=text,
            metadata={"lang": language},
            embedding=vector,
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id="document-1")},
        )
        for text, language, vector in zip(TEXTS, LANGUAGES, _dense(TEXTS), strict=True)
    ]
    functions: dict[str, Any] = {"sparse_doc_fn": words, "sparse_query_fn": words} if mode == "hybrid" else {}
    store = qdrant.QdrantVectorStore("theirs", client=client, enable_hybrid=mode == "hybrid", **functions)
    store.add(nodes)
    check(client, mode=mode, ids=[node.node_id for node in nodes])


@pytest.mark.parametrize("mode", ["dense", "hybrid"])
def test_haystack(mode: str) -> None:
    qdrant = pytest.importorskip("haystack_integrations.document_stores.qdrant")
    from haystack import Document
    from haystack.dataclasses import SparseEmbedding

    store = qdrant.QdrantDocumentStore(
        ":memory:", index="theirs", embedding_dim=64, use_sparse_embeddings=mode == "hybrid", progress_bar=False
    )
    words = Bm25Encoder().encode_passages(TEXTS)
    documents = [
        Document(
            content=text,
            meta={"lang": language},
            embedding=vector,
            sparse_embedding=SparseEmbedding(one.indices, one.values) if mode == "hybrid" else None,
        )
        for text, language, vector, one in zip(TEXTS, LANGUAGES, _dense(TEXTS), words, strict=True)
    ]
    store.write_documents(documents)
    check(store._client, mode=mode, ids=[document.id for document in documents])
    store._client.close()


def test_plain_qdrant_client(client: QdrantClient) -> None:
    client.create_collection("theirs", vectors_config=models.VectorParams(size=64, distance=models.Distance.COSINE))
    points = [
        models.PointStruct(id=number, vector=vector, payload={"text": text, "lang": language})
        for number, (vector, text, language) in enumerate(zip(_dense(TEXTS), TEXTS, LANGUAGES, strict=True))
    ]
    client.upsert("theirs", points)
    with SearchKit.attach(
        "theirs", client=client, text_field="text", encoder=FakeEncoder(), reranker=FakeReranker()
    ) as kit:
        assert [hit.id for hit in kit.search(QUESTION, filter={"lang": "de"})] == [2]
        assert kit.search(QUESTION)[0].metadata == {"lang": "en"}
