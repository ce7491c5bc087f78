"""From candidates and scores to hits."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchkit.assembly import first_stage_order, make_hits, one_per_group, reranked_order
from searchkit.config import Blend, Calibration, RerankerProfile
from searchkit.stages import Candidate, PairScores, Window
from searchkit.types import RetrievalEvidence


def candidate(identity, rank, *, metadata=None, window=None, fused=None):
    evidence = RetrievalEvidence(rank=rank, fused_score=1 / rank if fused is None else fused)
    return Candidate(identity, f"text of {identity}", metadata or {}, window or Window(), evidence)


def scores(*logits, truncated=None):
    lost = np.array(truncated or [0] * len(logits), dtype=np.int64)
    return PairScores(np.array(logits, dtype=np.float32), lost, "test")


def ids(entries):
    return [entry.candidate.id for entry in entries]


def test_second_stage_can_promote_the_last_candidate():
    found = [candidate(name, rank) for rank, name in enumerate("abc", 1)]
    entries = reranked_order(found, scores(-1.0, 0.0, 3.0), RerankerProfile(), blend=True)
    assert ids(entries) == ["c", "b", "a"]
    assert entries[0].score == pytest.approx(1 / (1 + math.exp(-3.0)))


def test_the_best_window_speaks_for_its_passage():
    found = [
        candidate("long", 1, window=Window(0, 3, 0, 10)),
        candidate("long", 1, window=Window(2, 3, 20, 30)),
        candidate("short", 2),
    ]
    entries = reranked_order(found, scores(-2.0, 4.0, 1.0, truncated=[0, 7, 0]), RerankerProfile(), blend=False)
    assert ids(entries) == ["long", "short"]
    hits = make_hits(entries, {"long": "x" * 40})
    assert hits[0].snippet is not None
    assert (hits[0].snippet.start, hits[0].snippet.end) == (20, 30)
    assert hits[0].text == "x" * 40
    assert hits[0].truncated_tokens == 7
    assert hits[1].snippet is None


def test_unscored_passages_follow_the_scored_in_first_stage_order():
    found = [candidate(name, rank) for rank, name in enumerate("abcd", 1)]
    entries = reranked_order(found, scores(-3.0, math.nan, 2.0, math.nan), RerankerProfile(), blend=False)
    assert ids(entries) == ["c", "a", "b", "d"]
    assert [entry.logit for entry in entries] == [2.0, -3.0, None, None]


def test_a_window_left_unscored_does_not_hide_a_scored_one():
    found = [candidate("a", 1, window=Window(0, 2, 0, 5)), candidate("a", 1, window=Window(1, 2, 5, 9))]
    entries = reranked_order(found, scores(math.nan, -1.0), RerankerProfile(), blend=False)
    assert [(entry.candidate.window.index, entry.logit) for entry in entries] == [(1, -1.0)]


def test_equal_scores_are_ordered_by_rank_then_id():
    found = [candidate("b", 2), candidate("z", 1), candidate("a", 2)]
    entries = reranked_order(found, scores(0.5, 0.5, 0.5), RerankerProfile(), blend=False)
    assert ids(entries) == ["z", "a", "b"]


def test_saturated_scores_keep_the_order_of_their_logits():
    found = [candidate("a", 1), candidate("b", 2)]
    profile = RerankerProfile(calibration=Calibration(slope=100.0))
    assert ids(reranked_order(found, scores(50.0, 51.0), profile, blend=False)) == ["b", "a"]


def test_blend_lets_the_first_stage_speak_and_can_be_switched_off():
    profile = RerankerProfile(blend=Blend(logit_weight=1.0, rank_weight=10.0))
    found = [candidate("first", 1), candidate("second", 50)]
    assert ids(reranked_order(found, scores(0.0, 1.0), profile, blend=True)) == ["first", "second"]
    assert ids(reranked_order(found, scores(0.0, 1.0), profile, blend=False)) == ["second", "first"]


def test_first_stage_order_keeps_one_entry_a_passage():
    found = [candidate("a", 1), candidate("a", 1, window=Window(1, 2, 5, 9)), candidate("b", 2)]
    entries = first_stage_order(found)
    assert [(entry.candidate.id, entry.score, entry.logit) for entry in entries] == [("a", 1.0, None), ("b", 0.5, None)]


def test_grouping_keeps_the_best_of_each_value_and_every_passage_without_the_field():
    rows = [("a", {"m": 1}), ("b", {"m": 1}), ("c", {}), ("d", {}), ("e", {"m": "1"}), ("f", {"m": None})]
    found = [candidate(name, rank, metadata=metadata) for rank, (name, metadata) in enumerate(rows, 1)]
    assert ids(one_per_group(first_stage_order(found), "m")) == ["a", "c", "d", "e", "f"]


@given(st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_order_depends_on_the_candidates_and_not_on_how_they_were_listed(logits, random):
    found = [candidate(number, number + 1) for number in range(len(logits))]
    rows = list(zip(found, logits, strict=True))
    straight = reranked_order(found, scores(*logits), RerankerProfile(), blend=False)
    random.shuffle(rows)
    mixed = reranked_order([c for c, _ in rows], scores(*[x for _, x in rows]), RerankerProfile(), blend=False)
    assert ids(straight) == ids(mixed)
    assert sorted(ids(straight)) == list(range(len(logits)))
    assert all(a.score >= b.score for a, b in pairwise(straight))
