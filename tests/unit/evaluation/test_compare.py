import json

import pytest

from searchkit.errors import ConfigError
from searchkit.evaluation import (
    ComparisonReport,
    Configuration,
    JudgedQueries,
    JudgedQuery,
    Run,
    ScoredPassage,
    compare,
    compare_runs,
    grid,
    search_count,
)
from searchkit.types import Hit, RetrievalEvidence, SearchResult, Timings


class ScriptedSearcher:
    """Answers every query from one list of candidates; stage 2 puts the relevant one at a place of our choice.

    Its times are made up, so that what a report says about them can be checked.
    """

    def __init__(
        self, pool=100, relevant_at=30, reranked_to=1, ms_per_candidate=1.0, status="reranked", unscored=0, truncated=0
    ):
        self.unscored = unscored
        self.truncated = truncated
        self.pool = pool
        self.relevant_at = relevant_at
        self.reranked_to = reranked_to
        self.ms_per_candidate = ms_per_candidate
        self.status = status
        self.calls = []

    def search(self, query, *, top_k=10, candidate_depth=50, criteria=None, mode="hybrid", rerank=True):
        self.calls.append(("search", [query], [criteria], mode, candidate_depth, rerank))
        return self._result(query, criteria, mode, min(candidate_depth, self.pool), top_k, rerank)

    def search_batch(self, queries, *, top_k=10, candidate_depth=50, criteria=None, mode="hybrid", rerank=True):
        self.calls.append(("batch", list(queries), list(criteria), mode, candidate_depth, rerank))
        depth = min(candidate_depth, self.pool)
        return [self._result(q, c, mode, depth, top_k, rerank) for q, c in zip(queries, criteria, strict=True)]

    def _result(self, query, criteria, mode, depth, top_k, rerank):
        ids = [f"{query}-{place}" for place in range(1, depth + 1)]
        logits = {f"{query}-{self.relevant_at}": 100.0} if rerank else {}
        if rerank and depth >= self.relevant_at:
            ids.remove(f"{query}-{self.relevant_at}")
            ids.insert(self.reranked_to - 1, f"{query}-{self.relevant_at}")
        hits = tuple(
            Hit(
                id=passage_id,
                text="",
                rank=rank,
                score=1 / rank,
                logit=logits.get(passage_id, -float(rank)) if rerank else None,
                retrieval=RetrievalEvidence(rank=rank),
            )
            for rank, passage_id in enumerate(ids[:top_k], start=1)
        )
        took = self.ms_per_candidate * depth if rerank else 1.0
        return SearchResult(
            hits=hits,
            query=query,
            criteria=criteria,
            mode=mode,
            status=self.status if rerank else "retrieved",
            reason="the model is on fire" if rerank and self.status != "reranked" else None,
            timings=Timings(rerank=took - 1.0, total=took),
            candidate_count=depth,
            scored_count=depth - self.unscored if rerank else 0,
            truncated_count=self.truncated if rerank else 0,
            reranker="scripted" if rerank else None,
            engine="words" if rerank else None,
            blend="rank and logit" if rerank else None,
        )


def judgments(count=60, relevant_at=30):
    queries = tuple(JudgedQuery(id=str(n), text=f"q{n}", criteria=f"c{n}" if n % 2 else None) for n in range(count))
    return JudgedQueries(
        name="made up", queries=queries, qrels={query.id: {f"{query.text}-{relevant_at}": 1} for query in queries}
    )


def test_reranking_that_helps_is_recommended_at_the_depth_that_is_enough():
    report, runs = compare(ScriptedSearcher(), judgments(), grid(modes=["hybrid"]))
    assert report.baseline == "hybrid, depth 100"
    assert report.recommendation.system == "hybrid + rerank, depth 50"  # 100 is as good and slower
    assert report.recommendation.is_reranking is True
    assert "+1.000" in report.recommendation.sentences[0]
    best = report.system("hybrid + rerank, depth 50")
    assert best.measures["nDCG@10"] == pytest.approx(1.0)
    assert best.difference.mean == pytest.approx(1.0)
    assert best.difference.p_corrected < 0.01
    assert (best.difference.wins, best.difference.losses, best.difference.ties) == (60, 0, 0)
    assert [run.name for run in runs] == [system.name for system in report.systems]


