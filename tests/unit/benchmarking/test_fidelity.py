import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from searchkit.benchmarking.fidelity import fidelity, kendall, spearman, top_overlap

stats = pytest.importorskip("scipy.stats")
VALUES = arrays.arrays(np.float64, 12, elements=st.integers(-5, 5).map(float))


@given(VALUES, VALUES)
def test_correlations_are_those_of_scipy_ties_included(found, expected):
    if len(set(found)) > 1 and len(set(expected)) > 1:
        assert spearman(found, expected) == pytest.approx(stats.spearmanr(found, expected).statistic)
        assert kendall(found, expected) == pytest.approx(stats.kendalltau(found, expected).statistic)


def test_constant_scores_agree_only_with_constant_scores():
    flat, slope = np.zeros(5), np.arange(5.0)
    for measure in (spearman, kendall):
        assert (measure(flat, flat), measure(flat, slope), measure(slope, flat)) == (1.0, 0.0, 0.0)


def test_overlap_counts_the_best_ten_only():
    expected = -np.arange(40.0)
    found = expected.copy()
    found[:2], found[38:] = -100, 100
    assert top_overlap(found, expected) == 0.8
    assert top_overlap(expected - 3, expected) == 1.0


def test_a_shift_costs_value_but_no_order():
    expected = [np.arange(20.0), np.arange(20.0)[::-1]]
    row = fidelity("fast", "exact", [values + 0.5 for values in expected], expected)
    assert (row.spearman_min, row.kendall_mean, row.top10_overlap, row.pairs) == (1.0, 1.0, 1.0, 40)
    assert row.max_logit_difference == pytest.approx(0.5)
    assert row.error_over_std == pytest.approx(0.0)


def test_the_worst_query_is_seen():
    good, bad = np.arange(20.0), np.arange(20.0)[::-1]
    row = fidelity("fast", "exact", [good, bad], [good, good])
    assert (row.spearman_mean, row.spearman_min) == (0.0, -1.0)
    assert row.max_logit_difference == 19.0
