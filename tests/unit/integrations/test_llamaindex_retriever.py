from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core import QueryBundle, Settings
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.chat_engine import CondensePlusContextChatEngine, ContextChatEngine
from llama_index.core.indices.query.query_transform import HyDEQueryTransform
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.llms import MockLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.query_engine import RetrieverQueryEngine, TransformQueryEngine
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import IndexNode, MetadataMode, TextNode
from llama_index.core.tools import RetrieverTool
from llama_index.core.vector_stores import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from searchkit import SearchKit
from searchkit.errors import ConfigError
from searchkit.integrations.llamaindex import ScoredNode, SearchKitQuery, SearchKitRetriever
from tests.unit.integrations.wages import PASSAGES, QUESTION, CountingReranker, MakeKit, longest_stall_s


class EventRecorder(BaseEventHandler):
    seen: list[str] = []  # noqa: RUF012  # a pydantic field

    @classmethod
    def class_name(cls) -> str:
        return "EventRecorder"

    def handle(self, event: Any, **rest: Any) -> None:
        self.seen.append(event.class_name())


@pytest.fixture
def events() -> Iterator[list[str]]:
    recorder = EventRecorder(seen=[])
    root = get_dispatcher()
    root.add_event_handler(recorder)
    yield recorder.seen
    root.event_handlers.remove(recorder)


def test_a_node_carries_id_text_metadata_and_the_score_beside_it(kit: SearchKit) -> None:
    hit = kit.search(QUESTION, top_k=1)[0]
    node = SearchKitRetriever(kit=kit, similarity_top_k=1).retrieve(QUESTION)[0]
    assert isinstance(node, ScoredNode)
    assert (node.node_id, node.text, node.metadata) == (str(hit.id), hit.text, hit.metadata)
    assert (node.score, node.logit) == (hit.score, hit.logit)
    assert (node.retrieval_rank, node.retrieval_score) == (hit.retrieval.rank, hit.retrieval.fused_score)
    assert type(node.score) is float


def test_scores_never_reach_the_text_that_a_model_reads(kit: SearchKit) -> None:
    for node in SearchKitRetriever(kit=kit).retrieve(QUESTION):
        assert "score" not in node.get_content(metadata_mode=MetadataMode.LLM)


def test_a_passage_has_the_same_hash_whatever_found_it(kit: SearchKit) -> None:
    retriever = SearchKitRetriever(kit=kit, similarity_top_k=7)
    sparse = SearchKitRetriever(kit=kit, similarity_top_k=7, mode="dense", rerank=False)
    first = {node.node_id: node for node in retriever.retrieve(QUESTION)}
    second = {node.node_id: node for node in sparse.retrieve("cook")}
    assert first.keys() == second.keys()
    assert all(first[key].score != second[key].score for key in first)
    assert all(first[key].node.hash == second[key].node.hash for key in first)


@pytest.mark.parametrize("mode", ["reciprocal_rerank", "relative_score", "dist_based_score", "simple"])
@pytest.mark.parametrize("use_async", [False, True])
async def test_fusion_of_two_retrievers_merges_the_same_passages(kit: SearchKit, mode: Any, use_async: bool) -> None:
    # Asynchronous because LlamaIndex never closes the event loop that it makes where none is running.
    both = [SearchKitRetriever(kit=kit, similarity_top_k=7, mode=leg) for leg in ("hybrid", "dense")]
    fusion = QueryFusionRetriever(
        both, llm=MockLLM(), mode=mode, num_queries=1, similarity_top_k=20, use_async=use_async
    )
    nodes = fusion.retrieve(QUESTION)
    assert sorted(node.node_id for node in nodes) == sorted(str(passage["id"]) for passage in PASSAGES)


async def test_aretrieve_answers_like_retrieve(kit: SearchKit) -> None:
    retriever = SearchKitRetriever(kit=kit)
    assert await retriever.aretrieve(QUESTION) == retriever.retrieve(QUESTION)


async def test_aretrieve_leaves_the_loop_running(make_kit: MakeKit) -> None:
    retriever = SearchKitRetriever(kit=make_kit(CountingReranker(delay_s=0.15)))
    assert await longest_stall_s(lambda: retriever.aretrieve(QUESTION)) < 0.05


