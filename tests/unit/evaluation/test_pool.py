import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchkit.evaluation import Run, ScoredPassage, evaluate, oracle_ceiling, oracle_run, pool_recall

QRELS = {"q": {"a": 2, "b": 1, "c": 1, "d": 0}}
order = st.permutations(["a", "b", "d", "x", "y", "z"])


def ranked(passage_ids):
    return Run("r", {"q": tuple(ScoredPassage(passage_id, 1.0) for passage_id in passage_ids)})


def test_pool_recall_ignores_the_order_within_the_depth():
    assert pool_recall(ranked("xyab"), QRELS) == pool_recall(ranked("baxy"), QRELS) == pytest.approx(2 / 3)
    assert pool_recall(ranked("xyab"), QRELS, depth=3) == pytest.approx(1 / 3)


def test_pool_recall_is_over_queries_that_have_something_to_find():
    qrels = QRELS | {"none": {"a": 0}, "silent": {"a": 1}}
    assert pool_recall(ranked("abc"), qrels) == pytest.approx(1 / 2)
    assert pool_recall(ranked("abc"), {"none": {"a": 0}}) == 0.0


@given(order)
def test_no_order_beats_the_oracle(passage_ids):
    run = ranked(passage_ids)
    for measure in ("nDCG@3", "RR@10", "AP"):
        assert evaluate(run, QRELS, [measure]).mean(measure) <= oracle_ceiling(run, QRELS, measure) + 1e-12


@given(order, st.integers(1, 6))
def test_the_oracle_reorders_the_pool_and_adds_nothing(passage_ids, depth):
    oracle = oracle_run(ranked(passage_ids), QRELS, depth).rankings["q"]
    assert {row.passage_id for row in oracle} == set(passage_ids[:depth])
    assert (
        oracle_ceiling(ranked(passage_ids), QRELS, "AP", depth)
        <= pool_recall(ranked(passage_ids), QRELS, depth) + 1e-12
    )


def test_the_oracle_puts_the_higher_grade_first():
    assert [row.passage_id for row in oracle_run(ranked("dxba"), QRELS).rankings["q"]] == ["a", "b", "d", "x"]
