from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchkit.config import Blend, Calibration, RerankerProfile
from searchkit.errors import ConfigError
from searchkit.reranking.calibration import (
    blend_features,
    expected_calibration_error,
    fit_blend,
    fit_calibration,
    probabilities,
    sigmoid,
    slope_evidence,
)
from searchkit.types import RetrievalEvidence

finite = st.floats(-1e6, 1e6)
PLAIN = RerankerProfile()
BLENDED = RerankerProfile(
    calibration=Calibration(slope=2.0, intercept=-1.0),
    blend=Blend(logit_weight=0.5, rank_weight=1.5, dense_weight=2.0, sparse_weight=0.25, intercept=-3.0, k=10),
)


def test_the_default_profile_is_the_plain_sigmoid():
    assert np.allclose(probabilities([0.0, 2.0, -2.0], PLAIN, None, blend=True), [0.5, 0.880797, 0.119203])


def test_platt_scaling_is_slope_times_logit_plus_intercept():
    profile = RerankerProfile(calibration=Calibration(slope=2.0, intercept=-1.0))
    assert probabilities([1.5], profile, None, blend=True)[0] == pytest.approx(1 / (1 + math.exp(-2.0)))


def test_the_blend_follows_its_formula_term_by_term():
    evidence = [RetrievalEvidence(rank=3, dense_score=0.7, sparse_score=12.0)]
    log_odds = 0.5 * 1.2 + 1.5 * 11 / 13 + 2.0 * 0.7 + 0.25 * math.log(13.0) - 3.0
    assert probabilities([1.2], BLENDED, evidence, blend=True)[0] == pytest.approx(1 / (1 + math.exp(-log_odds)))


def test_missing_evidence_counts_as_zero():
    log_odds = 0.5 * 1.2 - 3.0
    found = probabilities([1.2], BLENDED, [RetrievalEvidence()], blend=True)[0]
    assert found == pytest.approx(1 / (1 + math.exp(-log_odds)))


@pytest.mark.parametrize(("evidence", "blend"), [(None, True), ([RetrievalEvidence(rank=1)], False)])
def test_without_evidence_or_when_switched_off_the_calibration_alone_decides(evidence, blend):
    assert probabilities([1.5], BLENDED, evidence, blend=blend)[0] == pytest.approx(1 / (1 + math.exp(-2.0)))


def test_evidence_of_another_length_is_refused():
    with pytest.raises(ConfigError, match="2 logits came with the evidence of 1"):
        probabilities([1.0, 2.0], BLENDED, [RetrievalEvidence()], blend=True)


def test_no_logits_give_no_probabilities():
    assert probabilities([], BLENDED, [], blend=True).shape == (0,)


@given(st.lists(finite, min_size=1, max_size=20))
def test_a_higher_logit_never_gives_a_lower_probability_and_none_is_0_or_1(logits):
    evidence = [RetrievalEvidence(rank=2, dense_score=0.5)] * len(logits)
    for profile in (PLAIN, BLENDED):
        found = probabilities(sorted(logits), profile, evidence, blend=True)
        assert (np.diff(found) >= 0).all()
        assert ((found > 0) & (found < 1)).all()


@pytest.mark.parametrize(("low", "high"), [(20.0, 20.5), (-300.0, -299.0), (-30.0, -29.99), (0.0, 1e-9), (33.0, 34.0)])
def test_logits_that_float64_can_tell_apart_stay_apart(low, high):
    first, second = probabilities([low, high], PLAIN, None, blend=False)
    assert first < second


def test_float32_logits_that_saturate_a_float32_sigmoid_do_not_tie():
    logits = np.array([17.0, 18.0, 19.0], dtype=np.float32)
    assert len(set(probabilities(logits, PLAIN, None, blend=False).tolist())) == 3


def test_nan_stays_nan():
    assert np.isnan(probabilities([math.nan, 1.0], PLAIN, None, blend=False)).tolist() == [True, False]


@given(st.integers(0, 30), st.integers(1, 30))
def test_a_probability_does_not_depend_on_its_neighbours(position, count):
    rng = np.random.default_rng(position)
    logits = rng.normal(0, 5, count + 31)
    evidence = [RetrievalEvidence(rank=int(rank), dense_score=0.3) for rank in rng.integers(1, 50, count + 31)]
    together = probabilities(logits, BLENDED, evidence, blend=True)[position]
    alone = probabilities(logits[position : position + 1], BLENDED, evidence[position : position + 1], blend=True)[0]
    assert together == alone


def drawn(count: int, slope: float, intercept: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, count)
    return logits, (rng.random(count) < sigmoid(slope * logits + intercept)).astype(float)


def test_the_fitted_calibration_finds_the_true_slope_and_intercept():
    logits, labels = drawn(40_000, 0.6, -1.5)
    found = fit_calibration(logits, labels)
    assert found.slope == pytest.approx(0.6, abs=0.03)
    assert found.intercept == pytest.approx(-1.5, abs=0.05)


def test_the_fit_agrees_with_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    logits, labels = drawn(2000, 0.6, -1.5)
    reference = linear_model.LogisticRegression(C=1e12, tol=1e-10, max_iter=1000).fit(logits[:, None], labels)
    found = fit_calibration(logits, labels)
    assert found.slope == pytest.approx(float(reference.coef_[0, 0]), rel=0.02)  # Platt's smoothing is the difference
    assert found.intercept == pytest.approx(float(reference.intercept_[0]), rel=0.02)


