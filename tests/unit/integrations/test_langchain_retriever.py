from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import numpy as np
import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.load import dumpd, dumps
from langchain_core.runnables import ConfigurableField, RunnableLambda
from langchain_core.tools import create_retriever_tool
from pydantic import ValidationError

from searchkit import SearchKit, SearchKitConfig
from searchkit.errors import ConfigError, RerankError
from searchkit.integrations.langchain import SearchKitRetriever
from tests.unit.integrations.wages import PASSAGES, QUESTION, CountingReranker, MakeKit, longest_stall_s


class Recorder(BaseCallbackHandler):
    def __init__(self) -> None:
        self.started: list[str] = []
        self.ended: list[int] = []
        self.failed: list[str] = []
        self.metadata: list[dict[str, Any]] = []
        self.tags: list[list[str]] = []
        self.names: list[str] = []

    def on_retriever_start(self, serialized: Any, query: str, *, tags: Any = None, metadata: Any = None, **rest: Any):
        self.started.append(query)
        self.metadata.append(metadata or {})
        self.tags.append(tags or [])
        self.names.append(rest.get("name", ""))

    def on_retriever_end(self, documents: Any, **rest: Any) -> None:
        self.ended.append(len(documents))

    def on_retriever_error(self, error: BaseException, **rest: Any) -> None:
        self.failed.append(type(error).__name__)


class AsyncRecorder(AsyncCallbackHandler):
    def __init__(self) -> None:
        self.events: list[str] = []

    async def on_retriever_start(self, serialized: Any, query: str, **rest: Any) -> None:
        self.events.append(f"start {query}")

    async def on_retriever_end(self, documents: Any, **rest: Any) -> None:
        self.events.append(f"end {len(documents)}")

    async def on_retriever_error(self, error: BaseException, **rest: Any) -> None:
        self.events.append(f"error {type(error).__name__}")


def test_a_document_carries_id_text_metadata_and_score(kit: SearchKit) -> None:
    hit = kit.search(QUESTION, top_k=1)[0]
    document = SearchKitRetriever(kit=kit, k=1).invoke(QUESTION)[0]
    assert document.id == str(hit.id)
    assert document.page_content == hit.text
    assert document.metadata == {
        **hit.metadata,
        "_id": hit.id,
        "_collection_name": "wages",
        "relevance_score": hit.score,
    }


def test_an_integer_id_stays_an_integer_in_the_metadata_and_is_a_string_as_document_id(kit: SearchKit) -> None:
    best = SearchKitRetriever(kit=kit, k=1, filter={"year": 2021}).invoke(QUESTION)[0]
    assert (best.id, best.metadata["_id"]) == ("1", 1)


def test_every_score_is_a_plain_float_and_documents_serialize(kit: SearchKit) -> None:
    documents = SearchKitRetriever(kit=kit, k=7).invoke(QUESTION)
    assert {type(document.metadata["relevance_score"]) for document in documents} == {float}
    assert json.loads(json.dumps([document.metadata for document in documents]))
    assert dumps(documents)


def test_without_a_score_key_equal_passages_are_equal_documents(kit: SearchKit) -> None:
    retriever = SearchKitRetriever(kit=kit, k=7, score_key=None)
    first, second = retriever.invoke(QUESTION), retriever.invoke("paid")
    assert not any("relevance_score" in document.metadata for document in first)
    shared = {document.id for document in first} & {document.id for document in second}
    assert shared
    for identity in shared:
        assert next(d for d in first if d.id == identity) == next(d for d in second if d.id == identity)


def test_k_can_be_given_per_call(kit: SearchKit) -> None:
    retriever = SearchKitRetriever(kit=kit, k=1)
    assert len(retriever.invoke(QUESTION, k=3)) == 3
    assert len(retriever.invoke(QUESTION)) == 1


