"""``searchkit eval`` over a real collection on disk, with small deterministic models."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from searchkit import SearchKit
from searchkit.cli.app import create_app
from searchkit.evaluation import ComparisonReport, Configuration, Searcher, compare, read_judged, read_run
from searchkit.testing import FakeEncoder, FakeReranker

ANIMALS = ("cat", "dog", "owl", "fox", "elk", "hen", "bee", "ant", "cow", "yak", "emu", "rat")
HABITS = ("sleeps", "eats", "sings", "runs", "hides")


@pytest.fixture(autouse=True)
def judged_folder(tmp_path, monkeypatch):
    """Sixty passages, sixty queries: the animal is in the query, the habit in the criteria."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "zoo"
    (folder / "qrels").mkdir(parents=True)
    corpus, queries, qrels = [], [], ["query-id\tcorpus-id\tscore"]
    for animal in ANIMALS:
        for habit in HABITS:
            name = f"{animal}-{habit}"
            corpus.append({"_id": name, "title": animal, "text": f"The {animal} {habit} in the wood."})
            queries.append({"_id": f"q-{name}", "text": f"the {animal}", "instruction": f"It {habit}."})
            qrels.append(f"q-{name}\t{name}\t1")
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, corpus)))
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    (folder / "qrels" / "test.tsv").write_text("\n".join(qrels))
    return folder


class Contrary(FakeReranker):
    """Prefers what has least to do with the query."""

    def score_pairs(self, pairs, *, deadline=None):
        scores = super().score_pairs(pairs, deadline=deadline)
        return replace(scores, logits=-scores.logits)


def open_kit(place):
    made = Contrary() if place.reranker == "contrary" else FakeReranker()
    return SearchKit(place.collection, path=place.path, encoder=FakeEncoder(), reranker=made)


def run(*arguments):
    return CliRunner().invoke(create_app(open_kit), list(arguments))


def test_eval_indexes_compares_recommends_and_writes_everything(tmp_path):
    result = run(
        *("eval", "zoo", "--index", "--depth", "5", "--depth", "20", "--blend", "both", "--timed", "5", "--json"),
        *("--report", "r.json", "--html", "r.html", "--png", "r.png", "--runs", "runs"),
    )
    assert result.exit_code == 0, result.stderr
    report = ComparisonReport.model_validate_json(result.stdout)
    assert report == ComparisonReport.model_validate_json((tmp_path / "r.json").read_text())
    assert report.queries_name == "zoo"
    assert [system.name for system in report.systems] == [
        "sparse, depth 20",
        "dense, depth 20",
        "hybrid, depth 20",
        "hybrid + rerank, depth 5",
        "hybrid + rerank, depth 20",
        "hybrid + rerank, depth 5, no blend",
        "hybrid + rerank, depth 20, no blend",
    ]
    assert report.recommendation.is_reranking is True  # stage 2 alone reads the criteria
    assert report.system(report.recommendation.system).measures["nDCG@10"] > 0.9
    assert report.system(report.recommendation.system).reranker == "fake-reranker"
    assert "60 added" in result.stderr
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((tmp_path / "runs").glob("*.run"))) == 7
    chosen = read_run(tmp_path / "runs" / "hybrid-rerank-depth-20.run")
    assert chosen.rankings["q-cat-sings"][0].passage_id == "cat-sings"


def test_the_table_and_the_choice_go_to_stdout_and_the_doubts_to_stderr():
    result = run("eval", "zoo", "--index", "--depth", "10", "--timed", "0", "--sample", "12")
    assert result.exit_code == 0, result.stderr
    assert "zoo: 12 queries, 12 judgments" in result.stdout
    assert "hybrid + rerank, depth 10" in result.stdout
    assert "note: 12 queries are few" in result.stderr
    assert "p95" not in result.stdout


def test_runs_written_by_one_evaluation_are_compared_by_another():
    assert run("eval", "zoo", "--index", "--depth", "10", "--timed", "0", "--runs", "runs").exit_code == 0
    files = ("--run", "runs/hybrid-depth-10.run", "--run", "runs/hybrid-rerank-depth-10.run")
    result = run("eval", "--qrels", "runs/qrels.txt", *files, "--json", "--measure", "RR@10")
    report = ComparisonReport.model_validate_json(result.stdout)
    assert (report.baseline, report.recommendation.system) == ("hybrid-depth-10", "hybrid-rerank-depth-10")
    assert report == ComparisonReport.model_validate_json(
        run("eval", "zoo", *files, "--json", "--measure", "RR@10").stdout
    ).model_copy(update={"queries_name": "runs/qrels.txt"})