def test_pool_recall_ceiling_and_lint_tell_what_the_depth_hides():
    report, _ = compare(ScriptedSearcher(), judgments(), grid(depths=(10, 50), modes=["hybrid"]))
    shallow = report.system("hybrid + rerank, depth 10")
    assert (shallow.pool_recall, shallow.oracle_ceiling) == (0.0, 0.0)
    assert report.system("hybrid, depth 50").oracle_ceiling == pytest.approx(1.0)
    message = next(note.message for note in report.lint if note.code == "depth-caps-recall")
    assert message.startswith("depth 10 caps recall at 0.00 in hybrid mode")
    assert "depth 50 holds 1.00" in message


def test_a_reranker_that_hurts_loses_to_not_reranking():
    report, _ = compare(
        ScriptedSearcher(relevant_at=1, reranked_to=9), judgments(relevant_at=1), grid(modes=["hybrid"], blends=[True])
    )
    assert report.recommendation.is_reranking is False
    assert report.recommendation.sentences[0].startswith("Do not rerank: use hybrid, depth 100")
    assert {note.code for note in report.lint} >= {"rerank-hurts"}


def test_a_gain_that_may_be_luck_is_not_recommended():
    report, _ = compare(ScriptedSearcher(), judgments(count=3), grid(modes=["hybrid"], blends=[True]))
    assert report.recommendation.is_reranking is False
    assert "may be luck" in report.recommendation.sentences[1]
    assert "few-queries" in {note.code for note in report.lint}


def test_where_reranking_was_not_tried_nothing_is_said_about_it():
    report, _ = compare(ScriptedSearcher(), judgments(), grid(depths=[20], reranked_modes=[]))
    assert report.recommendation.sentences[0].startswith("Use sparse, depth 20")
    assert "rerank" not in " ".join(report.recommendation.sentences)


def test_the_pool_of_a_first_stage_that_nothing_reorders_is_no_concern():
    report, _ = compare(ScriptedSearcher(relevant_at=200), judgments(relevant_at=200), grid(depths=[20]))
    assert {note.system for note in report.lint if note.code == "depth-caps-recall"} == {"hybrid, depth 20"}


def test_a_latency_budget_rules_out_the_slow():
    searcher = ScriptedSearcher(ms_per_candidate=10.0)
    report, _ = compare(searcher, judgments(), grid(modes=["hybrid"], blends=[True]), latency_budget_ms=300.0)
    assert report.recommendation.system == "hybrid, depth 100"
    assert "3 of 5 systems stay within 300 ms" in report.recommendation.sentences[-1]
    report, _ = compare(searcher, judgments(), [Configuration()], latency_budget_ms=1.0)
    assert "Nothing stays within 1 ms" in report.recommendation.sentences[-1]


def test_without_blend_the_order_is_the_logits_and_no_search_is_made_twice():
    searcher = ScriptedSearcher(relevant_at=5, reranked_to=5)
    configurations = [Configuration(candidate_depth=20), Configuration(candidate_depth=20, blend=False)]
    report, runs = compare(searcher, judgments(count=4, relevant_at=5), configurations, timed_count=0)
    assert [system.measures["RR@10"] for system in report.systems] == pytest.approx([0.2, 1.0])
    assert [system.blend for system in report.systems] == ["rank and logit", None]
    assert [row.passage_id for row in runs[1].rankings["0"]][:2] == ["q0-5", "q0-1"]
    assert len(searcher.calls) == 1


def test_without_criteria_stage_2_reads_the_query_alone():
    searcher = ScriptedSearcher()
    configurations = grid(depths=[10], modes=["hybrid"], blends=[True], criteria=[True, False])
    report, _ = compare(searcher, judgments(count=4), configurations, timed_count=0)
    assert [system.name for system in report.systems][1:] == [
        "hybrid + rerank, depth 10",
        "hybrid + rerank, depth 10, no criteria",
    ]
    assert [call[2] for call in searcher.calls if call[5]] == [[None, "c1", None, "c3"], [None] * 4]


