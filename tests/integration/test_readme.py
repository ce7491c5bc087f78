"""Every Python block of the README and the guides runs as printed, and prints what the page says it prints."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import re
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
PAGES = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n?```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
# A block with this comment shows code for a machine that the tests do not have (a server, a GPU).
NOT_RUN = "# not run by the tests"


def pages_with_blocks():
    return [page for page in PAGES if page.exists() and BLOCK.search(page.read_text(encoding="utf-8"))]


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_with_blocks(), ids=lambda page: page.name)
def test_blocks_of_a_page_run_in_order_and_print_what_is_shown(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for code, shown in BLOCK.findall(page.read_text(encoding="utf-8")):
        if NOT_RUN in code:
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, str(page), "exec"), names)
        if shown:
            assert printed.getvalue().strip() == shown.strip(), code


@pytest.fixture
def tables(monkeypatch):
    monkeypatch.syspath_prepend(TOP / "benchmarks")
    spec = importlib.util.spec_from_file_location("tables", TOP / "benchmarks" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_measured_tables_are_those_in_the_results(tables):
    pages = [page.read_text(encoding="utf-8") for page in tables.PAGES]
    for page in pages:
        assert tables.filled(page) == page, "run: python benchmarks/tables.py --write"
    for benchmark, table in tables.TABLES.items():
        places = [page for page in pages if f"<!-- table: {benchmark} -->" in page]
        assert places, f"no page has a place for {benchmark}"
        numbers = tables.newest(benchmark)
        assert numbers is None or all(table(numbers) in page for page in places)


def test_tables_are_renewed_from_the_newest_result_and_keep_their_place(tables, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "FOLDER", tmp_path)
    page = "before\n<!-- table: frameworks -->\nold\n<!-- end of table -->\nafter\n"
    assert tables.filled(page) == page, "without a result nothing is known better"
    row = {
        "stack": "LangChain, defaults", "ndcg_at_10": 0.25, "p50_ms": 60.4, "time_ratio": 0.071,
        "candidates_reranked": 4, "scores_kept": False,
    }  # fmt: skip
    for date, ndcg in (("2026-01-02", 0.25), ("2026-01-01", 0.9)):
        numbers = {"date": date, "queries": 30, "passages": 7461, "rows": [{**row, "ndcg_at_10": ndcg}]}
        (tmp_path / f"frameworks-{date}.json").write_text(json.dumps(numbers), encoding="utf-8")
    again = tables.filled(page)
    assert (
        "| LangChain, defaults | 0.250 | 60 | 0.07 | 4 | no |\n\n30 judged questions over 7,461 passages.\n<!-- end"
        in again
    )
    assert again.startswith("before\n<!-- table: frameworks -->\n| two stages |")
    assert tables.filled(again) == again


def test_readme_shows_code_and_its_output_within_25_lines():
    text = (TOP / "README.md").read_text(encoding="utf-8")
    block = BLOCK.search(text)
    assert block is not None
    assert block.group(2), "the first example must show what it prints"
    assert text[: block.end()].count("\n") <= 25