def test_a_fit_lowers_the_calibration_error():
    logits, labels = drawn(5000, 0.4, -2.0)
    fitted = RerankerProfile(calibration=fit_calibration(logits, labels))
    before = expected_calibration_error(probabilities(logits, PLAIN, None, blend=False), labels)
    after = expected_calibration_error(probabilities(logits, fitted, None, blend=False), labels)
    assert after < 0.03 < before


def test_separable_labels_give_a_finite_slope():
    found = fit_calibration([-2.0, -1.0, 1.0, 2.0], [0, 0, 1, 1])
    assert 0 < found.slope < 100
    assert math.isfinite(found.intercept)


def test_logits_that_are_worse_than_chance_never_turn_the_order_round():
    found = fit_calibration([3.0, 2.0, 1.0, 0.0, -1.0], [0, 0, 0, 1, 1])
    assert found.slope == pytest.approx(1e-4)


def test_the_evidence_of_a_slope_is_high_for_logits_that_tell_and_low_for_those_that_do_not():
    logits, labels = drawn(200, slope=1.0, intercept=0.0)
    assert slope_evidence(logits, labels, fit_calibration(logits, labels)) > 20
    by_chance = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        logits, labels = rng.normal(size=200), np.repeat([1.0, 0.0], [10, 190])
        by_chance += slope_evidence(logits, labels, fit_calibration(logits, labels)) > 6.63
    assert by_chance <= 4


def test_a_slope_that_is_held_at_its_bound_has_no_evidence():
    logits, labels = [3.0, 2.0, 1.0, 0.0, -1.0], [0, 0, 0, 1, 1]
    assert slope_evidence(logits, labels, fit_calibration(logits, labels)) < 0.01


def test_constant_logits_can_be_fitted():
    found = fit_calibration([1.0] * 10, [0, 1] * 5)
    assert probabilities([1.0], RerankerProfile(calibration=found), None, blend=False)[0] == pytest.approx(
        0.5, abs=0.01
    )


def blended_data(count: int = 20_000) -> tuple[np.ndarray, list[RetrievalEvidence], np.ndarray, Blend]:
    rng = np.random.default_rng(1)
    truth = Blend(logit_weight=0.8, rank_weight=1.2, dense_weight=0.0, sparse_weight=0.3, intercept=-2.0, k=10)
    logits = rng.normal(0, 2, count)
    evidence = [
        RetrievalEvidence(rank=int(rank), dense_score=float(dense), sparse_score=float(sparse))
        for rank, dense, sparse in zip(
            rng.integers(1, 100, count), rng.uniform(0, 1, count), rng.exponential(8, count), strict=True
        )
    ]
    log_odds = blend_features(logits, evidence, 10) @ [0.8, 1.2, 0.0, 0.3] - 2.0
    # A leg that speaks against relevance: its weight must come out as 0, not below.
    labels = rng.random(count) < sigmoid(log_odds - 0.5 * np.array([item.dense_score for item in evidence]))
    return logits, evidence, labels.astype(float), truth


def test_the_fitted_blend_finds_the_weights_and_holds_a_harmful_one_at_zero():
    logits, evidence, labels, truth = blended_data()
    found = fit_blend(logits, evidence, labels, l2=0.0)
    assert found.logit_weight == pytest.approx(truth.logit_weight, abs=0.05)
    assert found.rank_weight == pytest.approx(truth.rank_weight, abs=0.2)
    assert found.sparse_weight == pytest.approx(truth.sparse_weight, abs=0.05)
    assert found.dense_weight == 0.0
    assert found.k == 10


def test_no_small_change_within_the_bounds_makes_the_fitted_blend_likelier():
    logits, evidence, labels, _ = blended_data(3000)
    found = fit_blend(logits, evidence, labels, l2=0.0)
    names = ["logit_weight", "rank_weight", "dense_weight", "sparse_weight", "intercept"]

    def loss(blend: Blend) -> float:
        p = probabilities(logits, RerankerProfile(blend=blend), evidence, blend=True)
        return float(-np.mean(labels * np.log(p) + (1 - labels) * np.log(1 - p)))

    best = loss(found)
    for name in names:
        for change in (0.05, -0.05):
            value = getattr(found, name) + change
            if name == "intercept" or value > 0:
                assert loss(found.model_copy(update={name: value})) > best


@pytest.mark.parametrize(
    ("logits", "labels"),
    [([1.0, 2.0], [1, 1]), ([1.0], [1]), ([1.0, 2.0], [0]), ([math.nan, 1.0], [0, 1]), ([1.0, 2.0], [0, 2])],
)
def test_data_that_cannot_be_fitted_is_refused(logits, labels):
    with pytest.raises(ConfigError):
        fit_calibration(logits, labels)


def test_the_calibration_error_is_the_mean_gap_over_bins():
    assert expected_calibration_error([0.2] * 5 + [0.9] * 5, [0, 0, 0, 0, 1, 1, 1, 1, 1, 1], bins=2) == pytest.approx(
        0.05
    )
    with pytest.raises(ConfigError):
        expected_calibration_error([], [])
