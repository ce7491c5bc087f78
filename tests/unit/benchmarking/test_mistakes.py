"""Judgments of what a model puts first: what is shown, and how they join what was judged before."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch")

from benchmarks.default_model.mistakes import Row, shown, take
from benchmarks.default_model.written import WrittenQuery

NAMES = [f"{number:012x}" for number in range(8)]
SHOWN = dict(zip("ABCDEFGH", NAMES, strict=True))


def row(right, partial="", wrong=""):
    return Row("query", "", *(frozenset(names.split()) for names in (right, partial, wrong)))


def test_two_judges_who_agree_add_up():
    assert row("a", "", "b c").with_second_opinion(row("a d", "e", "b f")) == row("a d", "e", "b c f")


def test_what_only_one_calls_right_is_right_in_part():
    assert row("a b", "", "c").with_second_opinion(row("b c", "", "a")) == row("b", "a c")


def test_a_query_keeps_the_right_passages_that_it_was_written_for():
    assert row("a", "", "b").with_second_opinion(row("b", "", "a")) == row("a", "b")
    assert row("a", "", "b").with_second_opinion(row("", "a", "b")) == row("a", "", "b")


def test_a_right_passage_is_shown_wherever_the_model_put_it():
    query = WrittenQuery("pool", "query", "", ("right",), (), ("wrong",))
    texts = shown(query, [*map(str, range(20)), "right"], ["near", "0"])
    assert texts == ["0", "1", "2", "3", "4", "near", "5", "right"]


def test_judgments_join_the_lines_they_belong_to_and_leave_the_others_alone(tmp_path):
    other = f"other\t\t{NAMES[1]} {NAMES[0]}\t\t{NAMES[2]}"
    (tmp_path / "apidocs.tsv").write_text(f"query\tcriteria\t{NAMES[0]}\t\t{NAMES[1]}\n{other}\n")
    facts = [{"query": "query", "criteria": "criteria", "file": "apidocs", "shown": SHOWN}]
    (tmp_path / "blocks.json").write_text(json.dumps(facts))
    lines = ["0\tAC\tD\t=\t=", "0\tE\t-\tnew words\t-", "0\tABCDE\t-\tanything\t-", "0\t-\tF\tnothing fits\t-"]
    (tmp_path / "judged.tsv").write_text("\n".join(lines))
    take(tmp_path, tmp_path)
    joined, kept, new = (tmp_path / "apidocs.tsv").read_text().splitlines()
    assert joined.split("\t") == [
        "query", "criteria", f"{NAMES[0]} {NAMES[2]}", NAMES[3], " ".join([NAMES[1], *NAMES[4:]]),
    ]  # fmt: skip
    assert kept == other
    assert new.split("\t") == ["new words", "", NAMES[4], "", " ".join(NAMES[:4] + NAMES[5:])]
