"""``top_n`` is all that the rerank-only adapters need: the shipped model does the rest, and nothing is stored."""

from __future__ import annotations

from pathlib import Path

import pytest
from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, TextNode

from searchkit.integrations.langchain import SearchKitCompressor, SearchKitCrossEncoder
from searchkit.integrations.llamaindex import SearchKitRerank

pytestmark = pytest.mark.slow

TEXTS = ["Cats sleep most of the day.", "Hairdressers earned a median wage of $35,080 a year.", "Trains are late."]
QUESTION = "what do hairdressers earn"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_compressor_finds_the_answer(tmp_path: Path) -> None:
    documents = [Document(page_content=text) for text in TEXTS]
    best = SearchKitCompressor(top_n=1).compress_documents(documents, QUESTION)
    assert [document.page_content for document in best] == [TEXTS[1]]
    assert 0 <= best[0].metadata["relevance_score"] <= 1
    assert not list(tmp_path.iterdir())


def test_the_postprocessor_finds_the_answer(tmp_path: Path) -> None:
    nodes = [NodeWithScore(node=TextNode(text=text), score=0.5) for text in TEXTS]
    best = SearchKitRerank(top_n=1).postprocess_nodes(nodes, query_str=QUESTION)
    assert [node.text for node in best] == [TEXTS[1]]
    assert not list(tmp_path.iterdir())


def test_the_cross_encoder_scores_like_the_compressor() -> None:
    documents = [Document(page_content=text) for text in TEXTS]
    ranked = SearchKitCompressor(top_n=3).compress_documents(documents, QUESTION)
    scores = dict(zip(TEXTS, SearchKitCrossEncoder().score([(QUESTION, text) for text in TEXTS]), strict=True))
    for document in ranked:
        assert document.metadata["relevance_score"] == pytest.approx(scores[document.page_content], abs=1e-4)