def test_criteria_and_filter_and_top_k_come_from_construction_or_from_the_query(
    kit: SearchKit, reranker: CountingReranker
) -> None:
    retriever = SearchKitRetriever(kit=kit, similarity_top_k=7, criteria="in dollars", filter={"lang": "de"})
    assert [node.node_id for node in retriever.retrieve(QUESTION)] == ["b4"]
    assert set(reranker.queries) == {f"{QUESTION} in dollars"}
    reranker.queries.clear()
    asked = SearchKitQuery(QUESTION, criteria="by the hour", filter={"lang": "en"}, similarity_top_k=2)
    nodes = retriever.retrieve(asked)
    assert [node.metadata["lang"] for node in nodes] == ["en", "en"]
    assert set(reranker.queries) == {f"{QUESTION} by the hour"}


def test_the_candidate_depth_grows_with_top_k(kit: SearchKit) -> None:
    retriever = SearchKitRetriever(kit=kit, candidate_depth=2, similarity_top_k=5)
    assert len(retriever.retrieve(QUESTION)) == 5
    assert len(retriever.retrieve(SearchKitQuery(QUESTION, similarity_top_k=6))) == 6


def test_fixed_arguments_reach_the_search(kit: SearchKit) -> None:
    assert SearchKitRetriever(kit=kit, min_score=1.0).retrieve(QUESTION) == []
    grouped = SearchKitRetriever(kit=kit, similarity_top_k=7, group_by="lang").retrieve(QUESTION)
    assert sorted(node.metadata["lang"] for node in grouped) == ["de", "en"]
    assert SearchKitRetriever(kit=kit, rerank=False).retrieve(QUESTION)[0].logit is None


@pytest.mark.parametrize("wrong", [{"similarity_top_k": 0}, {"candidate_depth": -1}, {"similarity_top_k": "3"}])
def test_unusable_numbers_are_refused_at_construction(kit: SearchKit, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="whole number"):
        SearchKitRetriever(kit=kit, **wrong)


def test_an_unusable_number_of_a_query_is_refused(kit: SearchKit) -> None:
    with pytest.raises(ConfigError, match=r"^similarity_top_k=0 cannot be used"):
        SearchKitRetriever(kit=kit).retrieve(SearchKitQuery(QUESTION, similarity_top_k=0))


def test_fusion_of_one_query_passes_criteria_on(kit: SearchKit, reranker: CountingReranker) -> None:
    fusion = QueryFusionRetriever([SearchKitRetriever(kit=kit)], llm=MockLLM(), num_queries=1)
    fusion.retrieve(SearchKitQuery(QUESTION, criteria="in dollars"))
    assert set(reranker.queries) == {f"{QUESTION} in dollars"}


def test_rewritten_queries_stream_tools_and_empty_answers_work(kit: SearchKit) -> None:
    retriever = SearchKitRetriever(kit=kit, similarity_top_k=2)
    engine = RetrieverQueryEngine.from_args(retriever, llm=MockLLM())
    rewritten = TransformQueryEngine(engine, HyDEQueryTransform(llm=MockLLM())).query(QUESTION)
    assert len(rewritten.source_nodes) == 2
    streaming = RetrieverQueryEngine.from_args(retriever, llm=MockLLM(), streaming=True)
    assert str(PASSAGES[1]["text"]) in str(streaming.query(QUESTION))
    assert (
        str(PASSAGES[1]["text"]) in RetrieverTool.from_defaults(retriever, description="wages").call(QUESTION).content
    )
    nothing = RetrieverQueryEngine.from_args(SearchKitRetriever(kit=kit, min_score=1.0), llm=MockLLM())
    assert str(nothing.query(QUESTION)) == "Empty Response"


def test_nodes_are_cut_copied_and_pickled_like_others(kit: SearchKit) -> None:
    nodes = SearchKitRetriever(kit=kit, similarity_top_k=7).retrieve(QUESTION)
    kept = SimilarityPostprocessor(similarity_cutoff=0.5).postprocess_nodes(nodes)
    assert [node.node_id for node in kept] == [node.node_id for node in nodes if (node.score or 0) >= 0.5]
    assert 0 < len(kept) < len(nodes)
    assert copy.deepcopy(nodes) == nodes
    assert pickle.loads(pickle.dumps(nodes)) == nodes


