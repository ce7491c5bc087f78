"""The notebooks' two forms say the same, and every notebook keeps what its kind promises. nbmake runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

jupytext = pytest.importorskip("jupytext")

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SOURCES = sorted(EXAMPLES.glob("0*.py"))


def test_there_are_eight_notebooks_and_each_has_a_source() -> None:
    assert len(SOURCES) == 8
    assert sorted(path.stem for path in EXAMPLES.glob("*.ipynb")) == [path.stem for path in SOURCES]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_notebook_equals_its_source_and_carries_no_outputs(source: Path) -> None:
    notebook = json.loads(source.with_suffix(".ipynb").read_text(encoding="utf-8"))
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]
    wanted = [(cell.cell_type, cell.source) for cell in jupytext.read(source).cells]
    assert cells == wanted, f"run: jupytext --to ipynb {source.name}"
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook["cells"])


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_notebook_opens_with_what_one_will_know_and_ends_with_a_measured_result_that_is_asserted(
    source: Path,
) -> None:
    cells = jupytext.read(source).cells
    assert "At the end you will" in cells[0].source
    *_, heading, last = cells
    assert heading.cell_type == "markdown"
    assert "easured result" in heading.source
    assert "print(" in last.source
    assert "assert " in last.source