async def test_ainvoke_takes_the_same_arguments_as_invoke(kit: SearchKit) -> None:
    retriever = SearchKitRetriever(kit=kit, k=1)
    arguments: dict[str, Any] = {
        "k": 3,
        "candidate_depth": 5,
        "criteria": "dollars",
        "filter": {"lang": "en"},
        "min_score": 0.0,
        "deadline_s": 60.0,
    }
    assert await retriever.ainvoke(QUESTION, **arguments) == retriever.invoke(QUESTION, **arguments)
    assert len(await retriever.ainvoke(QUESTION, k=3)) == 3


def test_a_misspelled_argument_is_refused_per_call_and_at_construction(kit: SearchKit) -> None:
    retriever = SearchKitRetriever(kit=kit)
    with pytest.raises(TypeError, match="top_k"):
        retriever.invoke(QUESTION, top_k=3)
    with pytest.raises(TypeError, match="top_k"):
        retriever.batch([QUESTION], top_k=3)
    with pytest.raises(ValidationError, match="top_k"):
        SearchKitRetriever(kit=kit, top_k=3)  # type: ignore[call-arg]


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one_is_refused(kit: SearchKit, k: int) -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        SearchKitRetriever(kit=kit, k=k)


@pytest.mark.parametrize(("name", "value"), [("k", 0), ("k", "3"), ("k", True), ("candidate_depth", 2.5)])
async def test_an_unusable_number_per_call_is_named_as_the_caller_named_it(
    kit: SearchKit, name: str, value: Any
) -> None:
    retriever, wrong = SearchKitRetriever(kit=kit), {name: value}
    with pytest.raises(ConfigError, match=f"^{name}={value!r} cannot be used"):
        retriever.invoke(QUESTION, **wrong)
    with pytest.raises(ConfigError, match=f"^{name}="):
        await retriever.ainvoke(QUESTION, **wrong)
    with pytest.raises(ConfigError, match=f"^{name}="):
        retriever.batch([QUESTION], **wrong)


def test_numpy_integers_are_numbers(kit: SearchKit) -> None:
    assert len(SearchKitRetriever(kit=kit).invoke(QUESTION, k=np.int64(2))) == 2  # type: ignore[call-arg]


def test_a_deep_copy_searches_the_same_collection_and_a_pickle_is_refused_in_words(kit: SearchKit) -> None:
    retriever = SearchKitRetriever(kit=kit, k=2)
    assert copy.deepcopy(retriever).invoke(QUESTION) == retriever.invoke(QUESTION)
    with pytest.raises(TypeError, match="a kit holds threads and connections"):
        pickle.dumps(retriever)


async def test_langchains_other_ways_to_run_it_give_the_same_documents(kit: SearchKit) -> None:
    retriever = SearchKitRetriever(kit=kit, k=2)
    queries = [QUESTION, "cook"]
    expected = [retriever.invoke(query) for query in queries]
    assert [documents for _, documents in sorted(retriever.batch_as_completed(queries))] == expected
    assert sorted([one async for one in retriever.abatch_as_completed(queries)]) == list(enumerate(expected))
    assert retriever.with_retry().batch(queries) == expected
    assert retriever.with_fallbacks([retriever]).batch(queries) == expected
    assert retriever.map().invoke(queries) == expected
    assert list(retriever.stream(QUESTION)) == expected[:1]
    assert retriever.batch(queries, {"max_concurrency": 1}) == expected


def test_alternatives_and_filters_are_configurable_at_run_time(kit: SearchKit) -> None:
    wide, narrow = SearchKitRetriever(kit=kit, k=7), SearchKitRetriever(kit=kit, k=1)
    either = wide.configurable_alternatives(ConfigurableField(id="how"), default_key="wide", narrow=narrow)
    assert len(either.with_config(configurable={"how": "narrow"}).batch([QUESTION])[0]) == 1
    by_language = wide.configurable_fields(filter=ConfigurableField(id="filter"))
    config: Any = {"configurable": {"filter": {"lang": "de"}}}
    assert [document.id for document in by_language.invoke(QUESTION, config)] == ["b4"]


