"""Every Python block of the README and the guides runs as printed, and prints what the page says it prints."""

from __future__ import annotations

import contextlib
import importlib.util
import io
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


def test_the_measured_table_is_the_one_in_the_results():
    spec = importlib.util.spec_from_file_location("tables", TOP / "benchmarks" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    assert tables.demo_table(tables.newest("demo")) in (TOP / "README.md").read_text(encoding="utf-8")


def test_readme_shows_code_and_its_output_within_25_lines():
    text = (TOP / "README.md").read_text(encoding="utf-8")
    block = BLOCK.search(text)
    assert block is not None
    assert block.group(2), "the first example must show what it prints"
    assert text[: block.end()].count("\n") <= 25