def test_runs_of_one_tool_are_told_apart_by_their_files(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.run").write_text("q-cat-eats Q0 cat-eats 1 1.0 tool\n")
    result = run("eval", "zoo", "--run", "a.run", "--run", "b.run", "--json")
    assert [system["name"] for system in json.loads(result.stdout)["systems"]] == ["a.run", "b.run"]


def test_rerankers_are_compared_side_by_side():
    result = run(
        *("eval", "zoo", "--index", "--depth", "10", "--timed", "0", "--json"),
        *("--reranker", "good", "--reranker", "contrary", "--reranker", "good"),
    )
    assert result.exit_code == 0, result.stderr
    report = ComparisonReport.model_validate_json(result.stdout)
    names = [system.name for system in report.systems if system.configuration.rerank]
    assert names == ["hybrid + good, depth 10", "hybrid + contrary, depth 10"]
    good, contrary = (report.system(name).measures["nDCG@10"] for name in names)
    assert contrary < good
    assert report.recommendation.system == names[0]


def test_every_run_gets_a_file_of_its_own(tmp_path):
    for file, name in (("a", "my.run"), ("b", "my-run"), ("c", "My-run"), ("d", "基线"), ("e", "改进"), ("f", "...")):
        (tmp_path / f"{file}.run").write_text(f"q-cat-eats Q0 cat-eats 1 1.0 {name}\n", encoding="utf-8")
    files = [part for name in "abcdef" for part in ("--run", f"{name}.run")]
    assert run("eval", "zoo", *files, "--runs", "out").exit_code == 0
    written = {path.name: read_run(path) for path in (tmp_path / "out").glob("*.run")}
    assert sorted(written) == ["My-run-3.run", "my-run-2.run", "my-run.run", "run.run", "基线.run", "改进.run"]


def test_the_table_is_shown_though_a_run_cannot_be_written(tmp_path, judged_folder):
    with (
        (judged_folder / "queries.jsonl").open("a") as queries,
        (judged_folder / "qrels" / "test.tsv").open("a") as qrels,
    ):
        queries.write('\n{"_id": "a b", "text": "the cat"}')
        qrels.write("\na b\tcat-eats\t1")
    result = run("eval", "zoo", "--index", "--depth", "5", "--timed", "0", "--runs", "out")
    assert result.exit_code == 1
    assert "'a b' cannot stand in a TREC file" in result.stderr
    assert "hybrid + rerank, depth 5" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["eval"], 2, "FOLDER"),
        (["eval", "zoo", "--run", "a.run", "--sample", "5"], 2, "--sample"),
        (["eval", "zoo", "--run", "a.run", "--reranker", "x"], 2, "--reranker"),
        (["eval", "zoo", "--run", "a.run", "--budget-ms", "5"], 2, "--budget-ms"),
        (["eval", "zoo", "--index", "--budget-ms", "nan"], 2, "--budget-ms nan"),
        (["eval", "--run", "a.run"], 2, "--qrels"),
        (["eval", "zoo", "--qrels", "q", "--run", "a.run"], 2, "one of the two"),
        (["eval", "zoo", "--qrels", "q"], 2, "--run"),
        (["eval", "absent"], 1, "queries.jsonl"),
        (["eval", "zoo"], 1, "zoo"),
        (["eval", "zoo", "--split", "dev"], 1, "no dev.tsv"),
        (["eval", "zoo", "--measure", "quality"], 1, "'quality' is not known"),
        (["eval", "zoo", "--html", "absent/r.html"], 1, "no folder absent"),
        (["eval", "zoo", "--mode", "magic"], 2, "--mode"),
        (["eval", "zoo", "--depth", "0"], 2, "--depth"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_in_one_line(arguments, code, complaint):
    result = run(*arguments)
    assert result.exit_code == code, result.stderr
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert complaint in result.stderr


def test_a_kit_is_compared_in_python_without_the_command_line(judged_folder, tmp_path):
    assert run("eval", "zoo", "--index", "--depth", "10", "--timed", "0").exit_code == 0
    with SearchKit("zoo", encoder=FakeEncoder(), reranker=FakeReranker()) as kit:
        searcher: Searcher = kit
        report, runs = compare(searcher, read_judged(judged_folder).sample(10), [Configuration(candidate_depth=10)])
    assert report.systems[0].latency.sample_count == 10
    assert len(runs[0].rankings) == 10
