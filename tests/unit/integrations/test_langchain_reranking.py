from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import numpy as np
import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_classic.retrievers.document_compressors import CrossEncoderReranker as LangChainReranker
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ValidationError

from searchkit import SearchKit
from searchkit.config import Calibration, RerankerProfile
from searchkit.errors import ConfigError, RerankError
from searchkit.integrations.langchain import SearchKitCompressor, SearchKitCrossEncoder, SearchKitRetriever
from searchkit.testing import FakeReranker
from tests.unit.integrations.wages import PASSAGES, QUESTION, CountingReranker, MakeKit, longest_stall_s


class FixedRetriever(BaseRetriever):
    documents: list[Document]

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return self.documents


@pytest.fixture
def documents() -> list[Document]:
    return [
        Document(page_content=str(passage["text"]), metadata={"source": {"row": row}, "relevance_score": np.float32(9)})
        for row, passage in enumerate(PASSAGES)
    ]


def test_the_best_documents_come_first_with_a_plain_float_score(kit: SearchKit, documents: list[Document]) -> None:
    best = SearchKitCompressor(top_n=3, kit=kit).compress_documents(documents, QUESTION)
    expected = kit.rerank(QUESTION, [str(passage["text"]) for passage in PASSAGES], top_k=3)
    assert [document.page_content for document in best] == [hit.text for hit in expected]
    assert [document.metadata["relevance_score"] for document in best] == [hit.score for hit in expected]
    assert {type(document.metadata["relevance_score"]) for document in best} == {float}
    assert json.dumps([document.metadata for document in best])


def test_documents_given_are_left_as_they_are(kit: SearchKit, documents: list[Document]) -> None:
    before = copy.deepcopy(documents)
    best = SearchKitCompressor(kit=kit).compress_documents(documents, QUESTION)
    for document in best:
        document.metadata.clear()
    assert documents == before


def test_ids_survive_and_equal_texts_stay_apart(kit: SearchKit) -> None:
    twins = [Document(id=name, page_content="how are hairdressers paid", metadata={"n": name}) for name in "abc"]
    best = SearchKitCompressor(kit=kit).compress_documents(twins, QUESTION)
    assert [(document.id, document.metadata["n"]) for document in best] == [("a", "a"), ("b", "b"), ("c", "c")]


def test_ties_keep_the_order_given(kit: SearchKit) -> None:
    ties = [Document(page_content=f"nothing to see {number}") for number in range(30)]
    best = SearchKitCompressor(top_n=30, kit=kit).compress_documents(ties, QUESTION)
    assert [document.page_content for document in best] == [document.page_content for document in ties]


def test_without_a_score_key_metadata_stays_the_callers(kit: SearchKit) -> None:
    document = Document(page_content="hairdressers", metadata={"a": 1})
    assert SearchKitCompressor(kit=kit, score_key=None).compress_documents([document], QUESTION) == [document]


def test_no_documents_make_no_call(kit: SearchKit, reranker: CountingReranker) -> None:
    assert SearchKitCompressor(kit=kit).compress_documents([], QUESTION) == []
    blanks = [Document(page_content="  ", metadata={"n": 1}), Document(page_content="")]
    assert SearchKitCompressor(kit=kit).compress_documents(blanks, QUESTION) == blanks
    assert reranker.call_count == 0


def test_a_blank_document_follows_last_and_without_a_score(kit: SearchKit) -> None:
    given = [Document(page_content=" "), Document(page_content="nothing"), Document(page_content=QUESTION)]
    best = SearchKitCompressor(kit=kit).compress_documents(given, QUESTION)
    assert [document.page_content for document in best] == [QUESTION, "nothing", " "]
    assert "relevance_score" not in best[-1].metadata


@pytest.mark.parametrize("dirt", ["\0", "\ud800", "\0 \udfff"])
def test_what_a_parser_left_behind_stops_nothing_and_comes_back_as_it_was(kit: SearchKit, dirt: str) -> None:
    given = [Document(page_content="nothing"), Document(page_content=f"{QUESTION}{dirt}"), Document(page_content="\0")]
    best = SearchKitCompressor(kit=kit).compress_documents(given, QUESTION)
    assert [document.page_content for document in best] == [f"{QUESTION}{dirt}", "nothing", "\0"]


def test_a_failed_model_keeps_the_order_and_claims_no_score(make_kit: MakeKit, documents: list[Document]) -> None:
    failing = SearchKitCompressor(top_n=2, kit=make_kit(CountingReranker(fails=True)))
    best = failing.compress_documents(documents, QUESTION)
    assert [document.page_content for document in best] == [document.page_content for document in documents[:2]]
    assert not any("relevance_score" in document.metadata for document in best)


def test_criteria_reach_the_model_from_construction_and_from_the_call(documents: list[Document]) -> None:
    reranker = CountingReranker()
    compressor = SearchKitCompressor(reranker=reranker, criteria="in dollars")
    compressor.compress_documents(documents, QUESTION)
    compressor.compress_documents(documents, QUESTION, criteria="by the hour")
    assert set(reranker.queries) == {f"{QUESTION} in dollars", f"{QUESTION} by the hour"}


@pytest.mark.parametrize("top_n", [0, -1])
def test_top_n_below_one_is_refused(top_n: int) -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        SearchKitCompressor(top_n=top_n)


def test_a_misspelled_argument_and_two_rerankers_are_refused(kit: SearchKit) -> None:
    with pytest.raises(ValidationError, match="topn"):
        SearchKitCompressor(topn=3)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="kit and reranker"):
        SearchKitCompressor(kit=kit, reranker=FakeReranker())


