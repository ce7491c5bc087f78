from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchkit.bounded import BoundedThreads
from searchkit.config import AdaptiveDepthConfig, Blend, RerankerProfile, SearchKitConfig
from searchkit.deadline import Deadline
from searchkit.request import SearchRequest
from searchkit.second_stage import SecondStage
from searchkit.stages import Candidate, PairScores, Window
from searchkit.types import RetrievalEvidence
from tests.token_reader import WordsReranker


class ReadingReranker:
    """Reads the logit off the text; notes every call."""

    name = "reading"

    def __init__(self, profile: RerankerProfile | None = None) -> None:
        self.profile = profile or RerankerProfile()
        self.calls: list[list[tuple[str, str]]] = []

    def score_pairs(self, pairs, *, deadline=None) -> PairScores:
        self.calls.append(list(pairs))
        logits = np.array([float(text.split()[0]) for _, text in pairs], dtype=np.float32)
        return PairScores(logits, np.zeros(len(pairs), dtype=np.int64), "reading")


def candidates_of(logits, **metadata_of) -> list[Candidate]:
    return [
        Candidate(
            id=rank,
            text=f"{logit} at {rank}",
            metadata={name: values[rank - 1] for name, values in metadata_of.items()},
            evidence=RetrievalEvidence(rank=rank, fused_score=1 / rank),
        )
        for rank, logit in enumerate(logits, 1)
    ]


def run(found, *, reranker=None, adaptive=True, blend=False, **arguments):
    settings = AdaptiveDepthConfig(max_missed=0.1) if adaptive is True else adaptive or None
    stage = SecondStage(reranker or ReadingReranker(), SearchKitConfig(adaptive_depth=settings), BoundedThreads())
    many = found if found and isinstance(found[0], list) else [found]
    requests = [SearchRequest(**{"candidate_depth": 10_000} | arguments) for _ in many]
    outcomes = stage.run([f"q{n}" for n in range(len(many))], requests, many, Deadline(), blend=blend)
    return outcomes if many is found else outcomes[0]


def scored(outcome) -> list[int]:
    return [entry.candidate.id for entry in outcome.entries if entry.logit is not None]


CLEAR = [6.0, *np.linspace(-6, -9, 99)]


def test_without_adaptive_depth_every_candidate_is_scored_in_one_call():
    reranker = ReadingReranker()
    outcome = run(candidates_of(CLEAR), reranker=reranker, adaptive=False)
    assert len(reranker.calls) == 1
    assert len(scored(outcome)) == 100
    assert (outcome.status, outcome.reason) == ("reranked", None)


def test_adaptive_depth_stops_after_a_clear_answer_and_says_how_many_were_scored():
    outcome = run(candidates_of(CLEAR), top_k=5)
    count = len(scored(outcome))
    assert 16 <= count < 50
    assert outcome.status == "reranked"
    assert outcome.reason == f"stage 2 stopped after {count} of 100 windows: the rest is unlikely to be a hit"
    assert scored(outcome) == list(range(1, count + 1))
    assert [entry.candidate.id for entry in outcome.entries] == list(range(1, 101))


def test_adaptive_depth_goes_on_while_relevant_candidates_keep_coming():
    outcome = run(candidates_of([*np.linspace(1, 3, 100)]), top_k=10)
    assert len(scored(outcome)) == 100
    assert outcome.reason is None


def test_a_stretch_holds_as_many_passages_as_configured():
    reranker = ReadingReranker()
    run(
        candidates_of(np.linspace(1, 3, 50)),
        reranker=reranker,
        adaptive=AdaptiveDepthConfig(first=7, step=20, max_missed=1e-9),
        top_k=3,
    )
    assert [len(call) for call in reranker.calls] == [7, 20, 20, 3]


def test_all_windows_of_a_passage_are_in_its_stretch_first_windows_first():
    found = [
        Candidate(rank, f"{window} at {rank}", window=Window(window, 2), evidence=RetrievalEvidence(rank=rank))
        for rank in range(1, 5)
        for window in range(2)
    ]
    reranker = ReadingReranker()
    run(found, reranker=reranker, adaptive=AdaptiveDepthConfig(first=2, step=2, max_missed=1e-9), top_k=2)
    assert [[text for _, text in call] for call in reranker.calls] == [
        ["0 at 1", "0 at 2", "1 at 1", "1 at 2"],
        ["0 at 3", "0 at 4", "1 at 3", "1 at 4"],
    ]


