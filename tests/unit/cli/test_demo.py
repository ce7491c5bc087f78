from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from searchkit.cli import demo_view as view
from searchkit.cli.demo import QUESTIONS, run_demo
from searchkit.cli.demo_memo import FILE_NAME, DemoMemo, MeasuredTable, SystemRow, library_checksum, table_key
from searchkit.cli.demo_table import KnownJudgments, read_known
from searchkit.cli.stdlib import StandardLibrary
from searchkit.config import RerankerProfile
from searchkit.errors import ConfigError, DeviceMemoryError
from searchkit.evaluation import JudgedQueries, JudgedQuery
from searchkit.kit import SearchKit
from searchkit.testing import FakeEncoder, FakeReranker
from searchkit.types import Hit, Passage, RetrievalEvidence, SearchResult, Timings

MODULES = frozenset({"json", "shlex", "textwrap", "string"})


@pytest.fixture
def small_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdlib_module_names", MODULES)


@pytest.fixture
def judgments(tmp_path: Path) -> Path:
    folder = tmp_path / "judged"
    folder.mkdir()
    (folder / "queries.jsonl").write_text(
        '{"_id": "a", "text": "escape text for a shell", "criteria": "one argument"}\n'
        '{"_id": "b", "text": "wrap a paragraph"}\n'
        '{"_id": "c", "text": "something that this Python lacks"}\n'
    )
    (folder / "qrels.tsv").write_text(
        "query-id\tcorpus-id\tscore\na\tshlex.quote\t2\na\tshlex.gone\t1\nb\ttextwrap.wrap\t2\nc\tfuture.wrap\t2\n"
    )
    return folder


def run(tmp_path: Path, judgments: Path | None, **arguments: Any) -> str:
    console = Console(file=io.StringIO(), width=110, markup=True)
    encoder = arguments.pop("encoder", None) or FakeEncoder()
    reranker = arguments.pop("reranker", None) or FakeReranker()
    run_demo(
        path=tmp_path / "data",
        judgments=judgments,
        console=console,
        encoder=encoder,
        reranker=reranker,
        **arguments,
    )
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def shown(item: Any, *, width: int = 100, **arguments: Any) -> str:
    console = Console(file=io.StringIO(), width=width, **arguments)
    console.print(item)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def result(**changes: Any) -> SearchResult:
    hits = (
        hit("b.second", rank=1, first=7, score=0.9),
        hit("a.first", rank=2, first=1, score=0.4),
        hit("[red]c.third[/red]", rank=3, first=3, score=0.1),
    )
    fields: dict[str, Any] = {
        "hits": hits,
        "query": "a [bold]question[/bold]",
        "mode": "hybrid",
        "status": "reranked",
        "timings": Timings(encode=3, retrieve=4, rerank=50, total=60),
        "candidate_count": 50,
        "scored_count": 50,
        "reranker": "fake",
        "engine": "words",
    }
    return SearchResult(**(fields | changes))


def hit(name: str, *, rank: int, first: int, score: float) -> Hit:
    evidence = RetrievalEvidence(rank=first, fused_score=0.03, dense_rank=first)
    return Hit(id=name, text="text", rank=rank, score=score, logit=1.0, retrieval=evidence)


