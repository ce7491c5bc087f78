import pytest

from searchkit.evaluation import Configuration, Difference, Latency, SystemReport
from searchkit.evaluation.recommend import recommend

PRIMARY = "nDCG@10"


def system(quality, p95_ms, *, depth=50, rerank=True, mode="hybrid", p=None):
    configuration = Configuration(mode=mode, candidate_depth=depth, rerank=rerank)
    lead = None
    if p is not None:
        lead = Difference(mean=quality - 0.5, low=-1, high=1, p_value=p, p_corrected=p, wins=1, losses=0, ties=0)
    return SystemReport(
        name=configuration.name,
        configuration=configuration,
        measures={PRIMARY: quality},
        pool_recall=1.0,
        oracle_ceiling=1.0,
        difference=lead,
        latency=None if p95_ms is None else Latency(p50_ms=p95_ms, p95_ms=p95_ms, rerank_p50_ms=0, sample_count=50),
    )


BASE = system(0.5, 20, rerank=False)
DENSE = system(0.45, 5, rerank=False, mode="dense", p=0.01)


def choose(*systems, budget_ms=None):
    return recommend([BASE, *systems], BASE.name, PRIMARY, budget_ms)


def test_the_best_is_taken_where_it_is_clearly_better():
    choice = choose(system(0.6, 100, p=0.001), system(0.7, 200, depth=100, p=0.001))
    assert choice.system == "hybrid + rerank, depth 100"
    assert choice.is_reranking is True
    assert choice.sentences == (
        "Use hybrid + rerank, depth 100 (nDCG@10 0.700, p50 200 ms, p95 200 ms):"
        " +0.200 [-1.000, +1.000] (p = 0.001) over hybrid, depth 50, p50 20 ms, p95 20 ms.",
    )


def test_a_faster_one_that_is_as_good_is_taken_and_the_best_is_named():
    choice = choose(system(0.698, 100, p=0.001), system(0.7, 200, depth=100, p=0.001))
    assert choice.system == "hybrid + rerank, depth 50"
    assert choice.sentences[1] == (
        "hybrid + rerank, depth 100 is 0.002 better, too little to pay for it, p50 200 ms, p95 200 ms."
    )


def test_what_may_be_luck_does_not_beat_the_baseline():
    choice = choose(system(0.6, 100, p=0.06))
    assert (choice.system, choice.is_reranking) == (BASE.name, False)
    assert choice.sentences[0].startswith("Not enough queries to tell; until then hybrid, depth 50 (nDCG@10 0.500")
    assert choice.sentences[1].endswith("which may be luck: judge more queries to tell.")


def test_a_sure_gain_too_small_to_matter_is_not_paid_for():
    choice = choose(system(0.503, 100, p=0.001))
    assert choice.system == BASE.name
    assert "too little to pay for it" in choice.sentences[1]


@pytest.mark.parametrize(("quality", "p"), [(0.4, 0.001), (0.4, 0.5), (0.503, 0.5)])
def test_a_second_stage_that_gains_nothing_is_advised_against(quality, p):
    assert choose(system(quality, 100, p=p)).sentences[0].startswith("Do not rerank: use hybrid, depth 50")


def test_what_is_worse_is_not_mentioned():
    assert len(choose(system(0.4, 100, p=0.001)).sentences) == 1


def test_within_a_budget_that_the_baseline_breaks_the_best_first_stage_is_taken():
    choice = choose(DENSE, system(0.7, 200, p=0.001), budget_ms=10)
    assert (choice.system, choice.is_reranking) == (DENSE.name, False)
    assert choice.sentences[-1] == "1 of 3 systems stay within 10 ms at the 95th percentile."


def test_a_budget_that_nothing_keeps_is_said():
    choice = choose(DENSE, system(0.7, 200, p=0.001), budget_ms=1)
    assert choice.system == DENSE.name
    assert choice.sentences[-1] == "Nothing stays within 1 ms at the 95th percentile; dense, depth 50 is the fastest."


def test_a_sure_gain_is_taken_before_a_larger_one_that_may_be_luck():
    choice = choose(system(0.544, 100, p=0.001), system(0.568, 200, depth=100, p=0.09))
    assert choice.system == "hybrid + rerank, depth 50"
    assert choice.sentences[1] == (
        "hybrid + rerank, depth 100 scores 0.024 more, which may be luck: judge more queries to tell."
    )


def test_a_faster_one_whose_gain_may_be_luck_does_not_hide_a_sure_gain():
    choice = choose(system(0.596, 100, p=0.06), system(0.6, 200, depth=100, p=0.001))
    assert choice.system == "hybrid + rerank, depth 100"


def test_where_all_rerank_and_the_baseline_breaks_the_budget_what_keeps_it_is_taken():
    slow, fast = system(0.5, 80, depth=100), system(0.45, 20, depth=10, p=0.3)
    choice = recommend([slow, fast], slow.name, PRIMARY, 50)
    assert choice.system == fast.name
    assert choice.sentences[0].endswith("for the time that it takes.")


def test_a_budget_is_not_called_kept_where_nothing_was_timed():
    untimed = [one.model_copy(update={"latency": None}) for one in (BASE, system(0.7, None, p=0.001))]
    assert recommend(untimed, BASE.name, PRIMARY, 1).sentences[-1].startswith("Nothing was timed")


@pytest.mark.parametrize("p", [0.001, 0.5])
def test_without_timings_quality_alone_decides(p):
    choice = choose(system(0.698, None, p=p), system(0.7, None, depth=100, p=p), budget_ms=None)
    assert choice.system == ("hybrid + rerank, depth 100" if p < 0.05 else BASE.name)
