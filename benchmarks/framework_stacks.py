"""Two-stage stacks as LangChain, LlamaIndex and searchkit put them together, over one client, encoder and model."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_classic.retrievers.document_compressors import CrossEncoderReranker as LangChainReranker
from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.embeddings import Embeddings
from langchain_qdrant import QdrantVectorStore
from llama_index.core import VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.postprocessor import SentenceTransformerRerank
from llama_index.core.schema import TextNode
from llama_index.vector_stores.qdrant import QdrantVectorStore as LlamaIndexStore
from qdrant_client import QdrantClient, models

from searchkit import Bm25Encoder, SearchKit, SentenceEncoder
from searchkit.evaluation import JudgedQuery
from searchkit.integrations.langchain import SearchKitRetriever
from searchkit.types import Passage, SearchMode

LANGCHAIN, LLAMAINDEX = "stdlib-langchain", "stdlib-llamaindex"


class Answer(NamedTuple):
    """Ids best first, and whether each result carries the second stage's score."""

    ids: list[str]
    has_scores: bool


@dataclass(frozen=True)
class Stack:
    """A way to ask.

    Attributes:
        name: As the table shows it.
        ask: Answers one question.
        candidates: Passages that the second stage read for one question, counted; call `ask` first.
        engine: What runs the second stage.
    """

    name: str
    ask: Callable[[JudgedQuery], Answer]
    candidates: Callable[[], int]
    engine: str


class Counted:
    """A sentence-transformers model that knows how many pairs its last call had."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._predict = model.predict
        self.pair_count = 0
        model.predict = self.predict

    def predict(self, pairs: Sequence[Any], **rest: Any) -> Any:
        """Predict, silently."""
        self.pair_count = len(pairs)
        return self._predict(pairs, **{**rest, "show_progress_bar": False})


class EncoderEmbeddings(Embeddings):
    """Our encoder in LangChain's words."""

    def __init__(self, encoder: SentenceEncoder) -> None:
        self._encoder = encoder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return one vector a text."""
        return [vector.tolist() for vector in self._encoder.encode_passages(texts)]

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a query."""
        return self._encoder.encode_queries([text])[0].tolist()


class EncoderEmbedding(BaseEmbedding):
    """Our encoder in LlamaIndex's words."""

    encoder: Any

    def _get_query_embedding(self, query: str) -> list[float]:
        return self.encoder.encode_queries([query])[0].tolist()

    def _get_text_embedding(self, text: str) -> list[float]:
        return self.encoder.encode_passages([text])[0].tolist()

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)


class HuggingFaceCrossEncoder(BaseCrossEncoder):
    """What the class of this name in langchain-community does, without that package."""

    def __init__(self, folder: str) -> None:
        from sentence_transformers import CrossEncoder

        self.counted = Counted(CrossEncoder(folder, device="cpu"))

    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        """Return one score a pair."""
        return self.counted.predict(text_pairs)


def filled_client(passages: Sequence[Passage], vectors: np.ndarray) -> QdrantClient:
    """Return a client with the passages in langchain-qdrant's layout, and in LlamaIndex's."""
    client = QdrantClient(":memory:")
    client.create_collection(
        LANGCHAIN,
        vectors_config=models.VectorParams(size=vectors.shape[1], distance=models.Distance.COSINE),
        sparse_vectors_config={"langchain-sparse": models.SparseVectorParams(modifier=models.Modifier.IDF)},
    )
    words = Bm25Encoder().encode_passages([passage.text for passage in passages])
    points = [
        models.PointStruct(
            id=str(uuid.uuid5(uuid.NAMESPACE_URL, str(passage.id))),
            vector={
                "": vector.tolist(),
                "langchain-sparse": models.SparseVector(indices=one.indices, values=one.values),
            },
            payload={"page_content": passage.text, "metadata": {**passage.metadata, "passage": str(passage.id)}},
        )
        for passage, vector, one in zip(passages, vectors, words, strict=True)
    ]
    client.upload_points(LANGCHAIN, points)
    nodes = [
        TextNode(id_=point.id, text=passage.text, metadata=point.payload["metadata"], embedding=point.vector[""])
        for point, passage in zip(points, passages, strict=True)
    ]
    LlamaIndexStore(LLAMAINDEX, client=client).add(nodes)
    return client


def langchain_stack(
    name: str, client: QdrantClient, encoder: SentenceEncoder, model: str, *, k: int, top_n: int
) -> Stack:
    """Return LangChain's own: a vector store's retriever inside a ``ContextualCompressionRetriever``."""
    store = QdrantVectorStore(client, LANGCHAIN, embedding=EncoderEmbeddings(encoder), validate_collection_config=False)
    reranker = HuggingFaceCrossEncoder(model)
    retriever = ContextualCompressionRetriever(
        base_compressor=LangChainReranker(model=reranker, top_n=top_n),
        base_retriever=store.as_retriever(search_kwargs={"k": k}),
    )

    def ask(query: JudgedQuery) -> Answer:
        documents = retriever.invoke(query.text)
        has_scores = all("relevance_score" in document.metadata for document in documents)
        return Answer([document.metadata["passage"] for document in documents], has_scores)

    return Stack(name, ask, lambda: reranker.counted.pair_count, "sentence-transformers fp32 cpu")


def llamaindex_stack(
    name: str, client: QdrantClient, encoder: SentenceEncoder, model: str, *, k: int, top_n: int
) -> Stack:
    """Return LlamaIndex's own: an index over its Qdrant store with ``SentenceTransformerRerank``."""
    index = VectorStoreIndex.from_vector_store(
        LlamaIndexStore(LLAMAINDEX, client=client), embed_model=EncoderEmbedding(encoder=encoder)
    )
    retriever = index.as_retriever(similarity_top_k=k)
    rerank = SentenceTransformerRerank(model=model, top_n=top_n, device="cpu")
    counted = Counted(rerank._model)

    def ask(query: JudgedQuery) -> Answer:
        found = rerank.postprocess_nodes(retriever.retrieve(query.text), query_str=query.text)
        has_scores = all(node.score is not None for node in found)
        return Answer([node.metadata["passage"] for node in found], has_scores)

    return Stack(name, ask, lambda: counted.pair_count, "sentence-transformers fp32 cpu")


def searchkit_stack(
    name: str, client: QdrantClient, encoder: SentenceEncoder, *, mode: SearchMode, reads_criteria: bool = False
) -> Stack:
    """Return ours in LangChain's clothes, over what langchain-qdrant wrote."""
    # A kit of its own a row: scores of known pairs are remembered and would flatter the second row.
    kit = SearchKit.attach(LANGCHAIN, client=client, encoder=encoder)
    retriever = SearchKitRetriever(kit=kit, k=10, mode=mode)
    probe = kit.search("how do I start", mode=mode, candidate_depth=retriever.candidate_depth)

    def ask(query: JudgedQuery) -> Answer:
        documents = retriever.invoke(query.text, criteria=query.criteria if reads_criteria else None)
        has_scores = all("relevance_score" in document.metadata for document in documents)
        return Answer([document.metadata["passage"] for document in documents], has_scores)

    return Stack(name, ask, lambda: probe.candidate_count, probe.engine or "")