class TestAnswer:
    def test_both_stages_stand_side_by_side_in_their_own_order(self) -> None:
        lines = shown(view.answer(result(), 1, Console(file=io.StringIO()))).splitlines()
        row = next(line for line in lines if "a.first" in line)
        assert row.index("a.first") < row.index("b.second")  # stage 1's best beside stage 2's best
        assert "0.900" in row

    def test_a_hit_says_how_far_it_moved(self) -> None:
        text = shown(view.answer(result(), 1, Console(file=io.StringIO())))
        assert "+6 b.second" in text
        assert "-1 a.first" in text
        assert "= [red]c.third" in text

    def test_times_and_counts_of_each_stage_are_told(self) -> None:
        text = shown(view.answer(result(), 1, Console(file=io.StringIO())), width=200)
        assert "stage 1: 50 candidates in 7 ms (encode 3.0, retrieve 4.0)" in text
        assert "stage 2: 50 pairs in 50 ms (fake, words); 1 of the best 5 come from below stage 1's first 5" in text

    def test_markup_in_texts_is_shown_and_never_obeyed(self) -> None:
        text = shown(view.answer(result(), 1, Console(file=io.StringIO())))
        assert "[bold]question[/bold]" in text
        assert "[red]c.third[/red]" in text

    def test_criteria_are_shown_with_the_question(self) -> None:
        text = shown(view.answer(result(criteria="only bytes"), 1, Console(file=io.StringIO())))
        assert "criteria: only bytes" in text

    def test_a_second_stage_that_did_not_run_says_why_and_claims_no_order(self) -> None:
        degraded = result(status="degraded", reason="out of memory", engine=None, scored_count=0)
        text = shown(view.answer(degraded, 1, Console(file=io.StringIO())), width=160)
        assert "stage 2 did not run: out of memory" in text
        assert text.count("b.second") == 1

    @pytest.mark.parametrize("width", [60, 100, 300])
    def test_the_columns_fit_the_console_and_stay_readable_on_a_wide_one(self, width: int) -> None:
        text = shown(view.answer(result(), 1, Console(file=io.StringIO(), width=width)), width=width)
        table = [line for line in text.splitlines() if not line.startswith("stage")]
        assert max(map(len, table)) <= min(width, view.WIDEST)

    def test_how_the_score_was_made_is_told_once(self) -> None:
        console = Console(file=io.StringIO())
        told = [shown(view.answer(result(blend="sigmoid(logit)"), number, console)) for number in (1, 2, 3)]
        assert ["sigmoid(logit)" in text for text in told] == [True, False, False]

    def test_a_dumb_terminal_gets_ascii(self) -> None:
        console = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"})
        assert shown(view.answer(result(), 1, console)).isascii()


class TestMemo:
    TABLE = MeasuredTable(key="k", rows=(SystemRow(name="BM25", measures={"nDCG@10": 0.5}),), query_count=1)

    def test_what_was_written_is_read_again(self, tmp_path: Path) -> None:
        memo = DemoMemo(corpus="c", ids=("a",), table=self.TABLE)
        memo.write(tmp_path)
        assert DemoMemo.read(tmp_path) == memo
        assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 99}', '{"corpus": 7}', "\ud800"])
    def test_a_file_that_cannot_be_used_is_as_good_as_none(self, tmp_path: Path, content: str) -> None:
        (tmp_path / FILE_NAME).write_text(content, encoding="utf-8", errors="surrogatepass")
        assert DemoMemo.read(tmp_path) == DemoMemo()

    def test_the_tables_key_changes_with_corpus_queries_judgments_and_models(self) -> None:
        def key(corpus: str = "c", text: str = "q", grade: int = 1, encoder: str = "e", template: str = "") -> str:
            queries = (JudgedQuery(id="a", text=text),)
            judged = JudgedQueries(name="n", queries=queries, qrels={"a": {"p": grade}})
            profile = RerankerProfile(criteria_template="{query} {criteria}" + template)
            return table_key(corpus, judged, encoder=FakeEncoder(name=encoder), reranker=FakeReranker(profile=profile))

        keys = [key(), key(corpus="d"), key(text="r"), key(grade=2), key(encoder="f"), key(template="!")]
        assert len(set(keys)) == len(keys)
        assert key() == key()

    def test_the_corpus_checksum_sees_texts_and_metadata(self) -> None:
        def checksum(text: str, kind: str) -> str:
            return library_checksum(StandardLibrary((Passage(id="a", text=text, metadata={"kind": kind}),)))

        assert len({checksum("a", "class"), checksum("b", "class"), checksum("a", "module")}) == 3


class TestKnownJudgments:
    LIBRARY = StandardLibrary((Passage(id="shlex.quote", text="q"), Passage(id="textwrap.wrap", text="w")))

    def test_names_that_this_python_lacks_are_dropped_and_counted(self, judgments: Path) -> None:
        known = read_known(judgments, self.LIBRARY)
        assert known.queries.qrels == {"a": {"shlex.quote": 2}, "b": {"textwrap.wrap": 2}}
        assert (known.judgment_count, known.dropped_names, known.dropped_queries) == (2, 2, 1)

    def test_judgments_of_something_else_are_refused(self, judgments: Path) -> None:
        with pytest.raises(ConfigError, match="judges no name of this Python's library"):
            read_known(judgments, StandardLibrary((Passage(id="other", text="o"),)))

    def test_dropped_names_are_told_under_the_table(self, judgments: Path) -> None:
        rows = (SystemRow(name="BM25", measures={"nDCG@10": 0.5, "RR@10": 0.5, "R@100": 0.5}, p50_ms=1.0),)
        memo = DemoMemo(table=MeasuredTable(key="k", rows=rows, query_count=2))
        known: KnownJudgments = read_known(judgments, self.LIBRARY)
        text = shown(view.table(memo, known, is_reused=False), width=200)
        assert "2 judged names and 1 queries were left out" in text


