"""``searchkit train`` with a tiny random model, from pairs and from a collection."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from searchkit import SearchKit
from searchkit.cli.app import create_app
from searchkit.cli.mining import mine_collection
from searchkit.evaluation import JudgedQueries, JudgedQuery
from searchkit.reranking import CrossEncoderReranker
from searchkit.testing import FakeEncoder, FakeReranker
from searchkit.training import MiningConfig, read_card, read_pairs

PLACES = ("berlin", "people", "word", "many")
HABITS = ("live", "ing", "s", "how", "in")
SMALL = ("--epochs", "1", "--max-length", "32", "--device", "cpu", "--offline")


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def open_kit(place):
    reranker = FakeReranker() if place.reranker is None else CrossEncoderReranker(place.reranker, device="cpu")
    return SearchKit(place.collection, path=place.path, encoder=FakeEncoder(), reranker=reranker)


def run(*arguments):
    return CliRunner().invoke(create_app(open_kit), list(arguments))


@pytest.fixture
def judged_folder(working_folder):
    """A collection of twenty passages, and judged queries on it; one of them about a passage that is not there."""
    folder = working_folder / "clicks"
    folder.mkdir()
    names = [f"{place}-{habit}" for place in PLACES for habit in HABITS]
    queries = [
        {"id": name, "text": f"the {name.split('-')[0]}", "criteria": f"It {name.split('-')[1]}."} for name in names
    ]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, [*queries, {"id": "lost", "text": "the lost"}])))
    (folder / "qrels.tsv").write_text("\n".join([*(f"{name}\t{name}\t1" for name in names), "lost\tnowhere\t1"]))
    with open_kit_at(working_folder) as kit:
        kit.add([{"id": name, "text": f"the {name.replace('-', ' ')} in the many"} for name in names])
    return folder


def open_kit_at(folder):
    return SearchKit("zoo", path=folder / ".searchkit", encoder=FakeEncoder(), reranker=FakeReranker())


def test_pairs_become_a_model_that_the_reranker_opens(working_folder, bi_encoder_folder):
    pairs = [
        {"sentence_0": "how many people", "sentence_1": f"{'berlin' if n % 3 else 'word'} {n}", "label": int(n % 3 > 0)}
        for n in range(40)
    ]
    (working_folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    result = run("train", "pairs.jsonl", "-o", "mine", "--base-model", str(bi_encoder_folder()), "--json", *SMALL)
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report["folder"], report["steps"], report["statistics"]["pair_count"]) == ("mine", 3, 40)
    assert (working_folder / "mine" / "README.md").is_file()
    scores = CrossEncoderReranker(working_folder / "mine", device="cpu").predict([("how many", "berlin 1"), ("a", "b")])
    assert scores.shape == (2,)
    again = run("train", "pairs.jsonl", "-o", "mine", "--base-model", str(bi_encoder_folder()), *SMALL)
    assert again.exit_code == 1
    assert "--resume" in again.stderr


def test_negatives_are_mined_from_the_collection(working_folder, judged_folder, bi_encoder_folder):
    result = run(
        *("train", "--judged", "clicks", "-c", "zoo", "--negatives", "4", "--skip-ranks", "0", "--depth", "20"),
        *("--save-pairs", "mined.jsonl", "-o", "mine", "--base-model", str(bi_encoder_folder()), *SMALL),
    )
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("mine: ")
    assert "for 21 queries, negatives mined from zoo" in result.stderr
    assert "1 queries left out, such as 'lost': no relevant passage is in zoo" in result.stderr
    pairs = read_pairs(working_folder / "mined.jsonl")
    asked = [pair for pair in pairs if pair.sentence_0 == "the berlin It live."]
    assert [pair.sentence_1 for pair in asked if pair.label == 1] == ["the berlin live in the many"]
    assert 1 <= sum(pair.label == 0 for pair in asked) <= 4


def test_the_card_tells_what_the_model_is_worth_on_the_queries_kept(working_folder, judged_folder, bi_encoder_folder):
    kept = working_folder / "kept"
    kept.mkdir()
    (kept / "queries.jsonl").write_text('{"id": "k", "text": "how many live in berlin"}')
    (kept / "qrels.tsv").write_text("k\tberlin-live\t1")
    result = run(
        *("train", "--judged", "clicks", "-c", "zoo", "--negatives", "4", "--skip-ranks", "0", "--depth", "20"),
        *("--held-out", "kept", "-o", "mine", "--base-model", str(bi_encoder_folder()), *SMALL),
    )
    assert result.exit_code == 0, result.stderr
    (row,) = read_card(working_folder / "mine").evaluation
    assert (row.collection, row.query_count, row.blended) == ("zoo", 1, None)
    assert 0 <= row.reranked < row.first_stage == 1, "random weights, and a first stage that counts words"
    assert (
        f"| zoo | 1 | {row.first_stage:.3f} | {row.reranked:.3f} |  |"
        in (working_folder / "mine/README.md").read_text()
    )
    assert f"on 1 held-out queries: nDCG@10 {row.reranked:.3f} reranked" in result.stderr


def test_a_passage_that_is_relevant_under_other_criteria_is_a_negative(working_folder, judged_folder):
    queries = tuple(JudgedQuery(id=habit, text="the berlin", criteria=f"It {habit}.") for habit in ("live", "how"))
    judged = JudgedQueries(name="x", queries=queries, qrels={q.id: {f"berlin-{q.id}": 1} for q in queries})
    config = MiningConfig(negatives_per_query=20, skip_ranks=0, max_score_ratio=None)
    with open_kit_at(working_folder) as kit:
        mined = mine_collection(kit, judged, config, depth=20)
    labels = {(pair.sentence_0, pair.sentence_1): pair.label for pair in mined.pairs}
    assert labels["the berlin It live.", "the berlin live in the many"] == 1
    assert labels["the berlin It live.", "the berlin how in the many"] == 0


def test_a_query_clicked_twice_has_both_its_passages_and_neither_as_a_negative(working_folder, judged_folder):
    asked = {"u1": "the berlin", "u2": "The Berlin?"}
    judged = JudgedQueries(
        name="x",
        queries=tuple(JudgedQuery(id=user, text=text) for user, text in asked.items()),
        qrels={"u1": {"berlin-live": 1}, "u2": {"berlin-how": 1}},
    )
    config = MiningConfig(negatives_per_query=20, skip_ranks=0, max_score_ratio=None)
    with open_kit_at(working_folder) as kit:
        mined = mine_collection(kit, judged, config, depth=20)
    for text in asked.values():
        right = {pair.sentence_1 for pair in mined.pairs if pair.sentence_0 == text and pair.label == 1}
        assert right == {"the berlin live in the many", "the berlin how in the many"}
        assert not right & {pair.sentence_1 for pair in mined.pairs if pair.label == 0}


def test_the_train_split_is_mined_and_a_held_out_query_with_criteria_is_found(working_folder, judged_folder):
    (judged_folder / "qrels").mkdir()
    rows = (judged_folder / "qrels.tsv").read_text().splitlines()
    (judged_folder / "qrels.tsv").unlink()
    (judged_folder / "qrels" / "test.tsv").write_text("\n".join(rows[:3]))
    (judged_folder / "qrels" / "train.tsv").write_text("\n".join(rows[3:6]))
    (working_folder / "pairs.jsonl").write_text(
        "\n".join(json.dumps({"sentence_0": "the berlin", "sentence_1": f"x{n}", "label": n % 2}) for n in range(4))
    )
    leaked = run("train", "pairs.jsonl", "-o", "m", "--held-out", "clicks")
    assert (leaked.exit_code, "evaluation queries" in leaked.stderr) == (1, True)
    result = run(
        *("train", "--judged", "clicks", "-c", "zoo", "--skip-ranks", "0", "--save-pairs", "mined.jsonl"),
        *("-o", "m", "--base-model", "absent", *SMALL),
    )
    assert result.exit_code == 1
    texts = {row.split("\t")[0].replace("-", " It ") for row in rows[3:6]}
    assert {pair.sentence_0 for pair in read_pairs("mined.jsonl")} == {f"the {text}." for text in texts}


def test_passages_with_whole_numbers_as_ids_are_found(working_folder):
    judged = JudgedQueries(name="x", queries=(JudgedQuery(id="q", text="owl"),), qrels={"q": {"7": 1, "8": 0}})
    with open_kit_at(working_folder) as kit:
        kit.add([{"id": 7, "text": "nothing alike"}, {"id": 8, "text": "an owl"}, {"id": 9, "text": "two owl"}])
        config = MiningConfig(skip_ranks=0, max_score_ratio=None)
        mined = mine_collection(kit, judged, config, depth=1)
    assert [(pair.sentence_1, pair.label) for pair in mined.pairs if pair.label == 1] == [("nothing alike", 1.0)]
    assert mined.without_positive == []


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["train", "-o", "m"], 2, "PAIRS"),
        (["train", "pairs.jsonl", "--judged", "clicks", "-o", "m"], 2, "one of the two"),
        (["train", "--judged", "clicks", "-o", "m"], 2, "--collection"),
        (["train", "pairs.jsonl"], 2, "--output"),
        (["train", "absent.jsonl", "-o", "m"], 1, "absent.jsonl"),
        (["train", "--judged", "absent", "-c", "zoo", "-o", "m"], 1, "queries.jsonl"),
        (["train", "pairs.jsonl", "-o", "m", "--epochs", "0"], 2, "--epochs"),
        (["train", "pairs.jsonl", "-o", "m", "--held-out", "clicks"], 1, "evaluation queries"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(working_folder, judged_folder, arguments, code, complaint):
    rows = [{"sentence_0": "the lost", "sentence_1": f"x{n}", "label": n % 2} for n in range(4)]
    (working_folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    result = run(*arguments)
    assert result.exit_code == code, result.stderr
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert complaint in result.stderr
    assert not (working_folder / "m").exists()