def test_nothing_but_top_n_is_needed_and_the_model_is_shared() -> None:
    first, second = SearchKitCompressor(top_n=2), SearchKitCompressor(top_n=5)
    assert first._kit is second._kit


async def test_inside_a_contextual_compression_retriever(kit: SearchKit, documents: list[Document]) -> None:
    retriever = ContextualCompressionRetriever(
        base_compressor=SearchKitCompressor(top_n=2, kit=kit), base_retriever=FixedRetriever(documents=documents)
    )
    best = retriever.invoke(QUESTION)
    assert [document.metadata["source"]["row"] for document in best] == [1, 5]
    assert await retriever.ainvoke(QUESTION) == best


def test_two_stages_of_two_collections_compose(kit: SearchKit, make_kit: MakeKit) -> None:
    retriever = ContextualCompressionRetriever(
        base_compressor=SearchKitCompressor(top_n=2, kit=make_kit()),
        base_retriever=SearchKitRetriever(kit=kit, k=7, rerank=False),
    )
    assert [document.id for document in retriever.invoke(QUESTION)] == ["2", "b6"]


async def test_acompress_documents_leaves_the_loop_running(documents: list[Document]) -> None:
    compressor = SearchKitCompressor(reranker=CountingReranker(delay_s=0.15))
    assert await longest_stall_s(lambda: compressor.acompress_documents(documents, QUESTION)) < 0.05


async def test_acompress_documents_takes_criteria(documents: list[Document]) -> None:
    reranker = CountingReranker()
    best = await SearchKitCompressor(reranker=reranker).acompress_documents(documents, QUESTION, criteria="in dollars")
    assert set(reranker.queries) == {f"{QUESTION} in dollars"}
    assert len(best) == 4


def test_serialization_keeps_the_settings(kit: SearchKit) -> None:
    compressor = SearchKitCompressor(top_n=2, criteria="in dollars", kit=kit)
    dumped = json.loads(compressor.model_dump_json())
    assert dumped == {"top_n": 2, "criteria": "in dollars", "deadline_s": None, "score_key": "relevance_score"}
    assert "kit" not in repr(compressor)


def test_the_cross_encoder_serves_langchains_own_reranker(documents: list[Document]) -> None:
    model = SearchKitCrossEncoder(FakeReranker())
    best = LangChainReranker(model=model, top_n=2).compress_documents(documents, QUESTION)
    assert [document.metadata["source"]["row"] for document in best] == [1, 5]


def test_the_cross_encoder_returns_calibrated_probabilities_in_order() -> None:
    profile = RerankerProfile(calibration=Calibration(slope=0.5, intercept=-1.0))
    pairs = [("a b", "a b"), ("a b", "a"), ("a b", "z")]
    scores = SearchKitCrossEncoder(FakeReranker(profile=profile)).score(pairs)
    expected = [1 / (1 + np.exp(-(0.5 * logit - 1.0))) for logit in (4.0, 0.0, -4.0)]
    assert scores == pytest.approx(expected)
    assert {type(score) for score in scores} == {float}


def test_the_cross_encoder_reads_criteria_beside_every_query_in_one_call() -> None:
    reranker = CountingReranker()
    scores = SearchKitCrossEncoder(reranker, criteria="in dollars").score([("a", "x"), ("b", "y")])
    assert reranker.queries == ["a in dollars", "b in dollars"]
    assert (len(scores), reranker.call_count) == (2, 1)


def test_no_pairs_make_no_call_of_the_cross_encoder() -> None:
    reranker = CountingReranker()
    empty: list[Any] = []
    assert SearchKitCrossEncoder(reranker).score(empty) == []
    assert reranker.call_count == 0


class Broken(FakeReranker):
    def score_pairs(self, pairs: Any, *, deadline: Any = None) -> Any:
        scores = super().score_pairs(pairs)
        scores.logits[-1] = np.nan
        return scores


def test_nan_never_becomes_a_score(documents: list[Document]) -> None:
    with pytest.raises(RerankError, match="fake-reranker returned NaN"):
        SearchKitCrossEncoder(Broken()).score([("a", "x"), ("b", "y")])
    best = SearchKitCompressor(top_n=7, reranker=Broken()).compress_documents(documents, QUESTION)
    assert [document.page_content for document in best] == [document.page_content for document in documents]
    assert not any("relevance_score" in document.metadata for document in best)


def test_a_compressor_of_settings_alone_can_be_pickled_and_copied(kit: SearchKit) -> None:
    compressor = SearchKitCompressor(top_n=2, criteria="in dollars")
    for again in (pickle.loads(pickle.dumps(compressor)), copy.deepcopy(compressor)):
        assert again.model_dump() == compressor.model_dump()
        assert again._kit.reranker is compressor._kit.reranker  # the weights are not loaded twice
    with pytest.raises(TypeError, match="a kit holds threads and connections"):
        pickle.dumps(SearchKitCompressor(kit=kit))


@pytest.mark.parametrize("wrong", ["BAAI/bge-reranker-base", "", 5, FakeReranker])
def test_a_cross_encoder_of_a_models_name_is_refused_with_what_to_pass(wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"is no Reranker: pass an object such as CrossEncoderReranker\("):
        SearchKitCrossEncoder(wrong)


def test_a_cross_encoder_can_be_pickled_and_copied() -> None:
    shipped = SearchKitCrossEncoder(criteria="in dollars")
    for again in (pickle.loads(pickle.dumps(shipped)), copy.deepcopy(shipped)):
        assert again._criteria == "in dollars"
        assert again._reranker is shipped._reranker  # the weights are not loaded twice
    own = SearchKitCrossEncoder(FakeReranker())
    pairs = [("a b", "a b"), ("a b", "z")]
    assert pickle.loads(pickle.dumps(own)).score(pairs) == own.score(pairs)
