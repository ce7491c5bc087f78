"""The command over stub contestants: what it prints, writes and returns."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from searchkit.benchmarking import Load, NotRunError, Plan
from searchkit.cli import bench as bench_module
from searchkit.cli.app import create_app
from tests.unit.benchmarking.stubs import Stub

PLAN = Plan((Load(5, 2), Load(3, callers=2)), rounds=2, fidelity_queries=1, finds_batch_size=False)


class Missing(Stub):
    def load(self):
        raise NotRunError("absent is not installed: pip install absent")


@pytest.fixture
def contestants(monkeypatch):
    """Stubs in place of models."""
    chosen = [
        Stub("searchkit fast", is_ours=True, noise=0.001),
        Stub("searchkit torch", is_ours=True),
        Stub("peer", seconds=0.004, fails_on=lambda pairs: len(pairs) == 3),
        Missing("absent"),
    ]
    monkeypatch.setattr(bench_module, "_contestants", lambda *_: chosen)
    monkeypatch.setattr("searchkit.benchmarking.QUICK", PLAN)
    return chosen


@pytest.fixture
def run(cross_encoder_folder):
    def invoke(*arguments, model=None):
        command = ["bench", "--quick", "--model", str(model or cross_encoder_folder("bert")), "--threads", "1"]
        return CliRunner().invoke(create_app(), [*command, *arguments])

    return invoke


def test_the_tables_name_everyone_and_what_failed(contestants, run):
    result = run()
    assert result.exit_code == 0, result.output
    text = result.stdout
    assert "absent is not installed: pip install absent" in text
    assert "peer failed at 2 callers x 3 candidates, so it has no numbers there: RuntimeError" in text
    assert "Logits against peer" in text
    for title in ("Who took part", "How fast: 5 candidates, 4 calls each", "How many times faster", "Same scores?"):
        assert text.count(title) == 1
    assert "too few for a claim" in result.stderr


def test_an_engine_that_did_not_run_has_no_row_of_numbers(contestants, run):
    lines = run().stdout.splitlines()
    assert sum("absent" in line for line in lines) == 1


def test_json_is_one_line_and_the_file_holds_the_same(contestants, run, tmp_path):
    result = run("--json", "--report", str(tmp_path / "report.json"))
    assert result.exit_code == 0, result.output
    (line,) = result.stdout.splitlines()
    assert json.loads(line) == json.loads((tmp_path / "report.json").read_text())
    assert [row["against"] for row in json.loads(line)["ratios"]] == ["peer", "peer"]


def test_a_place_that_cannot_be_written_is_refused_before_the_work(contestants, run, tmp_path):
    result = run("--report", str(tmp_path / "missing" / "report.json"))
    assert result.exit_code == 1
    assert "cannot be written: there is no folder" in result.stderr
    assert contestants[0].log == []


def test_only_takes_a_name_or_its_first_word(contestants, run):
    result = run("--json", "--only", "searchkit", "--only", "PEER", "--rounds", "1")
    report = json.loads(result.stdout)
    assert [entry["name"] for entry in report["contestants"]] == ["searchkit fast", "searchkit torch", "peer"]
    assert report["rounds"] == 1
    refused = run("--only", "nobody")
    assert refused.exit_code == 2
    assert "there are 'searchkit fast', 'searchkit torch', 'peer', 'absent'" in refused.stderr


def test_without_an_engine_of_ours_the_command_fails(contestants, run):
    result = run("--only", "peer")
    assert result.exit_code == 1
    assert "no engine of searchkit ran" in result.stderr


def test_wrong_usage_is_said_in_one_line(contestants, run, cross_encoder_folder):
    both = CliRunner().invoke(create_app(), ["bench", "--quick", "--full"])
    assert (both.exit_code, both.stdout) == (2, "")
    assert "exclude each other" in both.stderr
    many = run("--threads", "4096")
    assert many.exit_code == 1
    assert "--threads 4096 is more than" in many.stderr
    nowhere = run(model="/nowhere/model")
    assert nowhere.exit_code == 1
    assert "There is no model folder '/nowhere/model'" in nowhere.stderr


def test_no_number_is_cut_on_eighty_columns(contestants, run, tmp_path):
    import io

    from rich.console import Console

    from searchkit.benchmarking import BenchReport
    from searchkit.cli.bench_table import show_bench
    from searchkit.cli.console import Output

    run("--json", "--report", str(tmp_path / "report.json"))
    report = BenchReport.model_validate_json((tmp_path / "report.json").read_text())
    slow = [row.model_copy(update={"p99_ms": 34567.8, "tokens_per_s": 123456.0}) for row in report.speeds]
    stream = io.StringIO()
    console = Console(file=stream, width=80, markup=False, highlight=False, soft_wrap=True)
    show_bench(Output(data=console), report.model_copy(update={"speeds": tuple(slow)}))
    text = stream.getvalue()
    assert text.count("34567.8") == len(slow)
    assert text.count("123,456") == len(slow)
    for row in report.ratios:
        assert f"[{row.cpu.low:.2f}, {row.cpu.high:.2f}]" in text
        assert f"[{row.wall.low:.2f}, {row.wall.high:.2f}]" in text
