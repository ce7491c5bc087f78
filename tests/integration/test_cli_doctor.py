"""``searchkit doctor`` over real collections on disk, damaged by hand."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from searchkit import Bm25Encoder, SearchKit, SearchKitConfig
from searchkit.cli.app import create_app
from searchkit.testing import FakeEncoder, FakeReranker


@pytest.fixture(autouse=True)
def collection(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with SearchKit("handbook", encoder=FakeEncoder(), reranker=FakeReranker()) as kit:
        kit.add(
            [{"id": f"id-{n}", "text": f"text {n}"} for n in range(30)]
            + [{"id": "\x1b[31mred", "text": "something peculiar"}]
        )
    return tmp_path / ".searchkit" / "handbook"


def run(*arguments):
    app = create_app(make_encoders=lambda: (FakeEncoder(), Bm25Encoder()))
    return CliRunner().invoke(app, ["doctor", *arguments])


def spoil_vectors(folder):
    path = next(folder.rglob("chunk_0.mmap"))
    path.write_bytes(b"\x55" + path.read_bytes()[1:])


def spoil_text(folder):
    path = next(folder.glob("engine*/segments/*/payload_storage/page_0.dat"))
    content = path.read_bytes()
    assert b"peculiar" in content
    path.write_bytes(content.replace(b"peculiar", b"ordinary"))


def test_a_healthy_collection_is_described_and_the_exit_code_is_0():
    result = run("handbook")
    assert result.exit_code == 0, result.output
    assert "31 passages in 31 points are whole" in result.stdout
    assert result.stdout.rstrip().endswith("handbook: healthy")


def test_damage_is_named_and_repaired(collection):
    spoil_vectors(collection)
    first = run("handbook")
    assert first.exit_code == 1
    assert "chunk_0.mmap was changed" in first.stdout
    assert "a repair encodes the texts again" in first.stdout
    assert first.stdout.rstrip().endswith("handbook: repairable")
    repaired = run("handbook", "--repair")
    assert repaired.exit_code == 0, repaired.output
    assert "repaired: encoded their texts again" in repaired.stdout
    with SearchKit("handbook", encoder=FakeEncoder(), reranker=FakeReranker()) as kit:
        assert kit.count() == 31


def test_what_must_be_added_again_is_listed_without_steering_the_terminal(collection):
    spoil_text(collection)
    result = run("handbook", "--repair")
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.stdout
    assert "add again: '\\x1b[31mred'" in result.stdout


def test_json_is_the_whole_diagnosis(collection):
    spoil_text(collection)
    result = run("handbook", "--json")
    assert result.exit_code == 1
    diagnosis = json.loads(result.stdout)
    assert diagnosis["state"] == "repairable"
    assert diagnosis["lost"] == ["\x1b[31mred"]
    assert {"subject", "severity", "text", "remedy", "is_repairable"} == set(diagnosis["findings"][0])


def test_what_is_not_there_is_said(collection):
    result = run("elsewhere")
    assert result.exit_code == 1
    assert result.stdout == "elsewhere: missing\n"


def test_what_is_open_in_this_process_is_named():
    with SearchKit("handbook", encoder=FakeEncoder(), reranker=FakeReranker(), config=SearchKitConfig()):
        result = run("handbook")
    assert result.exit_code == 0
    assert "process id" in result.stdout
    assert result.stdout.rstrip().endswith("handbook: in use")