@pytest.mark.usefixtures("small_library")
class TestRunDemo:
    def test_it_indexes_answers_and_measures(self, tmp_path: Path, judgments: Path) -> None:
        text = run(tmp_path, judgments)
        assert "Indexed" in text
        for number, question in enumerate(QUESTIONS, 1):
            assert f"{number}. {question.text}" in text
        assert any(question.criteria for question in QUESTIONS)
        for name in ("BM25", "dense", "hybrid", "hybrid + rerank", "nDCG@10", "RR@10", "recall@100", "p50 ms"):
            assert name in text

    def test_a_second_run_encodes_no_passage_and_reuses_the_table(self, tmp_path: Path, judgments: Path) -> None:
        first = run(tmp_path, judgments)
        encoder, reranker = FakeEncoder(), FakeReranker()
        text = run(tmp_path, judgments, encoder=encoder, reranker=reranker)
        assert encoder.encoded_count == 0
        alone = FakeReranker()
        run(tmp_path, None, reranker=alone)
        assert reranker.scored_count == alone.scored_count  # the questions, and nothing for the table
        assert "already" in text
        assert "Measured on an earlier run" in text
        assert [line for line in first.splitlines() if line.lstrip().startswith("BM25")] == [
            line for line in text.splitlines() if line.lstrip().startswith("BM25")
        ]

    def test_a_second_stage_that_fails_is_an_error_and_leaves_no_table(self, tmp_path: Path, judgments: Path) -> None:
        class BrokenReranker(FakeReranker):
            def score_pairs(self, pairs: Any, *, deadline: Any = None) -> Any:
                raise DeviceMemoryError("no memory left")

        with pytest.raises(DeviceMemoryError):
            run(tmp_path, judgments, reranker=BrokenReranker())
        memo = DemoMemo.read(tmp_path / "data")
        assert memo.corpus  # the index is complete
        assert memo.table is None

    def test_other_queries_are_measured_again(self, tmp_path: Path, judgments: Path) -> None:
        run(tmp_path, judgments)
        (judgments / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nb\ttextwrap.fill\t1\n")
        assert "Measured on an earlier run" not in run(tmp_path, judgments)

    def test_rebuild_indexes_and_measures_again(self, tmp_path: Path, judgments: Path) -> None:
        run(tmp_path, judgments)
        encoder = FakeEncoder()
        text = run(tmp_path, judgments, encoder=encoder, rebuild=True)
        assert encoder.encoded_count > 50
        assert "Measured on an earlier run" not in text

    @pytest.mark.parametrize("memory", ["kept", "lost"])
    def test_names_of_another_python_leave_the_index(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: str
    ) -> None:
        monkeypatch.setattr(sys, "stdlib_module_names", MODULES | {"colorsys", "getopt"})
        run(tmp_path, None)
        if memory == "lost":
            (tmp_path / "data" / FILE_NAME).unlink()
        monkeypatch.setattr(sys, "stdlib_module_names", MODULES)
        run(tmp_path, None)
        with SearchKit("stdlib", path=tmp_path / "data", encoder=FakeEncoder(), reranker=FakeReranker()) as kit:
            assert kit.get(["getopt.getopt"]) == []
            assert [passage.id for passage in kit.get(["shlex.quote"])] == ["shlex.quote"]

    def test_an_index_that_lost_passages_is_completed(self, tmp_path: Path) -> None:
        run(tmp_path, None)
        with SearchKit("stdlib", path=tmp_path / "data", encoder=FakeEncoder(), reranker=FakeReranker()) as kit:
            kit.delete(["shlex.quote"])
        encoder = FakeEncoder()
        run(tmp_path, None, encoder=encoder)
        assert encoder.encoded_count == 1

    def test_without_judgments_one_line_says_what_is_missing(self, tmp_path: Path) -> None:
        text = run(tmp_path, None)
        assert [line for line in text.splitlines() if "No table" in line] == [
            "No table: it needs judged queries (--judgments FOLDER, in a clone tests/data/stdlib)."
        ]
        assert "BM25 rank" in text

    def test_judgments_that_cannot_be_read_are_refused_before_anything_is_indexed(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError):
            run(tmp_path, tmp_path / "nowhere")
        assert not (tmp_path / "data").exists()

    def test_a_pipe_gets_no_control_characters(self, tmp_path: Path, judgments: Path) -> None:
        text = run(tmp_path, judgments)
        assert "\x1b" not in text
        assert "\r" not in text