def test_an_agent_gets_text_for_its_prompt_and_documents_beside_it(kit: SearchKit) -> None:
    retriever = SearchKitRetriever(kit=kit, k=2)
    tool = create_retriever_tool(retriever, "wages", "Searches wages.", response_format="content_and_artifact")
    message = tool.invoke({"name": "wages", "args": {"query": QUESTION}, "id": "1", "type": "tool_call"})
    assert message.artifact == retriever.invoke(QUESTION)
    assert str(PASSAGES[1]["text"]) in message.content


async def test_a_chain_streams_the_events_of_the_retriever(kit: SearchKit) -> None:
    chain = SearchKitRetriever(kit=kit, k=2) | RunnableLambda(len)
    events = [event async for event in chain.astream_events(QUESTION, version="v2")]
    names = [event["event"] for event in events]
    assert [name for name in names if "retriever" in name] == ["on_retriever_start", "on_retriever_end"]
    assert events[-1]["data"]["output"] == 2


def test_something_else_than_a_kit_is_refused_at_construction() -> None:
    with pytest.raises(ValidationError, match="no SearchKit"):
        SearchKitRetriever(kit="handbook")  # type: ignore[arg-type]


def test_the_candidate_depth_grows_with_k(kit: SearchKit) -> None:
    assert len(SearchKitRetriever(kit=kit, candidate_depth=2).invoke(QUESTION, k=6)) == 6


def test_the_candidate_depth_is_how_many_stage_two_scores(kit: SearchKit, reranker: CountingReranker) -> None:
    SearchKitRetriever(kit=kit, k=2, candidate_depth=3).invoke(QUESTION)
    assert reranker.scored_count == 3
    SearchKitRetriever(kit=kit, k=2).invoke("another question", candidate_depth=5)  # the first one's scores are cached
    assert reranker.scored_count == 8


def test_filter_at_construction_holds_until_a_call_brings_another(kit: SearchKit) -> None:
    retriever = SearchKitRetriever(kit=kit, k=7, filter={"lang": "de"})
    assert {document.metadata["lang"] for document in retriever.invoke(QUESTION)} == {"de"}
    assert {document.metadata["lang"] for document in retriever.invoke(QUESTION, filter={"lang": "en"})} == {"en"}
    assert {document.metadata["lang"] for document in retriever.invoke(QUESTION, filter={})} == {"de", "en"}


def test_criteria_reach_stage_two_from_construction_and_from_the_call(
    kit: SearchKit, reranker: CountingReranker
) -> None:
    retriever = SearchKitRetriever(kit=kit, criteria="in dollars")
    retriever.invoke(QUESTION)
    assert set(reranker.queries) == {f"{QUESTION} in dollars"}
    reranker.queries.clear()
    retriever.invoke(QUESTION, criteria="by the hour")
    assert set(reranker.queries) == {f"{QUESTION} by the hour"}


def test_min_score_and_mode_and_group_by_reach_the_search(kit: SearchKit) -> None:
    assert SearchKitRetriever(kit=kit, min_score=1.0).invoke(QUESTION) == []
    grouped = SearchKitRetriever(kit=kit, k=7, group_by="lang").invoke(QUESTION)
    assert sorted(document.metadata["lang"] for document in grouped) == ["de", "en"]
    first = SearchKitRetriever(kit=kit, rerank=False, mode="dense").invoke(QUESTION)
    expected = kit.search(QUESTION, rerank=False, mode="dense")[0].score
    assert first[0].metadata["relevance_score"] == pytest.approx(expected)


@pytest.mark.parametrize("score_key", ["relevance_score", None])
def test_a_failed_second_stage_is_visible_on_every_document(make_kit: MakeKit, score_key: str | None) -> None:
    failing = SearchKitRetriever(kit=make_kit(CountingReranker(fails=True)), score_key=score_key)
    documents = failing.invoke(QUESTION)
    assert len(documents) == 4
    assert all(document.metadata["_reranked"] is False for document in documents)
    plain = SearchKitRetriever(kit=make_kit(), rerank=False, score_key=score_key).invoke(QUESTION)
    assert not any("_reranked" in document.metadata for document in plain)


