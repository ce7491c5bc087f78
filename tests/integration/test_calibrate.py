"""Refitting probabilities on judgments: `SearchKit.calibrate`."""

from __future__ import annotations

import random

import pytest

from searchkit import SearchKit
from searchkit.config import Calibration, RerankerProfile
from searchkit.errors import ConfigError, RerankError
from searchkit.evaluation import JudgedQueries, JudgedQuery
from searchkit.testing import FakeEncoder, FakeReranker
from searchkit.types import Judgment

TOWNS = ("berlin", "lagos", "lima", "oslo", "paris", "quito", "rome", "seoul", "tokyo", "turin", "vienna", "york")
ASPECTS = ("people", "bread", "trains", "music")
FORMER = RerankerProfile(
    criteria_template="{criteria} {query}", calibration=Calibration(slope=0.01, intercept=3.0), fitted_on="a guess"
)


@pytest.fixture
def kit(tmp_path):
    passages = [
        {"id": f"{town}-{aspect}", "text": f"{aspect} of the town {town}"} for town in TOWNS for aspect in ASPECTS
    ]
    reranker = FakeReranker(profile=FORMER)
    with SearchKit("towns", path=tmp_path, encoder=FakeEncoder(), reranker=reranker) as made:
        made.add(passages)
        yield made


def judgments():
    return {
        f"{aspect} {town}": {f"{town}-{aspect}": 1} for town, aspect in zip(TOWNS, ASPECTS * 3, strict=True)
    }  # one query a town


def test_probabilities_are_right_afterwards_and_were_wrong_before(kit):
    wrong = kit.search("people berlin")
    report = kit.calibrate(judgments(), candidate_depth=20)
    right = kit.search("people berlin")
    assert [hit.score > 0.5 for hit in wrong[:2]] == [True, True]
    assert [hit.score > 0.5 for hit in right[:2]] == [True, False]
    assert right[0].id == "berlin-people"
    assert report.after.calibration_error < 0.05 < 0.5 < report.before.calibration_error
    assert (report.query_count, report.relevant_count) == (12, 12)


def test_min_score_means_the_new_probability(kit):
    assert len(kit.search("music berlin", min_score=0.5)) > 1
    kit.calibrate(judgments(), candidate_depth=20)
    assert [hit.id for hit in kit.search("music berlin", min_score=0.5)] == ["berlin-music"]
    assert len(kit.search("music nowhere", min_score=0.5)) == 0


def test_the_template_and_the_model_stay_as_they_are(kit):
    report = kit.calibrate(judgments(), candidate_depth=20)
    assert report.profile.criteria_template == FORMER.criteria_template
    assert kit.reranker.profile == FORMER


def test_a_profile_can_be_taken_to_another_kit(kit, tmp_path):
    report = kit.calibrate(judgments(), candidate_depth=20)
    expected = [hit.score for hit in kit.search("bread lagos")]
    kit.close()
    reranker = FakeReranker(profile=report.profile)
    with SearchKit("towns", path=tmp_path, encoder=FakeEncoder(), reranker=reranker) as other:
        assert [hit.score for hit in other.search("bread lagos")] == expected


def test_without_a_blend_the_order_is_the_second_stage_alone(kit):
    report = kit.calibrate(judgments(), candidate_depth=20, with_blend=False)
    assert report.profile.blend is None
    assert kit.search("bread lagos").blend is None


def test_unjudged_candidates_can_be_left_out(kit):
    rows = [
        Judgment(query=f"{aspect} {town}", relevance={f"{town}-{aspect}": 1, f"{town}-{ASPECTS[n % 4 - 1]}": 0})
        for n, (town, aspect) in enumerate(zip(TOWNS, ASPECTS * 3, strict=True))
    ]
    assert kit.calibrate(rows, candidate_depth=48, unjudged="ignored").candidate_count == 24


def test_criteria_are_read_by_stage_2(kit):
    rows = [Judgment(query=town, criteria="music", relevance={f"{town}-music": 1}) for town in TOWNS]
    kit.calibrate(rows, candidate_depth=20)
    assert kit.search("rome", criteria="music")[0].id == "rome-music"


def test_a_scoped_kit_uses_the_new_profile_too(kit):
    scoped = kit.scoped(tenant="acme")
    scoped.add([{"id": "a", "text": "people of the town bergen"}, {"id": "b", "text": "bread"}])
    assert len(scoped.search("people bergen", min_score=0.5)) == 2
    kit.calibrate(judgments(), candidate_depth=20)
    assert [hit.id for hit in scoped.search("people bergen", min_score=0.5)] == ["a"]


