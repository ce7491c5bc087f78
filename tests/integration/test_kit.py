"""The whole kit over two stores, with small deterministic models in place of the real ones."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import numpy as np
import pytest
from qdrant_client import QdrantClient

from searchkit import Passage, SearchKit, SearchKitConfig
from searchkit.config import Blend, RerankerProfile, WindowConfig
from searchkit.errors import CollectionError, ConfigError, RerankError
from searchkit.testing import FakeEncoder, FakeReranker

PASSAGES = [
    {"id": "wages", "text": "Hairdressers are paid a yearly wage of 31,000 dollars.", "lang": "en", "year": 2021},
    {"id": "hours", "text": "Hairdressers work long hours and are paid by the hour.", "lang": "en", "year": 2018},
    {"id": "school", "text": "A school for hairdressers opened in town.", "lang": "en", "year": 2023, "open": True},
    {"id": "lohn", "text": "Friseure verdienen wenig Geld.", "lang": "de", "year": 2021, "open": False},
    {"id": 7, "text": "The dollar fell against the euro.", "lang": "en"},
]


@pytest.fixture
def open_kit(place):
    opened = []

    def make(**arguments):
        arguments = {"encoder": FakeEncoder(), "reranker": FakeReranker()} | arguments
        opened.append(SearchKit("handbook", **place, **arguments))
        return opened[-1]

    yield make
    for kit in opened:
        kit.close()


@pytest.fixture
def kit(open_kit):
    made = open_kit()
    made.add(PASSAGES)
    return made


class BrokenReranker(FakeReranker):
    def score_pairs(self, pairs, *, deadline=None):
        raise ValueError("the model is on fire")


class SlowReranker(FakeReranker):
    """Scores one pair at once, and then nothing before the deadline."""

    def score_pairs(self, pairs, *, deadline=None):
        is_first = self.scored_count == 0
        if not is_first:
            time.sleep(deadline.remaining_s)
        scores = super().score_pairs(pairs)
        scores.logits[int(is_first) :] = np.nan
        return scores


def test_search_returns_reordered_hits_with_an_account(kit):
    result = kit.search("how are hairdressers paid", top_k=2, criteria="a yearly wage in dollars")
    assert [hit.id for hit in result] == ["wages", "hours"]
    assert result.status == "reranked"
    assert result.reason is None
    assert result.candidate_count == result.scored_count >= 3
    assert result.reranker == "fake-reranker"
    assert result.engine == "words"
    top = result[0]
    assert top.rank == 1
    assert 0 < top.score < 1
    assert top.logit is not None
    assert top.metadata == {"lang": "en", "year": 2021}
    assert top.retrieval.rank is not None
    assert top.retrieval.dense_score is not None
    assert result.timings.total >= result.timings.encode + result.timings.retrieve + result.timings.rerank


def test_criteria_reach_the_second_stage_only(kit):
    plain = kit.search("hairdressers paid", top_k=3)
    with_criteria = kit.search("hairdressers paid", top_k=3, criteria="school opened in town")
    assert with_criteria[0].id == "school"
    assert plain[0].id != "school"
    assert {hit.id: hit.retrieval for hit in plain} == {hit.id: hit.retrieval for hit in with_criteria}


@pytest.mark.parametrize("mode", ["hybrid", "dense", "sparse"])
def test_every_mode_finds_the_passage_and_names_its_legs(kit, mode):
    result = kit.search("yearly wage dollars", mode=mode, rerank=False, top_k=1)
    assert result.status == "retrieved"
    assert result.mode == mode
    hit = result[0]
    assert hit.id == "wages"
    assert hit.logit is None
    assert hit.score == hit.retrieval.fused_score
    assert (hit.retrieval.dense_rank is None) == (mode == "sparse")
    assert (hit.retrieval.sparse_rank is None) == (mode == "dense")


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"lang": "de"}, {"lohn"}),
        ({"lang": ["de", "fr"]}, {"lohn"}),
        ({"year": {"gte": 2021}}, {"wages", "school", "lohn"}),
        ({"year": {"gt": 2018, "lt": 2023}}, {"wages", "lohn"}),
        ({"lang": {"not": "en"}}, {"lohn"}),
        ({"year": {"exists": False}}, {7}),
        ({"open": True}, {"school"}),
        ({"open": False}, {"lohn"}),
        ({"lang": "en", "year": 2021}, {"wages"}),
    ],
)
def test_filters_hold_in_search_and_count(kit, condition, expected):
    found = kit.search("hairdressers friseure dollar geld", filter=condition)
    assert {hit.id for hit in found} == expected
    assert kit.count(condition) == len(expected)


def test_min_score_may_leave_nothing(kit):
    assert len(kit.search("hairdressers paid", min_score=0.9)) >= 1
    nothing = kit.search("quantum chromodynamics", min_score=0.5)
    assert len(nothing) == 0
    assert nothing.status == "reranked"
    assert nothing.candidate_count > 0


def test_group_by_keeps_the_best_hit_of_each_value(kit):
    result = kit.search("hairdressers paid dollars", group_by="lang")
    langs = [hit.metadata["lang"] for hit in result]
    assert sorted(langs) == ["de", "en"]
    assert result[0].id == kit.search("hairdressers paid dollars")[0].id


def test_groups_are_told_by_a_path_and_a_field_that_nothing_has_is_said(open_kit):
    kit = open_kit()
    kit.add([{"id": n, "text": f"wage {n}", "src": {"name": "ab"[n % 2]}} for n in range(6)])
    grouped = kit.search("wage", group_by="src.name")
    assert sorted(hit.metadata["src"]["name"] for hit in grouped) == ["a", "b"]
    assert grouped.reason is None
    loose = kit.search("wage", group_by="scr.name")
    assert (len(loose), loose.status) == (6, "reranked")
    assert "no candidate has the metadata field 'scr.name'" in loose.reason


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_told_to_open_a_kit_of_its_own(tmp_path):
    with SearchKit("handbook", path=tmp_path, encoder=FakeEncoder(), reranker=FakeReranker()) as kit:
        kit.add(PASSAGES)
        count = kit.count()
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # it used to wait for the parent's threads
            try:
                for act in (lambda: kit.add(["lost"]), kit.count, lambda: kit.search("x"), lambda: kit.delete(["a"])):
                    with pytest.raises(CollectionError, match="forked"):
                        act()
                os._exit(7)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 7
        kit.add(["kept"])
        assert kit.count() == count + 1


def test_long_texts_come_back_whole_with_the_window_that_matched(open_kit):
    kit = open_kit(config=SearchKitConfig(windows=WindowConfig(max_tokens=20, overlap_tokens=4)))
    filler = [f"filler{n}" for n in range(200)]
    text = " ".join([*filler[:90], "the yearly wage is stated here", *filler[90:]])
    kit.add([{"id": "long", "text": text}, {"id": "other", "text": "something else"}])
    assert kit.count() == 2
    hit = kit.search("yearly wage stated", top_k=1)[0]
    assert hit.id == "long"
    assert hit.text == text
    assert hit.snippet is not None
    assert "yearly wage" in hit.snippet.text
    assert text[hit.snippet.start : hit.snippet.end] == hit.snippet.text
    assert kit.get(["long"])[0].text == text


def test_a_failing_reranker_degrades_visibly_to_first_stage_order(open_kit):
    kit = open_kit(reranker=BrokenReranker())
    kit.add(PASSAGES)
    result = kit.search("hairdressers paid", top_k=3, min_score=0.5)
    plain = kit.search("hairdressers paid", top_k=3, rerank=False)
    assert result.status == "degraded"
    assert "the model is on fire" in result.reason
    assert "min_score was not applied" in result.reason
    assert [hit.id for hit in result] == [hit.id for hit in plain]


def test_a_failing_reranker_raises_where_that_was_asked_for(open_kit):
    kit = open_kit(reranker=BrokenReranker(), config=SearchKitConfig(on_rerank_error="raise"))
    kit.add(PASSAGES)
    with pytest.raises(RerankError, match="on fire") as caught:
        kit.search("hairdressers")
    assert isinstance(caught.value.__cause__, ValueError)


def test_unscored_candidates_make_the_result_partial_and_are_not_lost(open_kit):
    kit = open_kit(reranker=SlowReranker())
    kit.add(PASSAGES)
    result = kit.search("hairdressers paid", candidate_depth=10, deadline_s=0.5)
    assert result.status == "partial"
    assert result.scored_count == 1
    assert len(result) == result.candidate_count > 1
    assert "1 of" in result.reason


def test_blend_is_named_in_the_result_and_can_be_switched_off(open_kit):
    profile = RerankerProfile(blend=Blend(logit_weight=1.0, rank_weight=2.0))
    blended = open_kit(reranker=FakeReranker(profile=profile))
    blended.add(PASSAGES)
    result = blended.search("hairdressers paid")
    assert "first-stage rank" in result.blend
    top = result[0]
    log_odds = top.logit + 2.0 * 11 / (10 + top.retrieval.rank)
    assert top.score == pytest.approx(1 / (1 + np.exp(-log_odds)))


def test_batch_and_single_searches_agree(kit):
    queries = ["hairdressers paid", "dollar against euro", "geld verdienen"]
    batch = kit.search_batch(queries, top_k=3, criteria=[None, "euro", None])
    single = [
        kit.search(query, top_k=3, criteria=one) for query, one in zip(queries, [None, "euro", None], strict=True)
    ]
    assert [result.hits for result in batch] == [result.hits for result in single]
    assert kit.search_batch([]) == []


async def test_async_and_sync_searches_agree(kit):
    first, second = await asyncio.gather(kit.asearch("hairdressers paid"), kit.asearch("dollar"))
    assert first.hits == kit.search("hairdressers paid").hits
    assert second.hits == kit.search("dollar").hits
    batch = await kit.asearch_batch(["hairdressers paid", "dollar"])
    assert [result.hits for result in batch] == [first.hits, second.hits]


async def test_async_search_leaves_the_event_loop_free(open_kit):
    class SleepingReranker(FakeReranker):
        def score_pairs(self, pairs, *, deadline=None):
            time.sleep(0.5)
            return super().score_pairs(pairs)

    kit = open_kit(reranker=SleepingReranker())
    kit.add(PASSAGES)
    task = asyncio.create_task(kit.asearch("hairdressers"))
    beats = 0
    while not task.done():
        await asyncio.sleep(0.01)
        beats += 1
    assert beats >= 5
    assert (await task).status == "reranked"


def test_rerank_alone_orders_foreign_candidates_and_keeps_their_scores(kit):
    result = kit.rerank(
        "yearly wage",
        ["no match at all", {"id": "w", "text": "a yearly wage", "lang": "en"}, Passage(text="yearly")],
        scores=[0.9, 0.1, 0.5],
    )
    assert [hit.id for hit in result] == ["w", 2, 0]
    assert [hit.retrieval.fused_score for hit in result] == [0.1, 0.5, 0.9]
    assert [hit.retrieval.rank for hit in result] == [3, 2, 1]
    assert result[0].metadata == {"lang": "en"}
    assert result.mode is None
    assert kit.rerank("yearly wage", []).hits == ()
    assert len(kit.rerank("yearly wage", ["a", "b", "c"], top_k=2)) == 2
    with pytest.raises(ConfigError, match="1 scores for 2 passages"):
        kit.rerank("q", ["a", "b"], scores=[1.0])


def test_added_passages_are_counted_once_and_not_encoded_again(open_kit):
    encoder = FakeEncoder()
    kit = open_kit(encoder=encoder)
    assert kit.add(PASSAGES).added == 5
    encoded = encoder.encoded_count
    again = kit.add(PASSAGES)
    assert (again.added, again.updated, again.unchanged) == (0, 0, 5)
    assert encoder.encoded_count == encoded
    changed = kit.add([{**PASSAGES[0], "text": "Wages rose."}])
    assert (changed.updated, kit.count()) == (1, 5)


def test_deleted_passages_are_gone(kit):
    assert kit.delete(["wages", "unknown"]) == 1
    assert kit.delete(filter={"lang": "de"}) == 1
    assert {hit.id for hit in kit.search("hairdressers paid friseure geld")} <= {"hours", "school", 7}
    assert kit.count() == 3


def test_close_is_idempotent_and_leaves_a_given_client_open(tmp_path):
    client = QdrantClient(":memory:")
    with SearchKit("c", client=client, encoder=FakeEncoder(), reranker=FakeReranker()) as kit:
        kit.add(["text"])
    kit.close()
    assert client.collection_exists("c")


def test_two_kits_on_one_store_see_the_same_passages_one_after_the_other(tmp_path):
    for expected in (1, 0):
        with SearchKit("c", path=tmp_path, encoder=FakeEncoder(), reranker=FakeReranker()) as kit:
            assert kit.add(["text"]).added == expected
            assert kit.count() == 1


def test_searching_a_thousand_times_gives_the_same_order(kit):
    first = kit.search("hairdressers are paid").hits
    assert all(kit.search("hairdressers are paid").hits == first for _ in range(50))


def test_progress_bar_is_shown_on_demand_and_writes_to_stderr_only(kit, capsys):
    kit.add(["one more"], show_progress=True)
    shown = capsys.readouterr()
    assert "passages" in shown.err
    assert shown.out == ""
