import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchkit.errors import ConfigError
from searchkit.evaluation import Run, ScoredPassage, checked_measure, evaluate

QRELS = {"q": {"a": 3, "b": 2, "c": 1, "d": 0}}


def ranked(*passage_ids, query_id="q", score=1.0):
    return Run("run", {query_id: tuple(ScoredPassage(passage_id, score) for passage_id in passage_ids)})


def value(run, measure, qrels=QRELS):
    return evaluate(run, qrels, [measure]).mean(measure)


def test_ndcg_of_a_graded_ranking_matches_the_sum_done_by_hand():
    dcg = 2 / math.log2(2) + 0 / math.log2(3) + 3 / math.log2(4)  # b, unjudged, a
    ideal = 3 / math.log2(2) + 2 / math.log2(3) + 1 / math.log2(4)
    assert value(ranked("b", "x", "a"), "nDCG@10") == pytest.approx(dcg / ideal)


def test_ndcg_at_two_sees_two_places_of_the_ranking_and_of_the_ideal():
    ideal = 3 + 2 / math.log2(3)
    assert value(ranked("c", "b", "a"), "nDCG@2") == pytest.approx((1 + 2 / math.log2(3)) / ideal)


def test_perfect_order_is_one_and_nothing_relevant_is_zero():
    assert value(ranked("a", "b", "c"), "nDCG@10") == pytest.approx(1.0)
    assert value(ranked("d", "x"), "nDCG@10") == 0.0


def test_reciprocal_rank_is_that_of_the_first_relevant_within_the_cutoff():
    assert value(ranked("x", "d", "c"), "RR@10") == pytest.approx(1 / 3)
    assert value(ranked("x", "d", "c"), "RR@2") == 0.0


def test_recall_counts_relevant_found_over_relevant_judged():
    assert value(ranked("a", "x", "c"), "R@3") == pytest.approx(2 / 3)
    assert value(ranked("a", "x", "c"), "R@1") == pytest.approx(1 / 3)


def test_average_precision_divides_by_all_relevant():
    assert value(ranked("x", "a", "b"), "AP") == pytest.approx((1 / 2 + 2 / 3) / 3)


def test_judged_is_the_share_of_the_top_that_somebody_judged():
    assert value(ranked("a", "x", "d", "y"), "Judged@4") == pytest.approx(1 / 2)


def test_query_without_an_answer_counts_zero_in_the_mean():
    qrels = {"q": {"a": 1}, "silent": {"a": 1}, "empty": {"a": 1}}
    run = Run("run", {"q": (ScoredPassage("a", 1.0),), "empty": ()})
    for measure in ("nDCG@10", "RR@10", "R@10", "AP", "Judged@10"):
        assert value(run, measure, qrels) == pytest.approx(1 / 3), measure


def test_query_of_the_run_without_judgments_is_ignored():
    run = Run("run", {"q": (ScoredPassage("a", 1.0),), "other": (ScoredPassage("a", 1.0),)})
    assert evaluate(run, {"q": {"a": 1}}).query_ids == ("q",)


def test_relevance_below_zero_is_judged_and_not_relevant():
    qrels = {"q": {"spam": -2, "a": 1}}
    assert value(ranked("spam", "a"), "nDCG@10", qrels) == pytest.approx(1 / math.log2(3))
    assert value(ranked("spam", "a"), "Judged@10", qrels) == 1.0


def test_the_order_counts_even_where_scores_tie_or_contradict_it():
    run = Run("run", {"q": (ScoredPassage("x", 0.1), ScoredPassage("a", 0.9))})
    assert value(run, "RR@10") == pytest.approx(1 / 2)
    assert value(ranked("zz", "a"), "RR@10") == value(ranked("0", "a"), "RR@10") == pytest.approx(1 / 2)


@given(st.permutations(["a", "b", "c", "d", "x", "y"]), st.integers(1, 8))
def test_every_measure_agrees_with_its_definition(order, cutoff):
    grades = [QRELS["q"].get(passage_id, 0) for passage_id in order]
    hits = [place for place, grade in enumerate(grades, 1) if grade > 0]
    gain = sum(grade / math.log2(place + 1) for place, grade in enumerate(grades[:cutoff], 1))
    ideal = sum(grade / math.log2(place + 1) for place, grade in enumerate([3, 2, 1][:cutoff], 1))
    expected = {
        f"nDCG@{cutoff}": gain / ideal,
        f"RR@{cutoff}": 1 / hits[0] if hits[0] <= cutoff else 0.0,
        f"R@{cutoff}": sum(place <= cutoff for place in hits) / 3,
        "AP": sum(count / place for count, place in enumerate(hits, 1)) / 3,
        f"Judged@{cutoff}": sum(p in QRELS["q"] for p in order[:cutoff]) / len(order[:cutoff]),
    }
    measured = evaluate(ranked(*order), QRELS, list(expected))
    assert {name: measured.mean(name) for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("given", "canonical"),
    [("ndcg@10", "nDCG@10"), ("MRR@10", "RR@10"), ("recall@5", "R@5"), ("map", "AP"), ("judged@10", "Judged@10")],
)
def test_the_names_people_use_are_understood(given, canonical):
    assert checked_measure(given) == canonical


@pytest.mark.parametrize("name", ["", "nDCG@0", "nDCG@-1", "nDCG@x", "R", "foo@10", "nDCG@10@5"])
def test_an_unknown_measure_is_refused_with_the_names_that_work(name):
    with pytest.raises(ConfigError, match="nDCG@10"):
        evaluate(ranked("a"), QRELS, [name])


def test_measuring_against_nothing_is_refused():
    with pytest.raises(ConfigError, match="no judgments"):
        evaluate(ranked("a"), {})