def test_a_batch_is_one_call_of_the_reranker(kit: SearchKit, reranker: CountingReranker) -> None:
    retriever = SearchKitRetriever(kit=kit, k=2)
    queries = [QUESTION, "scissors", "cook", "month"]
    outputs = retriever.batch(queries)
    assert reranker.call_count == 1
    assert outputs == [retriever.invoke(query) for query in queries]


async def test_an_abatch_is_one_call_of_the_reranker(kit: SearchKit, reranker: CountingReranker) -> None:
    retriever = SearchKitRetriever(kit=kit, k=2)
    queries = [QUESTION, "scissors", "cook", "month"]
    outputs = await retriever.abatch(queries, k=3)
    assert reranker.call_count == 1
    assert outputs == [retriever.invoke(query, k=3) for query in queries]


def test_a_chain_batches_through_the_retriever(kit: SearchKit, reranker: CountingReranker) -> None:
    chain = SearchKitRetriever(kit=kit, k=2) | RunnableLambda(lambda documents: len(documents))
    assert chain.batch([QUESTION, "scissors"]) == [2, 2]
    assert reranker.call_count == 1


async def test_an_empty_batch_is_empty(kit: SearchKit) -> None:
    retriever = SearchKitRetriever(kit=kit)
    assert retriever.batch([]) == []
    assert await retriever.abatch([]) == []


def test_batch_arguments_hold_for_every_query(kit: SearchKit) -> None:
    outputs = SearchKitRetriever(kit=kit).bind(k=7, filter={"lang": "de"}).batch([QUESTION, "scissors"])
    assert [[document.id for document in documents] for documents in outputs] == [["b4"], ["b4"]]


def test_every_query_of_a_batch_has_its_own_run_with_its_own_config(kit: SearchKit) -> None:
    seen = Recorder()
    retriever = SearchKitRetriever(kit=kit, k=2, tags=["always"], metadata={"app": "test"})
    retriever.batch(
        [QUESTION, "scissors"], [{"callbacks": [seen], "tags": ["one"]}, {"callbacks": [seen], "run_name": "second"}]
    )
    assert seen.started == [QUESTION, "scissors"]
    assert seen.ended == [2, 2]
    assert seen.tags == [["one", "always"], ["always"]]
    assert seen.names == ["SearchKitRetriever", "second"]
    assert all(metadata["app"] == "test" for metadata in seen.metadata)


async def test_abatch_speaks_to_async_callbacks(kit: SearchKit) -> None:
    seen = AsyncRecorder()
    await SearchKitRetriever(kit=kit, k=2).abatch(["cook", "month"], {"callbacks": [seen]})
    assert seen.events == ["start cook", "start month", "end 2", "end 2"]


def test_traces_name_the_store(kit: SearchKit) -> None:
    seen = Recorder()
    SearchKitRetriever(kit=kit).invoke(QUESTION, {"callbacks": [seen]})
    SearchKitRetriever(kit=kit).batch([QUESTION], {"callbacks": [seen]})
    for metadata in seen.metadata:
        assert metadata["ls_retriever_name"] == "searchkit"
        assert metadata["ls_vector_store_provider"] == "Qdrant"
    assert len(seen.metadata) == 2


async def test_one_unusable_query_of_a_batch_leaves_the_others_their_answers(kit: SearchKit) -> None:
    retriever, seen = SearchKitRetriever(kit=kit, k=2), Recorder()
    queries = [QUESTION, "  ", "cook"]
    with pytest.raises(ConfigError, match="empty"):
        retriever.batch(queries)
    with pytest.raises(ConfigError, match="empty"):
        await retriever.abatch(queries)
    outputs = retriever.batch(queries, {"callbacks": [seen]}, return_exceptions=True)
    asynchronous = await retriever.abatch(queries, return_exceptions=True)
    for answer in (outputs, asynchronous):
        assert isinstance(answer[1], ConfigError)
        assert [answer[0], answer[2]] == [retriever.invoke(QUESTION), retriever.invoke("cook")]
    assert (seen.ended, seen.failed) == ([2, 2], ["ConfigError"])


