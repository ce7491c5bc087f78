"""The same questions through LangChain's own two stages, LlamaIndex's own, and ours, over the same vectors and weights.

The collection is the standard library's documentation, written once in langchain-qdrant's layout; the cross-encoder is
the shipped one in all three stacks, in single precision. What differs is what each stack does with them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_classic.retrievers.document_compressors import CrossEncoderReranker as LangChainReranker
from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.embeddings import Embeddings
from langchain_qdrant import QdrantVectorStore
from llama_index.core import MockEmbedding, StorageContext, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.postprocessor import SentenceTransformerRerank
from llama_index.core.schema import TextNode
from qdrant_client import QdrantClient, models
from results import write

from searchkit import Bm25Encoder, CrossEncoderReranker, SearchKit, SentenceEncoder
from searchkit.cli.stdlib import standard_library_passages
from searchkit.evaluation import JudgedQueries, JudgedQuery, Run, ScoredPassage, evaluate, read_judged
from searchkit.integrations.langchain import SearchKitRetriever
from searchkit.types import Passage

JUDGED = Path(__file__).resolve().parents[1] / "tests" / "data" / "stdlib"


class Answer(NamedTuple):
    """Ids best first, whether each result carries a score, and how many candidates the second stage read."""

    ids: list[str]
    has_scores: bool
    candidates: int


def main() -> None:
    options = _options()
    passages = list(standard_library_passages())
    judged = _known(read_judged(JUDGED), {str(passage.id) for passage in passages}).sample(options.queries)
    encoder, reranker = SentenceEncoder(), CrossEncoderReranker()
    vectors = _vectors(passages, encoder, options.vectors)
    client = _collection(passages, vectors)
    with tempfile.TemporaryDirectory() as folder, _single_precision(reranker.model_path, Path(folder)) as model:
        stacks = {
            "LangChain, defaults": _langchain(client, encoder, model, k=4, top_n=3),
            "LangChain, k=50, top_n=10": _langchain(client, encoder, model, k=50, top_n=10),
            "LlamaIndex, defaults": _llamaindex(passages, vectors, encoder, model, k=2, top_n=2),
            "LlamaIndex, k=50, top_n=10": _llamaindex(passages, vectors, encoder, model, k=50, top_n=10),
            "searchkit, k=10": _searchkit(client, encoder, reads_criteria=False),
            "searchkit, k=10, criteria": _searchkit(client, encoder, reads_criteria=True),
        }
        rows = []
        for name, ask in stacks.items():
            rows.append(_measured(name, ask, judged))
            print(rows[-1], flush=True)
    write("frameworks", {"passages": len(passages), "queries": len(judged), "rows": rows})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=220, help="how many of the judged questions to ask")
    parser.add_argument("--vectors", type=Path, help="an .npy file that keeps the passages' vectors between runs")
    return parser.parse_args()


def _known(judged: JudgedQueries, ids: set[str]) -> JudgedQueries:
    qrels = {
        query: {name: grade for name, grade in rows.items() if name in ids} for query, rows in judged.qrels.items()
    }
    qrels = {query: rows for query, rows in qrels.items() if any(rows.values())}
    return JudgedQueries(
        name=judged.name, queries=tuple(query for query in judged.queries if query.id in qrels), qrels=qrels
    )


def _vectors(passages: list[Passage], encoder: SentenceEncoder, kept: Path | None) -> np.ndarray:
    if kept is not None and kept.exists():
        vectors = np.load(kept)
        if len(vectors) == len(passages):
            return vectors
    vectors = encoder.encode_passages([passage.text for passage in passages])
    if kept is not None:
        np.save(kept, vectors)
    return vectors


def _collection(passages: list[Passage], vectors: np.ndarray) -> QdrantClient:
    client = QdrantClient(":memory:")
    client.create_collection(
        "stdlib",
        vectors_config=models.VectorParams(size=vectors.shape[1], distance=models.Distance.COSINE),
        sparse_vectors_config={"langchain-sparse": models.SparseVectorParams(modifier=models.Modifier.IDF)},
    )
    words = Bm25Encoder().encode_passages([passage.text for passage in passages])
    client.upload_points(
        "stdlib",
        [
            models.PointStruct(
                id=str(uuid.uuid5(uuid.NAMESPACE_URL, str(passage.id))),
                vector={
                    "": vector.tolist(),
                    "langchain-sparse": models.SparseVector(indices=one.indices, values=one.values),
                },
                payload={"page_content": passage.text, "metadata": {**passage.metadata, "passage": str(passage.id)}},
            )
            for passage, vector, one in zip(passages, vectors, words, strict=True)
        ],
    )
    return client


@contextmanager
def _single_precision(folder: str | Path, target: Path) -> Iterator[str]:
    """Yield a copy of the model with float32 weights, since sentence-transformers runs half precision as it is."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    AutoModelForSequenceClassification.from_pretrained(folder, dtype="float32").save_pretrained(target)
    AutoTokenizer.from_pretrained(folder).save_pretrained(target)
    yield str(target)


