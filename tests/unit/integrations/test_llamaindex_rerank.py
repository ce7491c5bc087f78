from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from llama_index.core import QueryBundle
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import NodeWithScore, TextNode
from pydantic import ValidationError

from searchkit import SearchKit
from searchkit.errors import ConfigError
from searchkit.integrations.llamaindex import ScoredNode, SearchKitQuery, SearchKitRerank, SearchKitRetriever
from searchkit.testing import FakeReranker
from tests.unit.integrations.wages import PASSAGES, QUESTION, CountingReranker, MakeKit, longest_stall_s


class EventKeeper(BaseEventHandler):
    seen: list[Any] = []  # noqa: RUF012  # a pydantic field

    @classmethod
    def class_name(cls) -> str:
        return "EventKeeper"

    def handle(self, event: Any, **rest: Any) -> None:
        if isinstance(event, ReRankStartEvent | ReRankEndEvent):
            self.seen.append(event)


@pytest.fixture
def events() -> Iterator[list[Any]]:
    keeper = EventKeeper(seen=[])
    root = get_dispatcher()
    root.add_event_handler(keeper)
    yield keeper.seen
    root.event_handlers.remove(keeper)


@pytest.fixture
def nodes() -> list[NodeWithScore]:
    return [
        NodeWithScore(
            node=TextNode(id_=str(passage["id"]), text=str(passage["text"]), metadata={"note": QUESTION}),
            score=1.0 - row / 10,
        )
        for row, passage in enumerate(PASSAGES)
    ]


def test_the_best_nodes_come_first_with_the_evidence_of_both_stages(kit: SearchKit, nodes: list[NodeWithScore]) -> None:
    best = SearchKitRerank(top_n=3, kit=kit).postprocess_nodes(nodes, query_str=QUESTION)
    expected = kit.rerank(QUESTION, [str(passage["text"]) for passage in PASSAGES], top_k=3)
    assert [node.text for node in best] == [hit.text for hit in expected]
    assert [node.score for node in best] == [hit.score for hit in expected]
    first = best[0]
    assert isinstance(first, ScoredNode)
    assert (first.node_id, first.retrieval_rank, first.retrieval_score) == ("2", 2, 0.9)
    assert type(first.score) is float


def test_nodes_given_are_left_as_they_are(kit: SearchKit, nodes: list[NodeWithScore]) -> None:
    before = copy.deepcopy(nodes)
    SearchKitRerank(kit=kit).postprocess_nodes(nodes, query_str=QUESTION)
    assert nodes == before
    assert [node.score for node in nodes] == [node.score for node in before]


def test_metadata_is_not_ranked_on(nodes: list[NodeWithScore]) -> None:
    nodes[6].node.metadata = {"note": " ".join([QUESTION] * 5)}
    best = SearchKitRerank(top_n=1, reranker=CountingReranker()).postprocess_nodes(nodes, query_str=QUESTION)
    assert best[0].node_id == "2"


def test_without_a_query_it_refuses(nodes: list[NodeWithScore]) -> None:
    with pytest.raises(ValueError, match=r"^Missing query bundle in extra info\.$"):
        SearchKitRerank(reranker=FakeReranker()).postprocess_nodes(nodes)


def test_no_nodes_make_no_event_and_no_call(events: list[Any]) -> None:
    reranker = CountingReranker()
    assert SearchKitRerank(reranker=reranker).postprocess_nodes([], query_str=QUESTION) == []
    assert (events, reranker.call_count) == ([], 0)


def test_both_events_are_emitted_with_their_facts(nodes: list[NodeWithScore], events: list[Any]) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    rerank = SearchKitRerank(top_n=2, reranker=FakeReranker(), callback_manager=CallbackManager([debug]))
    best = rerank.postprocess_nodes(nodes, query_str=QUESTION)
    start, end = events
    assert (start.top_n, start.model_name, len(start.nodes)) == (2, "fake-reranker", 7)
    assert start.query.query_str == QUESTION
    assert end.nodes == best
    assert len(debug.get_event_pairs(CBEventType.RERANKING)) == 1


def test_blank_nodes_follow_last_and_keep_their_score() -> None:
    given = [
        NodeWithScore(node=TextNode(text=" "), score=0.9),
        NodeWithScore(node=TextNode(text="nothing"), score=0.8),
        NodeWithScore(node=TextNode(text=QUESTION), score=0.1),
    ]
    best = SearchKitRerank(reranker=FakeReranker()).postprocess_nodes(given, query_str=QUESTION)
    assert [node.text for node in best] == [QUESTION, "nothing", " "]
    assert best[-1].score == 0.9
    assert isinstance(best[-1], ScoredNode)
    assert best[-1].logit is None