def test_calibration_is_measured_where_scores_are_probabilities():
    configurations = grid(depths=[10], modes=["hybrid"])
    report, _ = compare(ScriptedSearcher(relevant_at=1), judgments(relevant_at=1), configurations)
    first_stage, reranked, without_blend = report.systems
    # Scores are 1/rank and the first is relevant, so the bins hold one rank each and all but the first are too high.
    assert reranked.calibration_error == pytest.approx(sum(1 / rank for rank in range(2, 11)) / 10)
    assert first_stage.calibration_error is without_blend.calibration_error is None
    for searcher in (ScriptedSearcher(status="partial"), ScriptedSearcher(unscored=1)):
        report, _ = compare(searcher, judgments(), [Configuration()])
        assert report.systems[0].calibration_error is None


def test_every_query_is_searched_once_with_its_criteria_and_some_alone():
    searcher, done = ScriptedSearcher(), []
    configurations = [Configuration(), Configuration(rerank=False)]
    compare(searcher, judgments(count=40), configurations, timed_count=5, on_progress=done.append)
    assert sum(done) == search_count(judgments(count=40), configurations) == 80
    reranked = [call for call in searcher.calls if call[5]]
    warm_up, *counted = reranked
    assert warm_up[:2] == ("search", ["q0"])
    asked = [pair for call in counted for pair in zip(call[1], call[2], strict=True)]
    assert dict(asked) == {q.text: q.criteria for q in judgments(count=40).queries}
    assert len(asked) == 40
    assert sum(kind == "search" for kind, *_ in counted) == 5


def test_latency_is_that_of_single_searches():
    report, _ = compare(ScriptedSearcher(), judgments(), [Configuration(candidate_depth=40)], timed_count=30)
    latency = report.systems[0].latency
    assert (latency.p50_ms, latency.p95_ms, latency.rerank_p50_ms, latency.sample_count) == (40.0, 40.0, 39.0, 30)
    report, _ = compare(ScriptedSearcher(), judgments(), [Configuration()], timed_count=0)
    assert report.systems[0].latency is None
    report, _ = compare(ScriptedSearcher(), judgments(), [Configuration()], timed_count=3)
    assert "few-timings" in {note.code for note in report.lint}


@pytest.mark.parametrize("status", ["degraded", "partial"])
def test_searches_that_failed_are_counted_and_named(status):
    report, _ = compare(ScriptedSearcher(status=status), judgments(), [Configuration()])
    assert report.systems[0].statuses == {status: 60}
    note = next(note for note in report.lint if note.code == status)
    assert note.message.startswith("60 of 60 searches of hybrid + rerank, depth 50")
    assert note.message.endswith("the model is on fire")


def test_passages_that_could_not_be_read_whole_are_counted_and_named():
    report, _ = compare(ScriptedSearcher(truncated=10), judgments(), [Configuration()])
    assert report.systems[0].truncated_count == 600
    note = next(note for note in report.lint if note.code == "truncated")
    assert "could not read 600 of 3000 passages" in note.message
    report, _ = compare(ScriptedSearcher(truncated=1), judgments(), [Configuration()])
    assert "truncated" not in {note.code for note in report.lint}


def test_qrels_of_other_ids_are_noticed():
    report, _ = compare(ScriptedSearcher(), judgments(relevant_at=999), [Configuration()])
    assert "ids-unknown" in {note.code for note in report.lint}


def test_runs_from_files_are_compared_with_the_first():
    qrels = {str(n): {"good": 1} for n in range(60)}
    bad = Run("bad", {query_id: (ScoredPassage("x", 2.0), ScoredPassage("good", 1.0)) for query_id in qrels})
    good = Run("good", {query_id: (ScoredPassage("good", 1.0),) for query_id in list(qrels)[:59]})
    report = compare_runs("files", qrels, [bad, good], measures=["AP"], primary="RR@10")
    assert report.baseline == "bad"
    assert list(report.systems[1].measures) == ["RR@10", "AP"]
    assert report.recommendation.system == "good"
    assert report.recommendation.is_reranking is None
    assert "1 of 60 queries have no answer from good and count 0" in [note.message for note in report.lint]
    assert "no better" not in report.recommendation.sentences[0]