async def test_an_error_of_the_search_reaches_callbacks_and_caller_once_a_query(make_kit: MakeKit) -> None:
    reranker = CountingReranker(fails=True)
    retriever = SearchKitRetriever(kit=make_kit(reranker, config=SearchKitConfig(on_rerank_error="raise")))
    seen, aseen = Recorder(), AsyncRecorder()
    with pytest.raises(RerankError):
        retriever.batch(["cook", "month"], {"callbacks": [seen]})
    assert seen.failed == ["RerankError", "RerankError"]
    assert reranker.call_count == 1
    with pytest.raises(RerankError):
        await retriever.abatch(["cook", "month"], {"callbacks": [aseen]})
    assert aseen.events == ["start cook", "start month", "error RerankError", "error RerankError"]
    returned = retriever.batch(["cook", "month"], return_exceptions=True)
    assert [type(error) for error in returned] == [RerankError, RerankError]


async def test_astream_events_reports_the_documents(kit: SearchKit) -> None:
    retriever = SearchKitRetriever(kit=kit, k=2)
    events = [event async for event in retriever.astream_events(QUESTION, version="v2")]
    assert [event["event"] for event in events] == ["on_retriever_start", "on_retriever_end"]
    output = events[-1]["data"]["output"]
    assert [document.id for document in output] == [document.id for document in retriever.invoke(QUESTION)]


async def test_the_retriever_is_a_tool(kit: SearchKit) -> None:
    tool = create_retriever_tool(SearchKitRetriever(kit=kit, k=1), "wages", "Searches wages.")
    assert tool.invoke({"query": QUESTION}) == PASSAGES[1]["text"]
    assert await tool.ainvoke({"query": QUESTION}) == PASSAGES[1]["text"]


def test_fields_are_configurable_at_run_time(kit: SearchKit) -> None:
    retriever = SearchKitRetriever(kit=kit).configurable_fields(
        k=ConfigurableField(id="k"), criteria=ConfigurableField(id="criteria")
    )
    config: Any = {"configurable": {"k": 2, "criteria": "in dollars"}}
    assert len(retriever.invoke(QUESTION, config)) == 2
    assert retriever.batch([QUESTION], config) == [retriever.invoke(QUESTION, config)]


def test_serialization_leaves_the_kit_out_and_keeps_the_settings(kit: SearchKit) -> None:
    retriever = SearchKitRetriever(kit=kit, k=3, criteria="in dollars", filter={"lang": "en"})
    dumped = json.loads(retriever.model_dump_json())
    assert "kit" not in dumped
    assert (dumped["k"], dumped["criteria"], dumped["filter"]) == (3, "in dollars", {"lang": "en"})
    assert "kit" not in repr(retriever)
    assert dumpd(retriever)["type"] == "not_implemented"
    assert SearchKitRetriever(kit=kit, **dumped).invoke(QUESTION) == retriever.invoke(QUESTION)
    assert retriever.get_output_jsonschema()["type"] == "array"


def test_changing_a_document_leaves_the_next_answer_alone(kit: SearchKit) -> None:
    retriever = SearchKitRetriever(kit=kit, k=1)
    before = retriever.invoke(QUESTION)[0].model_copy(deep=True)
    retriever.invoke(QUESTION)[0].metadata.clear()
    assert retriever.invoke(QUESTION) == [before]
    assert isinstance(before, Document)


async def test_ainvoke_and_abatch_leave_the_loop_running(make_kit: MakeKit) -> None:
    retriever = SearchKitRetriever(kit=make_kit(CountingReranker(delay_s=0.15)))
    assert await longest_stall_s(lambda: retriever.ainvoke(QUESTION)) < 0.05
    assert await longest_stall_s(lambda: retriever.abatch([QUESTION, "cook"])) < 0.05