@pytest.mark.parametrize("scores", [[None, None, None], [0.5, None, 0.1], [np.float32(0.5)] * 3])
def test_any_first_stage_scores_are_taken(scores: list[Any]) -> None:
    given = [
        NodeWithScore.model_construct(node=TextNode(id_=name, text=f"nothing {name}"), score=score)
        for name, score in zip("abc", scores, strict=True)
    ]
    best = SearchKitRerank(reranker=FakeReranker()).postprocess_nodes(given, query_str=QUESTION)
    assert [node.node_id for node in best] == ["a", "b", "c"]
    assert json.dumps([node.to_dict() for node in best])


def test_a_failed_model_keeps_order_and_scores(make_kit: MakeKit, nodes: list[NodeWithScore]) -> None:
    failing = SearchKitRerank(top_n=3, kit=make_kit(CountingReranker(fails=True)))
    best = failing.postprocess_nodes(nodes, query_str=QUESTION)
    assert [node.node_id for node in best] == ["1", "2", "b3"]
    assert [node.score for node in best] == [1.0, 0.9, 0.8]


def test_criteria_come_from_construction_or_from_the_query(nodes: list[NodeWithScore]) -> None:
    reranker = CountingReranker()
    rerank = SearchKitRerank(reranker=reranker, criteria="in dollars")
    rerank.postprocess_nodes(nodes, QueryBundle(QUESTION))
    rerank.postprocess_nodes(nodes, SearchKitQuery(QUESTION, criteria="by the hour"))
    assert set(reranker.queries) == {f"{QUESTION} in dollars", f"{QUESTION} by the hour"}


async def test_apostprocess_nodes_leaves_the_loop_running(nodes: list[NodeWithScore]) -> None:
    rerank = SearchKitRerank(reranker=CountingReranker(delay_s=0.15))
    assert await longest_stall_s(lambda: rerank.apostprocess_nodes(nodes, query_str=QUESTION)) < 0.05


async def test_apostprocess_nodes_answers_like_postprocess_nodes(nodes: list[NodeWithScore]) -> None:
    rerank = SearchKitRerank(reranker=FakeReranker())
    asynchronous = await rerank.apostprocess_nodes(nodes, query_str=QUESTION)
    assert asynchronous == rerank.postprocess_nodes(nodes, query_str=QUESTION)


def test_nothing_but_top_n_is_needed_and_the_model_is_shared() -> None:
    first, second = SearchKitRerank(top_n=3), SearchKitRerank(top_n=5)
    assert first._kit is second._kit


def test_to_dict_and_from_dict_keep_the_settings() -> None:
    rerank = SearchKitRerank(top_n=3, criteria="in dollars", deadline_s=0.5)
    data = rerank.to_dict()
    assert data == {
        "top_n": 3,
        "model": None,
        "criteria": "in dollars",
        "deadline_s": 0.5,
        "has_object": False,
        "class_name": "SearchKitRerank",
    }
    again = SearchKitRerank.from_dict(json.loads(json.dumps(data)))
    assert again.to_dict() == data
    assert again._kit is rerank._kit


def test_from_dict_never_replaces_an_object_by_the_default_model(nodes: list[NodeWithScore]) -> None:
    data = SearchKitRerank(top_n=3, reranker=CountingReranker()).to_dict()
    with pytest.raises(ConfigError, match="from_dict"):
        SearchKitRerank.from_dict(data).postprocess_nodes(nodes, query_str=QUESTION)
    again = SearchKitRerank.from_dict(data, reranker=CountingReranker())
    assert len(again.postprocess_nodes(nodes, query_str=QUESTION)) == 3


@pytest.mark.filterwarnings("ignore")
def test_it_can_be_pickled() -> None:
    rerank = SearchKitRerank(top_n=3, criteria="in dollars")
    assert pickle.loads(pickle.dumps(rerank)).to_dict() == rerank.to_dict()


def test_unusable_arguments_are_refused(kit: SearchKit) -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        SearchKitRerank(top_n=0)
    with pytest.raises(ValidationError, match="topn"):
        SearchKitRerank(topn=3)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="kit and model"):
        SearchKitRerank(kit=kit, model="some/model")


def test_a_query_engine_reranks_with_it(kit: SearchKit, make_kit: MakeKit) -> None:
    engine = RetrieverQueryEngine.from_args(
        SearchKitRetriever(kit=kit, similarity_top_k=7, rerank=False),
        llm=MockLLM(),
        node_postprocessors=[SearchKitRerank(top_n=2, kit=make_kit())],
    )
    assert [node.node_id for node in engine.query(QUESTION).source_nodes] == ["2", "b6"]