def test_something_else_than_a_kit_is_refused() -> None:
    with pytest.raises(ConfigError, match="no SearchKit"):
        SearchKitRetriever(kit="handbook")  # type: ignore[arg-type]


def test_the_callback_manager_of_the_settings_is_used(kit: SearchKit, monkeypatch: pytest.MonkeyPatch) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    monkeypatch.setattr(Settings, "_callback_manager", CallbackManager([debug]))
    SearchKitRetriever(kit=kit).retrieve(QUESTION)
    assert len(debug.get_event_pairs(CBEventType.RETRIEVE)) == 1


def test_retrieval_events_are_emitted_once(kit: SearchKit, events: list[str]) -> None:
    SearchKitRetriever(kit=kit).retrieve(QUESTION)
    assert [name for name in events if "Retrieval" in name] == ["RetrievalStartEvent", "RetrievalEndEvent"]


def test_a_passage_that_stands_for_an_object_leads_into_it(kit: SearchKit) -> None:
    behind = TextNode(text="the whole wage table")
    objects = [IndexNode(text="wages", index_id="b6", obj=behind)]
    nodes = SearchKitRetriever(kit=kit, similarity_top_k=7, objects=objects).retrieve("wages month")
    assert "the whole wage table" in [node.text for node in nodes]
    assert "b6" not in [node.node_id for node in nodes]


async def test_a_query_engine_answers_from_our_nodes(kit: SearchKit) -> None:
    engine = RetrieverQueryEngine.from_args(SearchKitRetriever(kit=kit, similarity_top_k=2), llm=MockLLM())
    response = engine.query(QUESTION)
    assert [node.node_id for node in response.source_nodes] == ["2", "b6"]
    assert str(PASSAGES[1]["text"]) in str(response)
    assert [node.node_id for node in (await engine.aquery(QUESTION)).source_nodes] == ["2", "b6"]


def test_a_query_engine_passes_our_query_on(kit: SearchKit) -> None:
    engine = RetrieverQueryEngine.from_args(SearchKitRetriever(kit=kit, similarity_top_k=7), llm=MockLLM())
    response = engine.query(SearchKitQuery(QUESTION, filter={"lang": "de"}))
    assert [node.node_id for node in response.source_nodes] == ["b4"]


@pytest.mark.parametrize("engine_type", [ContextChatEngine, CondensePlusContextChatEngine])
async def test_a_chat_engine_talks_over_our_nodes(kit: SearchKit, engine_type: Any) -> None:
    # The default memory opens an SQLite connection that nothing closes.
    engine = engine_type.from_defaults(
        retriever=SearchKitRetriever(kit=kit, similarity_top_k=2),
        llm=MockLLM(),
        memory=ChatMemoryBuffer.from_defaults(token_limit=10_000),
    )
    assert len(engine.chat(QUESTION).source_nodes) == 2
    assert len((await engine.achat("and cooks?")).source_nodes) == 2


def test_nodes_and_queries_serialize(kit: SearchKit) -> None:
    node = SearchKitRetriever(kit=kit).retrieve(QUESTION)[0]
    assert isinstance(node, ScoredNode)
    data = json.loads(node.to_json())
    assert data["class_name"] == "ScoredNode"
    again = ScoredNode.from_dict({**data, "node": TextNode.from_dict(data["node"])})
    assert again == node
    query = SearchKitQuery("wages", criteria="in dollars")
    assert SearchKitQuery.from_dict(query.to_dict()) == query


def test_changing_a_node_leaves_the_next_answer_alone(kit: SearchKit) -> None:
    retriever = SearchKitRetriever(kit=kit, similarity_top_k=1)
    before = retriever.retrieve(QUESTION)[0].node.hash
    changed = retriever.retrieve(QUESTION)[0]
    changed.node.metadata.clear()
    changed.score = 0.0
    assert retriever.retrieve(QUESTION)[0].node.hash == before


def _filters(*parts: Any, condition: FilterCondition = FilterCondition.AND) -> MetadataFilters:
    return MetadataFilters(
        filters=[
            part if isinstance(part, MetadataFilters) else MetadataFilter(key=part[0], operator=part[1], value=part[2])
            for part in parts
        ],
        condition=condition,
    )


