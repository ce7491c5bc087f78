from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchkit.config import Blend, Calibration, RerankerProfile
from searchkit.reranking.adaptive import expected_missed
from searchkit.types import RetrievalEvidence

PLAIN = RerankerProfile()
BLENDED = RerankerProfile(blend=Blend(logit_weight=0.8, rank_weight=3.0, dense_weight=1.0, intercept=-1.0))

logits = st.floats(min_value=-12, max_value=12, width=32)
profiles = st.sampled_from([PLAIN, BLENDED, RerankerProfile(calibration=Calibration(slope=0.5, intercept=-2.0))])


def at_ranks(ranks):
    return [RetrievalEvidence(rank=int(rank), dense_score=1.0 / rank) for rank in ranks]


def missed(values, rest_count, *, bar=0.0, profile=PLAIN):
    evidence = at_ranks(range(1, len(values) + 1))
    rest = at_ranks(range(len(values) + 1, len(values) + rest_count + 1))
    return expected_missed(list(zip(values, evidence, strict=True)), rest, profile, bar=bar, blend=True)


@given(st.lists(logits, min_size=1, max_size=40), st.integers(0, 60), st.floats(0, 1), profiles)
def test_the_expectation_is_a_number_of_passages(values, rest_count, bar, profile):
    found = missed(values, rest_count, bar=bar, profile=profile)
    assert 0.0 <= found <= rest_count * (1 + 1e-9)


@given(st.lists(logits, min_size=1, max_size=40), st.floats(0, 1), st.floats(0, 1), profiles)
def test_a_higher_bar_never_expects_more(values, one, other, profile):
    low, high = sorted([one, other])
    assert missed(values, 20, bar=high, profile=profile) <= missed(values, 20, bar=low, profile=profile) + 1e-12


@given(st.lists(logits, min_size=1, max_size=40), st.integers(0, 30), st.integers(1, 30), st.floats(0, 1), profiles)
def test_more_unscored_passages_never_expect_less(values, count, more, bar, profile):
    fewer = missed(values, count, bar=bar, profile=profile)
    assert missed(values, count + more, bar=bar, profile=profile) >= fewer - 1e-12


@given(st.lists(logits, min_size=2, max_size=30), st.randoms())
def test_the_order_in_which_passages_are_given_does_not_matter(values, random):
    scored = list(zip(values, at_ranks(range(1, len(values) + 1)), strict=True))
    rest = at_ranks(range(len(values) + 1, len(values) + 20))
    expected = expected_missed(scored, rest, BLENDED, bar=0.3, blend=True)
    random.shuffle(scored)
    random.shuffle(rest)
    assert expected_missed(scored, rest, BLENDED, bar=0.3, blend=True) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@given(st.lists(st.floats(min_value=-6, max_value=6), min_size=1, max_size=30), st.floats(0.1, 5.0))
def test_lower_scores_throughout_expect_less(values, shift):
    lower = [value - shift for value in values]
    assert missed(lower, 20) <= missed(values, 20) + 1e-9


def test_hopeless_candidates_after_a_clear_answer_expect_next_to_nothing():
    assert missed([6.0, *np.linspace(-7, -9, 40)], 60, bar=0.001) < missed(
        [6.0, *np.linspace(-7, -9, 10)], 90, bar=0.001
    )
    assert missed(np.linspace(-7, -9, 24), 76, bar=0.0001) < 0.1


def test_candidates_that_keep_being_relevant_expect_many_more():
    assert missed(np.linspace(4, 2, 16), 80, bar=0.5) > 10


def test_a_bar_that_all_hits_are_above_stops_the_expectation():
    values = [*np.linspace(7.0, 6.5, 10), *np.linspace(-4, -6, 14)]
    assert missed(values, 76, bar=0.998) < missed(values, 76, bar=0.5)


def test_few_scores_leave_more_doubt_than_many():
    assert missed([-5.0, -5.5, -4.5], 50, bar=0.2) > missed([-5.0, -5.5, -4.5] * 8, 50, bar=0.2)


@pytest.mark.parametrize("blend", [True, False])
@pytest.mark.parametrize("mix", [Blend(logit_weight=1.0, dense_weight=6.0), None])
def test_first_stage_evidence_of_what_is_not_scored_counts_where_the_model_has_a_blend(mix, blend):
    scored = list(zip([-3.0, -3.5, -4.0, -3.2], at_ranks([1, 2, 3, 4]), strict=True))
    near = [RetrievalEvidence(rank=5, dense_score=0.9)]
    far = [RetrievalEvidence(rank=5, dense_score=0.1)]
    profile = RerankerProfile(blend=mix)
    of_near = expected_missed(scored, near, profile, bar=0.0, blend=blend)
    matters = mix is not None
    assert (of_near > expected_missed(scored, far, profile, bar=0.0, blend=blend) * 1.5) == matters


def test_without_the_blend_a_passage_enters_by_the_model_alone():
    scored = list(zip([-3.0, -3.5, -4.0, -3.2], at_ranks([1, 2, 3, 4]), strict=True))
    rest = [RetrievalEvidence(rank=5, dense_score=0.9)]
    profile = RerankerProfile(blend=Blend(logit_weight=1.0, dense_weight=6.0, intercept=4.0))
    by_model, by_blend = (expected_missed(scored, rest, profile, bar=0.97, blend=blend) for blend in (False, True))
    assert by_model < 0.05 < 0.5 < by_blend  # relevant in all likelihood, and below the bar nevertheless


def test_nothing_left_is_nothing_missed():
    assert missed([1.0, 2.0], 0) == 0.0


def test_passages_without_a_rank_count_as_the_last_ones():
    scored = [(-4.0, RetrievalEvidence()), (-3.0, RetrievalEvidence(rank=2)), (5.0, RetrievalEvidence(rank=1))]
    assert 0 <= expected_missed(scored, [RetrievalEvidence()], PLAIN, bar=0.5, blend=False) <= 1