def test_judging_one_system_more_than_the_other_is_pointed_out():
    qrels = {str(n): {"a": 1, "b": 0} for n in range(60)}
    known = Run("known", {query_id: (ScoredPassage("b", 2.0), ScoredPassage("a", 1.0)) for query_id in qrels})
    new = Run("new", {query_id: (ScoredPassage("u", 2.0), ScoredPassage("a", 1.0)) for query_id in qrels})
    note = next(note for note in compare_runs("x", qrels, [known, new]).lint if note.code == "unjudged")
    assert note.message.startswith("Judged@10 is 0.50 for new and 1.00 for known")


def test_queries_without_a_relevant_passage_are_pointed_out():
    qrels = {"a": {"p": 1}, "b": {"p": 0}}
    run = Run("r", {"a": (ScoredPassage("p", 1.0),)})
    report = compare_runs("x", qrels, [run])
    assert report.systems[0].measures["nDCG@10"] == pytest.approx(0.5)
    assert report.systems[0].pool_recall == 1.0
    assert "no-relevant" in {note.code for note in report.lint}


def test_the_report_survives_json():
    report, _ = compare(ScriptedSearcher(), judgments(), grid(modes=["hybrid"]))
    assert ComparisonReport.model_validate_json(report.model_dump_json()) == report
    assert json.loads(report.model_dump_json())["systems"][1]["configuration"]["candidate_depth"] == 10


def test_the_same_comparison_twice_says_the_same():
    first, _ = compare(ScriptedSearcher(), judgments(), grid(modes=["hybrid"]))
    second, _ = compare(ScriptedSearcher(), judgments(), grid(modes=["hybrid"]))
    assert first == second


@pytest.mark.parametrize(
    ("configurations", "complaint"),
    [([], "nothing to compare"), ([Configuration(), Configuration()], "two systems are called")],
)
def test_a_comparison_of_nothing_or_of_twins_is_refused(configurations, complaint):
    with pytest.raises(ConfigError, match=complaint):
        compare(ScriptedSearcher(), judgments(), configurations)


def test_a_budget_that_is_no_time_and_a_grid_without_depths_are_refused():
    with pytest.raises(ConfigError, match="latency_budget_ms=nan"):
        compare(ScriptedSearcher(), judgments(), [Configuration()], latency_budget_ms=float("nan"))
    with pytest.raises(ConfigError, match="depths is empty"):
        grid(depths=())


@pytest.mark.parametrize("qrels", [{"q": {}}, {"q": {7: 1}}, {7: {"a": 1}}, {"q": {"a": 0.5}}])
def test_judgments_that_are_none_are_refused(qrels):
    with pytest.raises(ConfigError, match="judgment"):
        compare_runs("x", qrels, [Run("a", {"q": (ScoredPassage("a", 1.0),)})])


def test_a_reranker_that_is_not_there_is_refused_with_those_that_are():
    for searchers, names in ((ScriptedSearcher(), "none with a name"), ({"a": ScriptedSearcher()}, "'a'")):
        with pytest.raises(ConfigError, match=f"no reranker 'x', but {names}"):
            compare(searchers, judgments(), [Configuration(reranker="x")])
    with pytest.raises(ConfigError, match="at least one searcher"):
        compare({}, judgments(), [Configuration()])


def test_a_negative_number_of_timed_queries_is_refused():
    with pytest.raises(ConfigError, match="timed_count=-1"):
        compare(ScriptedSearcher(), judgments(), timed_count=-1)


def test_a_report_knows_its_systems_by_name():
    report, _ = compare(ScriptedSearcher(), judgments(), [Configuration()])
    with pytest.raises(KeyError):
        report.system("no such")
