import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchkit.errors import ConfigError
from searchkit.evaluation import Run, ScoredPassage, expected_calibration_error, run_calibration_error


def test_probabilities_that_come_true_have_no_error():
    rng = np.random.default_rng(0)
    probabilities = rng.uniform(size=50_000)
    labels = rng.uniform(size=50_000) < probabilities
    assert expected_calibration_error(probabilities, labels) < 0.01


def test_overconfidence_is_the_distance_from_the_truth():
    assert expected_calibration_error([0.9] * 100, [1, 0] * 50) == pytest.approx(0.4)


def test_bins_hold_equally_many_values():
    # Two bins: {0.1, 0.2} with one true of two, {0.8, 0.9} with both true.
    error = expected_calibration_error([0.9, 0.1, 0.8, 0.2], [1, 0, 1, 1], bin_count=2)
    assert error == pytest.approx((abs(0.15 - 0.5) + abs(0.85 - 1.0)) / 2)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50), st.integers(1, 12))
def test_the_error_is_at_least_the_overall_bias_and_at_most_one(rows, bin_count):
    probabilities, labels = [row[0] for row in rows], [row[1] for row in rows]
    error = expected_calibration_error(probabilities, labels, bin_count=bin_count)
    assert abs(np.mean(probabilities) - np.mean(labels)) - 1e-9 <= error <= 1


def test_unjudged_passages_of_a_run_count_as_not_relevant():
    run = Run("r", {"q": (ScoredPassage("a", 1.0), ScoredPassage("x", 0.5)), "other": (ScoredPassage("a", 0.5),)})
    assert run_calibration_error(run, {"q": {"a": 1}}, bin_count=2) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("probabilities", "labels"), [([], []), ([0.5], [1, 0]), ([1.5], [1]), ([-0.1], [0]), ([float("nan")], [0])]
)
def test_what_is_no_probability_is_refused(probabilities, labels):
    with pytest.raises(ConfigError):
        expected_calibration_error(probabilities, labels)
