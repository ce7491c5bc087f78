"""Whatever strangers put into names, texts, ids, metadata or errors: no command writes it raw to the terminal."""

from __future__ import annotations

import json
import unicodedata

import pytest
import qdrant_edge
import typer
from qdrant_client import QdrantClient
from typer.testing import CliRunner

from searchkit import SearchKit
from searchkit.cli.app import create_app
from searchkit.cli.console import Output
from searchkit.collection.schema import passage_key, point_id, uuid_text
from searchkit.errors import RerankError, RetrievalError
from searchkit.testing import FakeEncoder, FakeReranker, FakeSparseEncoder

EVIL = (
    "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x9b1A\r\x08\x7f [bold]bold[/bold] [/] [link=http://x]y[/link] "
    "\u202egpj\u2066 \u2028end"
)
"""Title, clearing, colours, cursor, markup that would fail or style, characters that reorder, a line of its own."""
EVIL_FILE = EVIL.replace("/", "|")
REORDERING = set("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c\ufeff")


class EvilReranker(FakeReranker):
    """Its errors are hostile, and so is its name."""

    def __init__(self, *, is_broken: bool = False) -> None:
        super().__init__()
        self._is_broken = is_broken

    @property
    def name(self) -> str:
        return EVIL

    def score_pairs(self, pairs, *, deadline=None):
        if self._is_broken:
            raise RerankError(EVIL)
        return super().score_pairs(pairs, deadline=deadline)


def harmless(result) -> str:
    """Return all that a command wrote, in which nothing is that a terminal would obey."""
    written = result.stdout + result.stderr
    for character in written:
        assert character == "\n" or unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp"), ascii(written)
    assert not REORDERING & set(written), ascii(written)
    return written


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments, encoder=None, reranker=None, opens=None):
    def open_kit(place):
        return SearchKit(
            place.collection,
            path=place.path,
            url=place.url,
            encoder=encoder or FakeEncoder(),
            reranker=reranker or FakeReranker(),
        )

    def make_encoders():
        return encoder or FakeEncoder(), FakeSparseEncoder()

    return CliRunner().invoke(create_app(opens or open_kit, make_encoders), list(arguments))


@pytest.fixture
def indexed(working_folder):
    rows = [{"id": f"{EVIL} {n}", "text": f"wage {n} {EVIL}", "lang": EVIL, EVIL: "key"} for n in range(3)]
    (working_folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    result = run("index", "rows.jsonl", "-c", "evil")
    assert result.exit_code == 0, result.stderr
    harmless(result)


@pytest.mark.parametrize("output", [(), ("--json",)])
def test_index_names_hostile_files_rows_and_endings(working_folder, output):
    (working_folder / f"{EVIL_FILE}.txt").write_text(EVIL)
    (working_folder / f"x.{EVIL_FILE}").write_text("of no known kind")
    (working_folder / f"{EVIL_FILE}.jsonl").write_text("{" + EVIL + "\n" + json.dumps({"id": {EVIL: 1}, "text": EVIL}))
    (working_folder / f"{EVIL_FILE}.csv").write_text(f"id,text\n1,{EVIL}\n1,other {EVIL}\n")
    result = run("index", ".", "-c", "evil", *output)
    assert "owned" in harmless(result)
    absent = run("index", f"{EVIL_FILE}-absent", "-c", "evil", *output)
    assert absent.exit_code != 0
    assert "owned" in harmless(absent)


@pytest.mark.parametrize("output", [(), ("--json",)])
def test_search_shows_hostile_hits_and_what_hostile_models_say(indexed, output):
    found = run("search", f"wage {EVIL}", "-c", "evil", "--criteria", EVIL, *output, reranker=EvilReranker())
    assert found.exit_code == 0, found.stderr
    written = harmless(found)
    assert "[bold]bold[/bold] [/] [link=http://x]y[/link]" in written
    broken = run("search", "wage", "-c", "evil", *output, reranker=EvilReranker(is_broken=True))
    assert broken.exit_code == 0, broken.stderr
    assert "degraded" in harmless(broken)
    grouped = run("search", "wage", "-c", "evil", "--group-by", EVIL, "--filter", json.dumps({"lang": EVIL}), *output)
    harmless(grouped)


@pytest.mark.parametrize("debug", [(), ("--debug",)])
@pytest.mark.parametrize("error", [RetrievalError(EVIL), ValueError(EVIL), KeyError(EVIL), typer.BadParameter(EVIL)])
def test_hostile_errors_are_one_harmless_line_and_a_harmless_traceback(error, debug):
    def fail(place):
        raise error

    result = run("search", "x", *debug, opens=fail)
    assert result.exit_code in (1, 2)
    assert "owned" in harmless(result)
    if not debug:
        assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("search", "x", "-c", EVIL),
        ("search", "x", "-c", "evil", "--filter", EVIL),
        ("search", "x", "-c", "evil", "--filter", "{" + EVIL),
        ("search", "x", "-c", "evil", "--filter", json.dumps({"lang": {EVIL: 1}})),
        ("search", "x", "-c", "evil", "--mode", EVIL),
        ("search", "x", "-c", "evil", "--top-k", EVIL),
        ("search", "x", "-c", "evil", f"--{EVIL}"),
        ("search", "x", "-c", "evil", "--path", "rows.jsonl"),
        ("search", "x", "-c", "evil", "--url", f"http://{EVIL}"),
        ("index", "rows.jsonl", "-c", EVIL),
        ("doctor", EVIL),
        ("eval", EVIL),
        ("train", EVIL, "--output", "model"),
        ("train", "rows.jsonl", "--output", EVIL_FILE),
        ("push", EVIL, "--url", "http://localhost:1"),
        ("push", "evil", "--url", "http://localhost:1", "--filter-field", EVIL),
        ("reindex", EVIL, "--window-tokens", "20"),
        ("reindex", "evil", "--encoder", EVIL),
        (EVIL,),
    ],
    ids=lambda arguments: ascii(" ".join(arguments))[:60],
)
def test_hostile_arguments_are_refused_harmlessly(indexed, arguments):
    result = run(*arguments)
    assert result.exit_code != 0
    harmless(result)