@given(
    st.lists(st.floats(-12, 12, width=32), max_size=60),
    st.integers(1, 40),
    st.integers(1, 20),
    st.integers(1, 20),
    st.floats(1e-6, 1e3),
    st.booleans(),
)
def test_adaptive_depth_never_stops_before_top_k_are_scored_and_loses_no_candidate(
    logits, top_k, first, step, max_missed, blend
):
    profile = RerankerProfile(blend=Blend(logit_weight=1.0, rank_weight=2.0))
    outcome = run(
        candidates_of(logits),
        reranker=ReadingReranker(profile),
        adaptive=AdaptiveDepthConfig(first=first, step=step, max_missed=max_missed),
        blend=blend,
        top_k=top_k,
    )
    assert len(scored(outcome)) >= min(top_k, len(logits))
    assert sorted(entry.candidate.id for entry in outcome.entries) == list(range(1, len(logits) + 1))
    assert outcome.status == "reranked"
    assert (outcome.reason is None) == (len(scored(outcome)) == len(logits))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(1, 8))
def test_with_groups_it_never_stops_before_top_k_groups_are_scored(groups, top_k):
    outcome = run(
        candidates_of(np.linspace(-5, -9, len(groups)), group=groups),
        adaptive=AdaptiveDepthConfig(first=1, step=1, max_missed=1e9),
        top_k=top_k,
        group_by="group",
    )
    found = {groups[number - 1] for number in scored(outcome)}
    assert len(found) >= min(top_k, len(set(groups)))


def test_min_score_lets_it_stop_earlier():
    logits = np.linspace(0.5, -3, 100)
    plain, strict = run(candidates_of(logits), top_k=10), run(candidates_of(logits), top_k=10, min_score=0.99)
    assert len(scored(strict)) < len(scored(plain))


def test_each_query_of_a_batch_stops_on_its_own():
    reranker = ReadingReranker()
    clear, open_ended = run([candidates_of(CLEAR), candidates_of(np.linspace(1, 3, 100))], reranker=reranker, top_k=5)
    assert len(scored(clear)) < 50
    assert len(scored(open_ended)) == 100
    assert {query for query, _ in reranker.calls[0]} == {"q0", "q1"}
    assert {query for query, _ in reranker.calls[-1]} == {"q1"}
    assert scored(clear) == scored(run(candidates_of(CLEAR), top_k=5))


def test_a_query_without_candidates_is_reranked_to_nothing():
    empty, other = run([[], candidates_of([1.0, 2.0])], adaptive=False)
    assert (empty.entries, empty.status) == ([], "reranked")
    assert scored(other) == [2, 1]


def test_what_a_deadline_cut_off_is_partial_not_settled():
    class Cut(ReadingReranker):
        def score_pairs(self, pairs, *, deadline=None):
            scores = super().score_pairs(pairs)
            scores.logits[20:] = np.nan
            return scores

    for_both = run([candidates_of(CLEAR), candidates_of(CLEAR)], reranker=Cut(), top_k=5)
    assert [outcome.status for outcome in for_both] == ["partial", "partial"]
    assert all("the deadline stopped stage 2" in outcome.reason for outcome in for_both)


@pytest.mark.parametrize("field", ["first", "step"])
def test_a_stretch_of_nothing_is_refused(field):
    with pytest.raises(ValueError, match=field):
        AdaptiveDepthConfig(**{field: 0})


def test_stored_token_ids_go_with_their_texts_and_their_fate_is_counted_by_query():
    right, another = WordsReranker().writer.encode(["some words", "other words"])
    found = [
        [Candidate(1, "some words", token_ids=right), Candidate(2, "more words", token_ids=another)],
        [Candidate(1, "some words"), Candidate(2, "other words", token_ids=another)],
    ]
    reranker = WordsReranker()
    first, second = run(found, reranker=reranker, adaptive=False)
    assert sorted(reranker.given, key=str) == sorted([right, another, None, another], key=str)
    assert (first.tokens_used, first.tokens_refused) == (1, 1)
    assert (second.tokens_used, second.tokens_refused) == (1, 0)


def test_a_reranker_that_reads_no_stored_token_ids_is_given_none():
    found = [Candidate(1, "1.5 at 1", token_ids="whatever", evidence=RetrievalEvidence(rank=1))]
    outcome = run(found, adaptive=False)
    assert outcome.status == "reranked"
    assert (outcome.tokens_used, outcome.tokens_refused) == (0, 0)
