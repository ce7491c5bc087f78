import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchkit.errors import ConfigError
from searchkit.evaluation import holm, paired_bootstrap, paired_permutation_test

finite = st.floats(-1, 1, allow_nan=False).map(lambda value: round(value, 3))


@given(st.lists(finite, min_size=1, max_size=8))
def test_small_samples_get_the_exact_p_value(values):
    differences = np.array(values)
    sums = [
        abs(sum(s * v for s, v in zip(signs, values, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(values))
    ]
    expected = np.mean(np.array(sums) >= abs(sum(values)) - 1e-9)
    assert paired_permutation_test(differences) == pytest.approx(expected)


@given(st.lists(finite, min_size=1, max_size=40))
def test_the_test_is_two_sided(values):
    differences = np.array(values)
    assert paired_permutation_test(differences, rounds=500) == pytest.approx(
        paired_permutation_test(-differences, rounds=500)
    )


def test_no_difference_is_never_significant():
    assert paired_permutation_test(np.zeros(100)) == 1.0


def test_a_clear_difference_is_significant_and_never_below_what_the_rounds_can_show():
    rng = np.random.default_rng(0)
    differences = rng.normal(0.5, 0.1, size=200)
    assert paired_permutation_test(differences, rounds=999) == pytest.approx(1 / 1000)


def test_noise_is_significant_as_often_as_it_may_be():
    rng = np.random.default_rng(1)
    p_values = [paired_permutation_test(rng.normal(size=30), rounds=400, seed=s) for s in range(400)]
    assert 0.02 <= np.mean(np.array(p_values) < 0.05) <= 0.09


def test_sampled_p_value_is_near_the_exact_one():
    rng = np.random.default_rng(2)
    values = rng.normal(0.3, 1.0, size=14)
    exact = paired_permutation_test(values)
    # The same differences with 20 tiny ones more: beyond the exact range, and the same question.
    sampled = paired_permutation_test(np.concatenate([values, np.full(20, 1e-9)]), rounds=20_000)
    assert sampled == pytest.approx(exact, abs=0.02)


def test_the_interval_has_the_width_that_theory_gives():
    rng = np.random.default_rng(3)
    values = rng.normal(0.1, 0.2, size=500)
    low, high = paired_bootstrap(values)
    half = 1.96 * values.std() / np.sqrt(500)
    assert low == pytest.approx(values.mean() - half, abs=0.003)
    assert high == pytest.approx(values.mean() + half, abs=0.003)


@given(st.lists(finite, min_size=1, max_size=30))
def test_the_interval_lies_within_the_values(values):
    low, high = paired_bootstrap(np.array(values), rounds=200)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9


def test_the_same_seed_gives_the_same_answer():
    values = np.random.default_rng(4).normal(size=40)
    assert paired_bootstrap(values, seed=7) == paired_bootstrap(values, seed=7) != paired_bootstrap(values, seed=8)
    assert paired_permutation_test(values, seed=7) == paired_permutation_test(values, seed=7)


def test_resampling_many_queries_in_chunks_equals_one_go(monkeypatch):
    values = np.random.default_rng(5).normal(size=50)
    whole = paired_bootstrap(values, rounds=1000)
    monkeypatch.setattr("searchkit.evaluation.significance._CELLS_AT_ONCE", 64)
    assert paired_bootstrap(values, rounds=1000) == pytest.approx(whole)


def test_holm_corrects_the_smallest_most_and_keeps_the_order():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_holm_never_makes_a_value_smaller(p_values):
    corrected = holm(p_values)
    assert all(after >= before for after, before in zip(corrected, p_values, strict=True))
    assert max(corrected) <= 1
    order = np.argsort(p_values, kind="stable")
    assert list(np.array(corrected)[order]) == sorted(corrected)


@pytest.mark.parametrize("values", [[], [[0.1]], [float("nan")], [float("inf")]])
def test_differences_that_are_none_are_refused(values):
    with pytest.raises(ConfigError, match="one finite number a query"):
        paired_bootstrap(np.array(values))
    with pytest.raises(ConfigError, match="one finite number a query"):
        paired_permutation_test(np.array(values))


@pytest.mark.parametrize("arguments", [{"rounds": 0}, {"confidence": 1.0}, {"confidence": 0}])
def test_arguments_out_of_range_are_refused(arguments):
    with pytest.raises(ConfigError):
        paired_bootstrap(np.ones(3), **arguments)
