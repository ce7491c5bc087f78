"""Fusion is the formula, whatever order the engine answers in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchkit.collection.fusion import Leg, fuse, rank_leg
from searchkit.collection.schema import key_of, point_id

scored = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 3), st.sampled_from([0.1, 0.5, 0.5000001, 0.9, 1.0, 2.5])),
    max_size=40,
    unique_by=lambda entry: entry[:2],
).map(lambda entries: [(point_id(key, window), score) for key, window, score in entries])


@given(scored, st.randoms())
def test_the_order_of_the_answer_does_not_matter(points, random):
    shuffled = points[:]
    random.shuffle(shuffled)
    one, other = rank_leg(points, 1.0), rank_leg(shuffled, 1.0)
    assert (one.ranks, one.scores, one.window_ranks) == (other.ranks, other.scores, other.window_ranks)


@given(scored)
def test_the_best_window_decides_score_and_rank(points):
    leg = rank_leg(points, 1.0)
    best = {}
    for point, score in points:
        best[key_of(point)] = max(score, best.get(key_of(point), score))
    assert leg.scores == best
    for key, score in best.items():
        assert leg.ranks[key] == 1 + sum(other > score for other in best.values())


@given(scored, scored, st.integers(1, 100), st.floats(0, 3), st.floats(0, 3), st.integers(1, 15), st.integers(1, 4))
def test_fusion_is_the_formula(dense, sparse, k, dense_weight, sparse_weight, depth, most):
    legs = [rank_leg(dense, dense_weight), rank_leg(sparse, sparse_weight)]
    fused = fuse(legs, k, depth, most)
    keys = {key_of(point) for point, _ in dense + sparse}
    scores = {key: sum(leg.weight / (k + leg.ranks[key]) for leg in legs if key in leg.ranks) for key in keys}
    assert len(fused) == min(depth, len(keys))
    assert [passage.score for passage in fused] == pytest.approx(sorted(scores.values(), reverse=True)[:depth])
    for passage in fused:
        assert passage.score == pytest.approx(scores[passage.key])
        assert 1 <= len(passage.windows) <= most
        assert {key_of(point) for point in passage.windows} == {passage.key}
        assert passage.best_rank == min(leg.ranks[passage.key] for leg in legs if passage.key in leg.ranks)
    assert fused == sorted(fused, key=lambda passage: (-passage.score, passage.best_rank, passage.key))


@given(scored, st.integers(1, 15))
def test_a_single_leg_keeps_its_own_scores(points, depth):
    leg = rank_leg(points, 1.0)
    fused = fuse([leg], 60, depth, 3)
    assert [passage.score for passage in fused] == sorted(leg.scores.values(), reverse=True)[:depth]


def test_the_windows_of_a_passage_are_ordered_by_both_legs():
    dense = [(point_id(1, 0), 0.9), (point_id(1, 1), 0.8), (point_id(1, 2), 0.7)]
    sparse = [(point_id(1, 2), 5.0), (point_id(1, 1), 4.0)]
    [passage] = fuse([rank_leg(dense, 1.0), rank_leg(sparse, 1.0)], 60, 5, 2)
    assert passage.windows == (point_id(1, 2), point_id(1, 1))


def test_empty_legs_give_nothing():
    assert fuse([Leg(1.0), Leg(1.0)], 60, 5, 3) == []
    assert fuse([Leg(1.0)], 60, 5, 3) == []


def test_hand_computed_example():
    a, b, c = (point_id(key) for key in (1, 2, 3))
    fused = fuse([rank_leg([(a, 0.9), (b, 0.8)], 1.0), rank_leg([(b, 7.0), (c, 3.0)], 1.0)], 60, 10, 1)
    assert [(passage.key, passage.score) for passage in fused] == [
        (2, pytest.approx(1 / 62 + 1 / 61)),
        (1, pytest.approx(1 / 61)),
        (3, pytest.approx(1 / 62)),
    ]
