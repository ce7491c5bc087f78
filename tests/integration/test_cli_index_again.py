"""``searchkit index`` again, after lines and files went."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from searchkit import SearchKit
from searchkit.cli.app import create_app
from searchkit.testing import FakeEncoder, FakeReranker


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    for name in ("wages.md", "hours.txt", "school.md"):
        (tmp_path / "docs" / name).write_text(f"about {name}")
    return tmp_path


@pytest.fixture
def run():
    def open_kit(place):
        return SearchKit(
            place.collection, path=place.path or ".searchkit", encoder=FakeEncoder(), reranker=FakeReranker()
        )

    return lambda *arguments: CliRunner().invoke(create_app(open_kit), list(arguments))


@pytest.fixture
def changed(run, working_folder):
    """Three lines without ids and a text; then the first line and the text go, and a line with an id."""
    rows = [{"text": "alpha"}, {"text": "beta"}, {"text": "gamma"}, {"id": "own", "text": "delta"}]
    (working_folder / "d").mkdir()
    (working_folder / "d" / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (working_folder / "d" / "n.md").write_text("nothing")
    assert run("index", "d", "-c", "x").exit_code == 0
    (working_folder / "d" / "t.jsonl").write_text("\n".join(map(json.dumps, rows[1:3])))
    (working_folder / "d" / "n.md").unlink()
    return working_folder / "d"


@pytest.fixture
def index(run):
    def indexed(*arguments, code=0):
        result = run("index", *arguments, "-c", "x", "--json")
        assert result.exit_code == code, result.stderr
        return json.loads(result.stdout)

    return indexed


def test_what_the_files_no_longer_hold_is_counted_and_named_until_it_is_deleted(run, changed, index):
    told = run("index", "d", "-c", "x")
    assert "x holds 5 passages" in told.stdout
    assert "stale: 2 passages" in told.stderr
    assert "d/n.md" in told.stderr
    assert "SearchKit.delete" in told.stderr
    assert "1 passage (own)" in told.stderr
    report = index("d")
    assert (sorted(report["stale"]), report["count"]) == (["d/n.md", "d/t.jsonl:3"], 5)
    with SearchKit("x", path=".searchkit", encoder=FakeEncoder(), reranker=FakeReranker()) as kit:
        assert kit.delete(report["stale"]) == 2
    report = index("d")
    assert (report["stale"], report["own_ids_left"]) == ([], ["own"])
    assert "stale" not in run("index", "d", "-c", "x").stderr


def test_what_is_stale_of_other_paths_stays(run, changed, index, working_folder):
    (working_folder / "docs" / "hours.txt").unlink()
    assert run("index", "docs", "-c", "x").exit_code == 0
    (working_folder / "docs" / "wages.md").unlink()
    assert sorted(index("d")["stale"]) == ["d/n.md", "d/t.jsonl:3"]
    assert index("d/t.jsonl")["stale"] == ["d/t.jsonl:3"]
    assert index("docs")["stale"] == ["docs/wages.md"]


def test_nobody_knows_what_is_stale_when_a_file_could_not_be_read(run, changed, index):
    (changed / "latin.txt").write_bytes(b"\xff")
    assert "stale" not in run("index", "d", "-c", "x").stderr
    assert index("d", "absent")["stale"] is None


def test_stale_is_not_a_line_that_was_there_and_is_unusable(changed, index):
    (changed / "t.jsonl").write_text('{"text": "alpha"}\n{"text": ""}\n{"text"')
    assert index("d")["stale"] == ["d/n.md"]


def test_stale_is_not_what_a_program_wrote(changed, index):
    theirs = [
        {"id": "d/t.jsonl:9", "text": "no path"},
        {"id": "chunk", "text": "a chunk", "metadata": {"path": "d/t.jsonl"}},
        {"id": "d/gone.md", "text": "more", "metadata": {"path": "d/gone.md", "page": 1}},
        {"id": "gone.md#1", "text": "part", "metadata": {"path": "d/gone.md"}},
    ]
    with SearchKit("x", path=".searchkit", encoder=FakeEncoder(), reranker=FakeReranker()) as kit:
        kit.add(theirs)
        kit.scoped(tenant="a").add([{"id": "d/t.jsonl:3", "text": "scoped", "metadata": {"path": "d/t.jsonl"}}])
    assert sorted(index("d")["stale"]) == ["d/n.md", "d/t.jsonl:3"]
    with SearchKit("x", path=".searchkit", encoder=FakeEncoder(), reranker=FakeReranker()) as kit:
        assert len(kit.get([record["id"] for record in theirs])) == 4
        assert kit.scoped(tenant="a").count() == 1


def test_stale_is_not_a_file_that_is_there_and_was_not_read(run, index, working_folder):
    (working_folder / "docs" / ".notes").mkdir()
    (working_folder / "docs" / ".notes" / "a.md").write_text("hidden")
    assert index("docs", "docs/.notes/a.md")["count"] == 4
    assert index("docs")["stale"] == []


def test_stale_is_not_what_was_indexed_from_another_working_folder(run, index, working_folder, monkeypatch):
    place = ("--path", str(working_folder / "kept"))
    (working_folder / "e").mkdir()
    (working_folder / "e" / "f.md").write_text("elsewhere")
    assert index("docs", "e", *place)["count"] == 4
    monkeypatch.chdir(working_folder / "docs")
    for _ in range(2):
        report = index(".", *place)
        assert (report["count"], report["stale"]) == (7, [])
        assert len(report["elsewhere"]) == 3
    assert "twice: 3 passages" in run("index", ".", "-c", "x", *place).stderr


def test_nothing_is_stale_of_a_folder_that_is_indexed_for_the_first_time(index, working_folder, monkeypatch):
    place = ("--path", str(working_folder / "kept"))
    assert index("docs/hours.txt", *place)["count"] == 1
    other = working_folder / "other"
    (other / "docs").mkdir(parents=True)
    (other / "docs" / "mine.md").write_text("mine")
    monkeypatch.chdir(other)
    assert index("docs", *place)["count"] == 2


def test_stale_is_what_a_file_held_that_is_empty_now(index, working_folder):
    assert index("docs")["count"] == 3
    (working_folder / "docs" / "hours.txt").write_text("")
    assert index("docs")["stale"] == ["docs/hours.txt"]
