"""Collections as the real libraries make them, for the tests that attach to them."""

from __future__ import annotations

import uuid
from typing import Any

from haystack import Document
from haystack.dataclasses import SparseEmbedding
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from langchain_core.embeddings import Embeddings
from langchain_qdrant import QdrantVectorStore, RetrievalMode, SparseEmbeddings, SparseVector
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.vector_stores.qdrant import QdrantVectorStore as LlamaStore
from qdrant_client import QdrantClient, models

from searchkit import Bm25Encoder
from searchkit.testing import FakeEncoder

NAME = "theirs"
TEXTS = [
    "Hairdressers are paid by the hour or by the cut.",
    "The barber shop opens at nine and closes at six.",
    "Friseure verdienen im Jahr weniger als Köche.",
]
LANGUAGES = ["en", "en", "de"]
POINTS = [str(uuid.uuid5(uuid.NAMESPACE_URL, text)) for text in TEXTS]
COSINE_64 = models.VectorParams(size=64, distance=models.Distance.COSINE)


def dense(texts: list[str]) -> list[list[float]]:
    return [vector.tolist() for vector in FakeEncoder().encode_passages(texts)]


class Dense(Embeddings):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return dense(texts)

    def embed_query(self, text: str) -> list[float]:
        return dense([text])[0]


class Sparse(SparseEmbeddings):
    def embed_documents(self, texts: list[str]) -> list[SparseVector]:
        vectors = Bm25Encoder().encode_passages(texts)
        return [SparseVector(indices=one.indices, values=one.values) for one in vectors]

    def embed_query(self, text: str) -> SparseVector:
        return self.embed_documents([text])[0]


def langchain_store(client: QdrantClient, mode: str) -> QdrantVectorStore:
    client.create_collection(
        NAME,
        vectors_config=COSINE_64,
        sparse_vectors_config={"langchain-sparse": models.SparseVectorParams()} if mode == "hybrid" else None,
    )
    return QdrantVectorStore(
        client, NAME, embedding=Dense(), sparse_embedding=Sparse(), retrieval_mode=RetrievalMode(mode)
    )


def langchain_filled(client: QdrantClient, mode: str) -> tuple[QdrantVectorStore, list[Any]]:
    """Return the store and the ids of its three texts."""
    store = langchain_store(client, mode)
    return store, store.add_texts(TEXTS, metadatas=[{"lang": language} for language in LANGUAGES])


def words(texts: list[str]) -> tuple[list[list[int]], list[list[float]]]:
    vectors = Bm25Encoder().encode_passages(texts)
    return [one.indices for one in vectors], [one.values for one in vectors]


def node(text: str, metadata: dict[str, Any], **fields: Any) -> TextNode:
    """Return a node with the vector of what LlamaIndex encodes of it."""
    made = TextNode(text=text, metadata=metadata, **fields)
    made.embedding = dense([made.get_content(metadata_mode="embed")])[0]  # type: ignore[arg-type]
    return made


def llamaindex_filled(client: QdrantClient, mode: str) -> tuple[LlamaStore, list[Any]]:
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="document-1")}
    nodes = [
        node(text, {"lang": language}, relationships=source) for text, language in zip(TEXTS, LANGUAGES, strict=True)
    ]
    functions: dict[str, Any] = {"sparse_doc_fn": words, "sparse_query_fn": words} if mode == "hybrid" else {}
    store = LlamaStore(NAME, client=client, enable_hybrid=mode == "hybrid", **functions)
    store.add(nodes)
    return store, [one.node_id for one in nodes]


def document(text: str, mode: str, **fields: Any) -> Document:
    one = Bm25Encoder().encode_passages([text])[0]
    sparse = SparseEmbedding(one.indices, one.values) if mode == "hybrid" else None
    return Document(content=text, embedding=dense([text])[0], sparse_embedding=sparse, **fields)


def haystack_filled(mode: str) -> tuple[QdrantDocumentStore, list[Any]]:
    store = QdrantDocumentStore(
        ":memory:", index=NAME, embedding_dim=64, use_sparse_embeddings=mode == "hybrid", progress_bar=False
    )
    documents = [document(text, mode, meta={"lang": lang}) for text, lang in zip(TEXTS, LANGUAGES, strict=True)]
    store.write_documents(documents)
    return store, [one.id for one in documents]


def plain_filled(client: QdrantClient, dense_name: str = "", text_field: str = "text") -> list[Any]:
    client.create_collection(NAME, vectors_config={dense_name: COSINE_64} if dense_name else COSINE_64)
    points = [
        models.PointStruct(
            id=number,
            vector={dense_name: vector} if dense_name else vector,
            payload={text_field: text, "lang": language},
        )
        for number, (vector, text, language) in enumerate(zip(dense(TEXTS), TEXTS, LANGUAGES, strict=True))
    ]
    client.upsert(NAME, points)
    return [0, 1, 2]
