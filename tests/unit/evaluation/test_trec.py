import gzip
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchkit.errors import ConfigError
from searchkit.evaluation import Run, ScoredPassage, read_qrels, read_run, write_qrels, write_run

ids = st.text(st.characters(blacklist_categories=("Cs", "Zs", "Zl", "Zp", "Cc")), min_size=1, max_size=6).filter(
    lambda text: text.split() == [text] and "\ufeff" not in text
)


@given(st.dictionaries(ids, st.dictionaries(ids, st.integers(-2, 3), min_size=1, max_size=4), min_size=1, max_size=4))
def test_qrels_come_back_as_they_were_written(tmp_path_factory, qrels):
    path = tmp_path_factory.mktemp("qrels") / "q.qrels"
    write_qrels(qrels, path)
    assert read_qrels(path) == qrels


@given(
    st.dictionaries(
        ids,
        st.lists(st.tuples(ids, st.floats(-1e6, 1e6)), min_size=1, max_size=6, unique_by=lambda row: row[0]),
        min_size=1,
        max_size=3,
    )
)
def test_a_run_is_read_in_the_order_it_was_written_in_whatever_its_scores(tmp_path_factory, rankings):
    path = tmp_path_factory.mktemp("runs") / "a.run"
    run = Run("a", {query_id: tuple(ScoredPassage(*row) for row in rows) for query_id, rows in rankings.items()})
    write_run(run, path)
    order = {query_id: [row.passage_id for row in rows] for query_id, rows in read_run(path).rankings.items()}
    assert order == {query_id: [row[0] for row in rows] for query_id, rows in rankings.items()}


def test_tools_that_sort_in_single_precision_keep_our_order(tmp_path):
    scores = [0.9, 0.9 - 1e-12, 0.9 - 2e-12, 0.1]
    write_run(Run("a", {"q": tuple(ScoredPassage(f"p{i}", s) for i, s in enumerate(scores))}), tmp_path / "a.run")
    written = [np.float32(line.split()[4]) for line in (tmp_path / "a.run").read_text().splitlines()]
    assert all(later < earlier for earlier, later in pairwise(written))


def test_a_run_keeps_its_scores_where_they_agree_with_its_order(tmp_path):
    write_run(Run("my run", {"q": (ScoredPassage("a", 0.75), ScoredPassage("b", 0.5))}), tmp_path / "a.run")
    assert (tmp_path / "a.run").read_text() == "q Q0 a 1 0.75 my-run\nq Q0 b 2 0.5 my-run\n"
    assert read_run(tmp_path / "a.run").name == "my-run"
    assert read_run(tmp_path / "a.run", name="x").name == "x"


def test_ties_of_a_file_are_ordered_as_trec_eval_orders_them(tmp_path):
    (tmp_path / "a.run").write_text("q Q0 a 1 1.0 t\nq Q0 b 2 1.0 t\nq Q0 c 3 2.0 t\n")
    assert [row.passage_id for row in read_run(tmp_path / "a.run").rankings["q"]] == ["c", "b", "a"]


def test_a_table_with_a_header_and_spaces_in_ids_is_read(tmp_path):
    (tmp_path / "q.tsv").write_text(
        "\ufeffquery-id\tcorpus-id\tscore\nq1\tmy file.txt\t2\nq1\tb\t0\n", encoding="utf-8"
    )
    assert read_qrels(tmp_path / "q.tsv") == {"q1": {"my file.txt": 2, "b": 0}}


def test_a_gzipped_file_is_read(tmp_path):
    with gzip.open(tmp_path / "q.tsv.gz", "wt") as file:
        file.write("q1 0 a 1\n\n")
    assert read_qrels(tmp_path / "q.tsv.gz") == {"q1": {"a": 1}}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no judgments"),
        ("query-id\tcorpus-id\tScore\n", "no judgments"),
        ("q1 0 d1 0.5\nq1 0 d2 1\n", ":1: 'q1 0 d1 0.5'"),
        ("q1 0 d1 x\nq1 0 d2 1\n", ":1:"),
        ("q a 1\nq b one\n", ":2: 'q b one'"),
        ("q a 1\nq b 0.5\n", ":2:"),
        ("q a\n", ":1:"),
        ("q a 1\nq a 2\n", "judged twice"),
    ],
)
def test_bad_qrels_are_refused_with_their_line(tmp_path, text, complaint):
    (tmp_path / "q").write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        read_qrels(tmp_path / "q")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no run"),
        ("q Q0 a 1 x t\n", ":1:"),
        ("q Q0 a 1 nan t\n", ":1:"),
        ("q Q0 a 1 1.0\n", ":1:"),
        ("q Q0 a 1 1.0 t\nq Q0 a 2 0.5 t\n", ":2: passage 'a' occurs twice"),
    ],
)
def test_bad_runs_are_refused_with_their_line(tmp_path, text, complaint):
    (tmp_path / "r").write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        read_run(tmp_path / "r")


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "latin").write_bytes(b"q a \xff\n")
    (tmp_path / "not.gz").write_bytes(b"plain")
    (tmp_path / "broken.gz").write_bytes(gzip.compress(b"q 0 a 1\n" * 99)[:12] + b"\xff" * 30)
    for name in ("absent", "latin", "not.gz", "broken.gz"):
        with pytest.raises(ConfigError, match=name):
            read_qrels(tmp_path / name)


@pytest.mark.parametrize("passage_id", ["my file.txt", "", "a\tb"])
def test_an_id_that_would_break_the_columns_is_refused(tmp_path, passage_id):
    with pytest.raises(ConfigError, match="white space"):
        write_run(Run("a", {"q": (ScoredPassage(passage_id, 1.0),)}), tmp_path / "a.run")
    with pytest.raises(ConfigError, match="white space"):
        write_qrels({"q": {passage_id: 1}}, tmp_path / "a.qrels")


def test_what_cannot_be_written_is_said(tmp_path):
    with pytest.raises(ConfigError, match="absent/q cannot be written"):
        write_qrels({"q": {"a": 1}}, tmp_path / "absent" / "q")