OP = FilterOperator


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (_filters(("lang", OP.EQ, "de")), {"b4"}),
        (_filters(("lang", OP.NE, "en")), {"b4"}),
        (_filters(("year", OP.GT, 2022)), {"b3", "b7"}),
        (_filters(("year", OP.GTE, 2022)), {"b3", "b4", "b7"}),
        (_filters(("year", OP.LT, 2019)), {"b5"}),
        (_filters(("year", OP.LTE, 2019)), {"2", "b5"}),
        (_filters(("year", OP.GTE, 2019), ("year", OP.LT, 2022)), {"1", "2"}),
        (_filters(("year", OP.IN, [2019, 2022])), {"2", "b4"}),
        (_filters(("lang", OP.NIN, ["en", "fr"])), {"b4"}),
        (_filters(("lang", OP.ANY, ["de", "fr"])), {"b4"}),
        (_filters(("lang", OP.IN, "de")), {"b4"}),
        (_filters(("lang", OP.NIN, "en")), {"b4"}),
        (_filters(("lang", OP.ANY, "de")), {"b4"}),
        (_filters(("year", OP.IN, 2019)), {"2"}),
        (_filters(("lang", OP.CONTAINS, "de")), {"b4"}),
        (_filters(("year", OP.IS_EMPTY, None)), {"b6"}),
        (_filters(("lang", OP.EQ, "en"), _filters(("year", OP.GT, 2023))), {"b7"}),
        (_filters(_filters(("lang", OP.EQ, "de"), condition=FilterCondition.OR)), {"b4"}),
        (_filters(("lang", OP.EQ, "de"), ("year", OP.EQ, 2021), condition=FilterCondition.OR), {"b4", "1"}),
        (_filters(("lang", OP.EQ, "en"), ("year", OP.LT, 2023), condition=FilterCondition.NOT), set()),
        (_filters(("year", OP.GT, 2018), condition=FilterCondition.NOT), {"b5", "b6"}),
        (_filters(("year", OP.GT, 2018), ("year", OP.IS_EMPTY, None), condition=FilterCondition.NOT), {"b5"}),
        (_filters(("lang", OP.EQ, "en"), ("lang", OP.EQ, "de")), set()),
        (_filters(("lang", OP.ALL, ["de"])), {"b4"}),
        (_filters(("lang", OP.ALL, ["de", "en"])), set()),
        (
            _filters(
                ("lang", OP.EQ, "en"),
                _filters(("year", OP.LT, 2019), ("year", OP.GT, 2023), condition=FilterCondition.OR),
                _filters(("year", OP.EQ, 2024), condition=FilterCondition.NOT),
            ),
            {"b5"},
        ),
        (_filters(), {"1", "2", "b3", "b4", "b5", "b6", "b7"}),
    ],
)
def test_metadata_filters_select_what_they_say(kit: SearchKit, filters: MetadataFilters, expected: set[str]) -> None:
    at_construction = SearchKitRetriever(kit=kit, similarity_top_k=7, filter=filters).retrieve(QUESTION)
    per_call = SearchKitRetriever(kit=kit).retrieve(SearchKitQuery(QUESTION, filter=filters, similarity_top_k=7))
    assert {node.node_id for node in at_construction} == expected
    assert {node.node_id for node in per_call} == expected


@pytest.mark.parametrize(
    ("filters", "named"),
    [
        (_filters(("lang", OP.TEXT_MATCH, "de")), "text_match"),
        (_filters(_filters(("lang", OP.TEXT_MATCH, "de")), condition=FilterCondition.NOT), "text_match"),
        (_filters(("lang", OP.ALL, "de")), "'all' on 'lang' takes a list"),
        (_filters(("lang", OP.IN, None)), "'in' on 'lang' takes a value or a list of values, not None"),
        (_filters(("lang", OP.NIN, None)), "'nin' on 'lang' takes a value or a list of values, not None"),
        (_filters(("lang", OP.ANY, None)), "'any' on 'lang' takes a value or a list of values, not None"),
        (_filters(("lang", OP.NIN, "en,fr")), r"pass a list, \['en,fr'\] or \['en', 'fr'\]"),
    ],
)
def test_filters_without_a_translation_are_refused_at_construction(
    kit: SearchKit, filters: MetadataFilters, named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        SearchKitRetriever(kit=kit, filter=filters)


def test_a_plain_query_bundle_works(kit: SearchKit) -> None:
    assert len(SearchKitRetriever(kit=kit).retrieve(QueryBundle(QUESTION))) == 4