def test_few_queries_are_fitted_but_not_measured_which_is_said(kit, caplog):
    few = dict(list(judgments().items())[:7])
    with caplog.at_level("WARNING", "searchkit"):
        report = kit.calibrate(few, candidate_depth=20)
    assert (report.before, report.after, report.objection) == (None, None, None)
    assert "7 different queries" in caplog.text
    assert "judge 8 or more" in caplog.text
    caplog.clear()
    with caplog.at_level("WARNING", "searchkit"):
        assert kit.calibrate(judgments(), candidate_depth=20).after is not None
    assert not caplog.text


def test_a_fit_can_be_looked_at_without_being_used(kit):
    before = [hit.score for hit in kit.search("people berlin")]
    looked_at = kit.calibrate(judgments(), candidate_depth=20, apply=False)
    assert [hit.score for hit in kit.search("people berlin")] == before
    assert looked_at.objection is None
    assert kit.calibrate(judgments(), candidate_depth=20) == looked_at


@pytest.mark.parametrize("seed", range(4))
def test_judgments_that_say_nothing_or_contradict_the_model_are_not_used(kit, seed):
    ids = [f"{town}-{aspect}" for town in TOWNS for aspect in ASPECTS]
    drawn = random.Random(seed)
    noise = {query: {drawn.choice(ids): 1} for query in judgments()}
    before = [hit.score for hit in kit.search("people berlin")]
    with pytest.raises(ConfigError, match=r"not what the reranker scores high .* former profile stays"):
        kit.calibrate(noise, candidate_depth=48)
    assert [hit.score for hit in kit.search("people berlin")] == before
    assert "reranker" in kit.calibrate(noise, candidate_depth=48, apply=False).objection


def test_judged_queries_can_be_passed_on(kit):
    judged = JudgedQueries(
        name="towns",
        queries=(JudgedQuery(id="1", text="bread", criteria="lima"), JudgedQuery(id="2", text="music oslo")),
        qrels={"1": {"lima-bread": 2}, "2": {"oslo-music": 1}},
    )
    assert kit.calibrate(judged.judgments(), candidate_depth=20, apply=False).relevant_count == 2


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ({}, "no judgments"),
        ([], "no judgments"),
        ([("berlin", ["berlin-people"])], "Judgment 0 is not understood"),
        (["berlin"], "Judgment 0 is not understood"),
        ({"berlin": {"berlin-people": "yes"}}, "Judgment 0 is not understood"),
        ({"berlin": {"no such id": 1}}, "0 are relevant"),
        ({"berlin": {"berlin-people": float("nan")}}, "Judgment 0 is not understood"),
        (None, "judgments is a NoneType"),
    ],
)
def test_bad_judgments_are_named(kit, rows, says):
    with pytest.raises(ConfigError, match=says):
        kit.calibrate(rows, candidate_depth=20)


def test_a_misspelled_way_to_take_the_unjudged_is_refused(kit):
    with pytest.raises(ConfigError, match="unjudged='irrelevent'"):
        kit.calibrate(judgments(), unjudged="irrelevent")


def test_whole_numbers_as_ids_are_found_by_judgments_from_files(tmp_path):
    with SearchKit("numbers", path=tmp_path, encoder=FakeEncoder(), reranker=FakeReranker()) as numbered:
        numbered.add([{"id": number, "text": f"people of {town}"} for number, town in enumerate(TOWNS)])
        judged = JudgedQueries(name="n", queries=(JudgedQuery(id="q", text="people oslo"),), qrels={"q": {"3": 1}})
        assert numbered.calibrate(judged.judgments(), apply=False).relevant_count == 1


def test_queries_without_judged_candidates_do_not_count_for_the_measurement(kit):
    rows = [Judgment(query=query, relevance=relevance) for query, relevance in judgments().items()]
    strangers = [Judgment(query=row.query, relevance={"absent": 1}) for row in rows[3:]]
    some = [*(row.model_copy(update={"relevance": row.relevance | {"york-bread": 0}}) for row in rows[:3]), *strangers]
    report = kit.calibrate(some, candidate_depth=48, unjudged="ignored", apply=False)
    assert (report.candidate_count, report.before, report.after) == (6, None, None)


def test_a_query_judged_again_and_again_is_one_query(kit):
    row = Judgment(query="people berlin", relevance={"berlin-people": 1})
    assert kit.calibrate([row] * 8, candidate_depth=20, apply=False).after is None


def test_a_failing_model_is_an_error_and_changes_nothing(tmp_path):
    class Broken(FakeReranker):
        def score_pairs(self, pairs, *, deadline=None):
            raise ValueError("on fire")

    with SearchKit("towns", path=tmp_path, encoder=FakeEncoder(), reranker=Broken()) as kit:
        kit.add(["people of berlin"])
        with pytest.raises(RerankError, match="on fire"):
            kit.calibrate({"people": {"x": 1}})
