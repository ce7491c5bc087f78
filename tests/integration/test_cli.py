"""The commands over a real collection on disk, with small deterministic models in place of the real ones."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from searchkit import SearchKit, SearchKitConfig
from searchkit.cli.app import create_app
from searchkit.errors import CollectionError, RerankError
from searchkit.testing import FakeEncoder, FakeReranker
from tests.wire.server import WireServer

DOCS = {
    "docs/wages.md": "Hairdressers are paid a yearly wage of 31,000 dollars.",
    "docs/hours.txt": "Hairdressers work long hours.",
    "docs/sub/school.md": "A school for hairdressers opened in town.",
    "docs/empty.md": " \n",
    "docs/picture.png": "not text",
}


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in DOCS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def places():
    return []


@pytest.fixture
def run(places):
    def open_kit(place):
        places.append(place)
        return SearchKit(
            place.collection,
            path=place.path,
            url=place.url,
            api_key=place.api_key,
            encoder=FakeEncoder(),
            reranker=FakeReranker(),
        )

    def invoke(*arguments, app=None):
        return CliRunner().invoke(app or create_app(open_kit), list(arguments))

    return invoke


@pytest.fixture
def indexed(run):
    result = run("index", "docs", "--collection", "handbook")
    assert result.exit_code == 0, result.stderr
    return result


def test_index_says_what_it_did_and_what_it_left_out(indexed):
    assert indexed.stdout.startswith("3 added, 0 updated, 0 unchanged")
    assert "handbook holds 3 passages" in indexed.stdout
    assert "not indexed: docs/empty.md is empty" in indexed.stderr
    assert "1 .png" in indexed.stderr
    assert 'searchkit search "..." --collection handbook' in indexed.stderr


def test_index_again_encodes_only_what_changed(run, indexed, working_folder):
    (working_folder / "docs" / "hours.txt").write_text("Hairdressers work short hours.")
    report = json.loads(run("index", "docs", "-c", "handbook", "--json").stdout)
    assert (report["added"], report["updated"], report["unchanged"], report["count"]) == (0, 1, 2, 3)
    assert report["problems"] == [{"place": "docs/empty.md", "reason": "is empty"}]
    assert report["left_alone"] == {".png": 1}


def test_one_file_of_a_folder_keeps_its_id(run, indexed):
    assert run("index", "docs/wages.md", "-c", "handbook").stdout.startswith("0 added, 0 updated, 1 unchanged")


def test_rows_become_passages_with_metadata_that_filters(run, working_folder):
    rows = [{"id": n, "text": f"wage {n}", "year": 2000 + n, "open": n % 2 == 0} for n in range(4)]
    (working_folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (working_folder / "faq.csv").write_text("question,answer\nhow much,a wage of gold\n")
    assert run("index", "rows.jsonl", "-c", "c").exit_code == 0
    assert run("index", "faq.csv", "-c", "c", "--text-column", "answer").exit_code == 0

    def ids(*arguments):
        return [hit["id"] for hit in json.loads(run("search", "wage", "-c", "c", "--json", *arguments).stdout)["hits"]]

    assert sorted(map(str, ids())) == ["0", "1", "2", "3", "faq.csv:2"]
    assert ids("--filter", "year=2002") == [2]
    assert sorted(ids("--filter", "open=true")) == [0, 2]
    assert ids("--filter", '{"year": {"gte": 2001}}', "--filter", "open=true") == [2]
    assert ids("--filter", "question=how much") == ["faq.csv:2"]


def test_cells_of_a_csv_file_are_found_by_number_and_bool_and_a_declared_field_by_its_type(run, working_folder):
    (working_folder / "y.csv").write_text("id,text,year,flag\n1,barbers in winter,2020,true\n2,barbers,2021,false\n")
    (working_folder / "y.jsonl").write_text('{"id": 3, "text": "barbers in spring", "year": 2020, "flag": true}\n')
    assert run("index", "y.csv", "y.jsonl", "-c", "y").exit_code == 0

    def ids(collection, *filters):
        options = [option for text in filters for option in ("--filter", text)]
        return {
            hit["id"]
            for hit in json.loads(run("search", "barbers", "-c", collection, "--json", *options).stdout)["hits"]
        }

    assert ids("y", "year=2020") == {"1", 3}
    assert ids("y", "flag=true", "year=2020") == {"1", 3}
    assert ids("y", 'year="2020"') == {"1"}
    assert ids("y", '{"year": 2020}') == {3}
    config = SearchKitConfig(filter_fields={"year": "integer", "code": "keyword"})
    with SearchKit("z", path=".searchkit", encoder=FakeEncoder(), reranker=FakeReranker(), config=config) as kit:
        kit.add([{"id": n, "text": "barbers", "year": 2020 + n, "code": str(n)} for n in range(2)])
    assert ids("z", "year=2020", "code=0") == {0}
    assert "absent" in run("search", "barbers", "-c", "absent", "--filter", "year=2020").stderr


def test_a_declared_field_is_found_on_a_server_in_strict_mode(run):
    config = SearchKitConfig(filter_fields={"year": "integer", "code": "keyword", "open": "bool"})
    with WireServer(is_strict=True) as server:
        with SearchKit("z", url=server.url, encoder=FakeEncoder(), reranker=FakeReranker(), config=config) as kit:
            kit.add([{"id": n, "text": "barbers", "year": 2020, "code": str(n), "open": True} for n in range(2)])
        filters = ("--filter", "year=2020", "--filter", "code=1", "--filter", "open=true")
        found = run("search", "barbers", "-c", "z", "--url", server.url, "--json", *filters)
    assert [hit["id"] for hit in json.loads(found.stdout)["hits"]] == [1], found.stderr


def test_nothing_to_index_is_a_failure_that_makes_no_collection(run, places, working_folder):
    result = run("index", "docs/picture.png", "absent", "-c", "handbook")
    assert result.exit_code == 1
    assert "not indexed: absent there is no such file or folder" in result.stderr
    assert "nothing to index was found" in result.stderr
    assert places == []
    assert run("index", "docs/empty.md", "-c", "handbook").exit_code == 1
    assert not (working_folder / ".searchkit" / "handbook").exists()


def test_search_prints_hits_to_stdout_and_the_work_to_stderr(run, indexed):
    result = run("search", "yearly wage of hairdressers", "-c", "handbook", "--top-k", "2")
    lines = result.stdout.splitlines()
    assert lines[0].startswith(" 1. 0.")
    assert "docs/wages.md" in lines[0]
    assert lines[1].strip() == DOCS["docs/wages.md"]
    assert sum(line.startswith(" ") and "docs/" in line for line in lines) == 2
    assert "reranked: 3 of 3 candidates scored by fake-reranker (words)" in result.stderr


def test_search_as_json_is_the_result_and_nothing_else(run, indexed):
    result = run("search", "wage", "-c", "handbook", "--json", "--criteria", "It states dollars.", "--mode", "sparse")
    data = json.loads(result.stdout)
    assert (data["status"], data["criteria"], data["mode"]) == ("reranked", "It states dollars.", "sparse")
    assert data["hits"][0]["id"] == "docs/wages.md"
    assert result.stderr == ""


def test_search_without_reranking_says_retrieved(run, indexed):
    result = run("search", "wage", "-c", "handbook", "--no-rerank", "--json")
    assert json.loads(result.stdout)["status"] == "retrieved"


def test_no_hit_is_an_answer(run, indexed):
    result = run("search", "quantum chromodynamics", "-c", "handbook", "--min-score", "0.9")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no passage is good enough" in result.stderr
    result = run("search", "wage", "-c", "handbook", "--filter", "path=absent")
    assert "no passage matches" in result.stderr


def test_texts_cannot_steer_the_terminal_or_be_read_as_markup(run, working_folder):
    (working_folder / "evil.md").write_text("wage \x1b[31m\x9b2J [bold]x[/bold] [/] \u202etxt.exe")
    assert run("index", "evil.md", "-c", "evil").exit_code == 0
    for output in ("", "--json"):
        result = run("search", "wage", "-c", "evil", *filter(None, [output]))
        assert result.exit_code == 0
        assert not set(result.stdout + result.stderr) & set("\x1b\x9b\u202e")
        assert "[bold]x[/bold] [/]" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["search", "wage", "-c", "absent"], 1, "absent"),
        (["search", " ", "-c", "handbook"], 1, "query is empty"),
        (["search", "x", "-c", "handbook", "--top-k", "5", "--candidate-depth", "2"], 1, "candidate_depth=2"),
        (["search", "x", "-c", "handbook", "--min-score", "0.5", "--no-rerank"], 1, "min_score=0.5"),
        (["search", "x", "-c", "handbook", "--deadline", "-1"], 1, "deadline_s"),
        (["search", "x", "-c", "handbook", "--filter", '{"year": {"about": 3}}'], 1, "about"),
        (["search", "x", "-c", "handbook", "--path", "a", "--url", "http://localhost:1"], 1, "path and url"),
        (["search", "x", "-c", "handbook", "--api-key", "k"], 1, "api_key"),
        (["search", "x", "--top-k", "0"], 2, "--top-k"),
        (["search", "x", "--top-k", "many"], 2, "--top-k"),
        (["search", "x", "--min-score", "2"], 2, "--min-score"),
        (["search", "x", "--mode", "magic"], 2, "--mode"),
        (["search", "x", "--filter", "nonsense"], 2, "key=value"),
        (["search"], 2, "query"),
        (["index", "docs"], 2, "--collection"),
        (["index", "-c", "x"], 2, "PATH"),
        (["nonsense"], 2, "nonsense"),
        (["--nonsense"], 2, "nonsense"),
    ],
)
def test_an_error_is_one_line_on_stderr_with_its_exit_code(run, indexed, arguments, code, complaint):
    result = run(*arguments)
    assert result.exit_code == code
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert result.stderr.startswith("searchkit: ")
    assert complaint in result.stderr


@pytest.mark.parametrize("arguments", [["--debug", "search", "x", "-c", "no"], ["search", "x", "-c", "no", "--debug"]])
def test_debug_shows_the_traceback_wherever_it_stands(run, arguments):
    result = run(*arguments)
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert CollectionError.__name__ in result.stderr


def test_a_query_that_looks_like_an_option_can_be_searched(run, indexed):
    result = run("search", "-c", "handbook", "--json", "--", "--debug")
    assert json.loads(result.stdout)["query"] == "--debug"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (RerankError("the model is on fire"), 1, "searchkit: the model is on fire\n"),
        (ZeroDivisionError("x\ny"), 1, "searchkit: unexpected ZeroDivisionError: x y; --debug shows where\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_whatever_goes_wrong_is_reported_in_one_line(run, error, code, line):
    def open_kit(place):
        raise error

    result = run("search", "x", app=create_app(open_kit))
    assert (result.exit_code, result.stderr.strip()) == (code, line.strip())


def test_where_the_collection_lies_reaches_the_kit(run, places, monkeypatch):
    monkeypatch.setenv("SEARCHKIT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("SEARCHKIT_API_KEY", "secret")
    result = run("search", "x")
    assert result.exit_code == 1
    assert "secret" not in result.stderr
    assert [(p.collection, p.path, p.url, p.api_key) for p in places] == [
        ("stdlib", None, "http://127.0.0.1:1", "secret")
    ]


def test_version_is_that_of_the_package(run):
    from searchkit import __version__

    assert run("--version").stdout == f"{__version__}\n"


@pytest.mark.parametrize("command", ["doctor", "demo", "index", "search", "eval", "train"])
def test_every_help_shows_an_example(run, command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"Example: searchkit {command}" in " ".join(result.stdout.split())


def test_no_command_shows_the_help_as_wrong_usage(run):
    result = run()
    assert result.exit_code == 2
    assert "Usage: searchkit" in result.stdout


def test_the_demo_measures_with_the_judgments_of_the_checkout(run, working_folder, monkeypatch):
    asked = []
    monkeypatch.setattr("searchkit.cli.demo.run_demo", lambda **arguments: asked.append(arguments))
    assert run("demo").exit_code == 0
    (working_folder / "tests" / "data" / "stdlib").mkdir(parents=True)
    assert run("demo", "--rebuild").exit_code == 0
    assert run("demo", "--judgments", "mine", "--path", "kb").exit_code == 0
    assert [(str(a["path"]), str(a["judgments"]), a["rebuild"]) for a in asked] == [
        (".searchkit", "None", False),
        (".searchkit", "tests/data/stdlib", True),
        ("kb", "mine", False),
    ]