@pytest.mark.parametrize("output", [(), ("--json",)])
def test_doctor_describes_hostile_collections(indexed, working_folder, output):
    assert run("doctor", "evil", *output).exit_code == 0
    with SearchKit("named", path=".searchkit", encoder=FakeEncoder(name=EVIL), reranker=FakeReranker()) as kit:
        kit.add(["text"])
    described = run("doctor", "named", *output)
    assert described.exit_code == 0
    assert "owned" in harmless(described)
    engine = qdrant_edge.EdgeShard.load(str(working_folder / ".searchkit" / "evil" / "engine"))
    point = f"{point_id(passage_key(f'{EVIL} 1')):032x}"
    engine.update(qdrant_edge.UpdateOperation.set_payload([point], {"hash": EVIL}))
    engine.close()
    (working_folder / ".searchkit" / "evil" / "engine-00000000").mkdir()
    (working_folder / ".searchkit" / "evil" / f"{EVIL_FILE}").mkdir()
    damaged = run("doctor", "evil", "--repair", *output)
    assert "owned" in harmless(damaged)
    (working_folder / ".searchkit" / "evil" / "ledger.json").write_text(json.dumps({"engine": EVIL, "points": EVIL}))
    harmless(run("doctor", "evil", *output))
    harmless(run("search", "x", "-c", "evil"))


@pytest.mark.parametrize("output", [(), ("--json",)])
def test_eval_prints_hostile_queries_names_and_runs_harmlessly(working_folder, output):
    folder = working_folder / f"judged {EVIL_FILE}"
    (folder / "qrels").mkdir(parents=True)
    corpus = [{"_id": f"p{n} {EVIL}", "title": EVIL, "text": f"wage number{n} {EVIL}"} for n in range(12)]
    queries = [{"_id": f"q{n} {EVIL}", "text": f"number{n} {EVIL}", "instruction": EVIL} for n in range(12)]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, corpus)))
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    tab = [f"q{n} x\tp{n} x\t1" for n in range(12)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *tab]))
    mismatched = run("eval", str(folder), "-c", "zoo", "--index", *output)
    harmless(mismatched)
    plain = [{"_id": f"q{n}", "text": f"number{n} {EVIL}", "instruction": EVIL} for n in range(12)]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, plain)))
    (folder / "corpus.jsonl").write_text("\n".join(json.dumps(row | {"_id": f"p{n}"}) for n, row in enumerate(corpus)))
    tab = [f"q{n}\tp{n}\t1" for n in range(12)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *tab]))
    result = run("eval", str(folder), "-c", "zoo", "--index", "--report", f"{EVIL_FILE}.json", *output)
    assert result.exit_code == 0, result.stderr
    assert "owned" in harmless(result)


def test_whatever_is_shown_as_a_string_is_escaped(capsys):
    Output().show(EVIL, EVIL)
    Output().note(EVIL)
    Output().warn([EVIL])
    shown = capsys.readouterr()
    assert not set(shown.out + shown.err) & set("\x1b\x07\x9b\r\x08\x7f\u202e\u2066\u2028")
    assert shown.out.count("[bold]bold[/bold] [/]") == 2


def test_a_server_of_a_strangers_is_described_harmlessly():
    client = QdrantClient(":memory:")
    kit = SearchKit("evil", client=client, encoder=FakeEncoder(name=EVIL), reranker=FakeReranker())
    kit.add([{"id": EVIL, "text": EVIL}])
    client.set_payload("evil", {"hash": EVIL}, points=[uuid_text(point_id(passage_key(EVIL)))])
    result = run("search", EVIL, "-c", "evil", opens=lambda place: kit)
    assert "owned" in harmless(result)
    client.close()