class _Embeddings(Embeddings):
    def __init__(self, encoder: SentenceEncoder) -> None:
        self._encoder = encoder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [vector.tolist() for vector in self._encoder.encode_passages(texts)]

    def embed_query(self, text: str) -> list[float]:
        return self._encoder.encode_queries([text])[0].tolist()


class _CrossEncoder(BaseCrossEncoder):
    """What ``HuggingFaceCrossEncoder`` of langchain-community does, without that package."""

    def __init__(self, folder: str) -> None:
        from sentence_transformers import CrossEncoder

        self._model = CrossEncoder(folder, device="cpu")

    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        return self._model.predict(text_pairs, show_progress_bar=False)


def _langchain(
    client: QdrantClient, encoder: SentenceEncoder, model: str, *, k: int, top_n: int
) -> Callable[[JudgedQuery], Answer]:
    store = QdrantVectorStore(client, "stdlib", embedding=_Embeddings(encoder), validate_collection_config=False)
    retriever = ContextualCompressionRetriever(
        base_compressor=LangChainReranker(model=_CrossEncoder(model), top_n=top_n),
        base_retriever=store.as_retriever(search_kwargs={"k": k}),
    )

    def ask(query: JudgedQuery) -> Answer:
        documents = retriever.invoke(query.text)
        has_scores = all("relevance_score" in document.metadata for document in documents)
        return Answer([document.metadata["passage"] for document in documents], has_scores, k)

    return ask


class _LlamaEmbedding(BaseEmbedding):
    encoder: Any

    def _get_query_embedding(self, query: str) -> list[float]:
        return self.encoder.encode_queries([query])[0].tolist()

    def _get_text_embedding(self, text: str) -> list[float]:
        return self.encoder.encode_passages([text])[0].tolist()

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)


def _llamaindex(
    passages: list[Passage], vectors: np.ndarray, encoder: SentenceEncoder, model: str, *, k: int, top_n: int
) -> Callable[[JudgedQuery], Answer]:
    nodes = [
        TextNode(id_=str(passage.id), text=passage.text, metadata=passage.metadata, embedding=vector.tolist())
        for passage, vector in zip(passages, vectors, strict=True)
    ]
    index = VectorStoreIndex(
        nodes, storage_context=StorageContext.from_defaults(), embed_model=MockEmbedding(vectors.shape[1])
    )
    index._embed_model = _LlamaEmbedding(encoder=encoder)  # the nodes carry their vectors already
    retriever = index.as_retriever(similarity_top_k=k)
    rerank = SentenceTransformerRerank(model=model, top_n=top_n, device="cpu")

    def ask(query: JudgedQuery) -> Answer:
        found = rerank.postprocess_nodes(retriever.retrieve(query.text), query_str=query.text)
        return Answer([node.node_id for node in found], all(node.score is not None for node in found), k)

    return ask


def _searchkit(
    client: QdrantClient, encoder: SentenceEncoder, *, reads_criteria: bool
) -> Callable[[JudgedQuery], Answer]:
    # A kit of its own a row: scores of known pairs are remembered and would flatter the second row.
    kit = SearchKit.attach("stdlib", client=client, encoder=encoder)
    retriever = SearchKitRetriever(kit=kit, k=10)

    def ask(query: JudgedQuery) -> Answer:
        documents = retriever.invoke(query.text, criteria=query.criteria if reads_criteria else None)
        has_scores = all("relevance_score" in document.metadata for document in documents)
        return Answer([document.metadata["passage"] for document in documents], has_scores, retriever.candidate_depth)

    return ask


def _measured(name: str, ask: Callable[[JudgedQuery], Answer], judged: JudgedQueries) -> dict[str, Any]:
    ask(JudgedQuery(id="warm-up", text="how do I start"))  # models are loaded by the first question
    rankings, milliseconds, answers = {}, [], []
    for query in judged.queries:
        start = time.perf_counter()
        answer = ask(query)
        milliseconds.append((time.perf_counter() - start) * 1e3)
        answers.append(answer)
        rankings[query.id] = tuple(ScoredPassage(one, -float(place)) for place, one in enumerate(answer.ids))
    measured = evaluate(Run(name, rankings), judged.qrels, ["nDCG@10"])
    return {
        "stack": name,
        "ndcg_at_10": round(measured.mean("nDCG@10"), 3),
        "p50_ms": round(statistics.median(milliseconds), 1),
        "candidates_reranked": answers[0].candidates,
        "scores_kept": all(answer.has_scores for answer in answers),
    }


if __name__ == "__main__":
    main()
