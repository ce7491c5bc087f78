from __future__ import annotations

import gzip
import json

import pytest

from searchkit.config import RerankerProfile
from searchkit.errors import ConfigError
from searchkit.training import LabelledPair, check_pairs, read_pairs, write_pairs, write_profile


def pair(query: str, passage: str, label: float) -> LabelledPair:
    return LabelledPair(sentence_0=query, sentence_1=passage, label=label)


GOOD = [pair("how are barbers paid", "by the hour", 1.0), pair("how are barbers paid", "with scissors", 0.0)]


def test_statistics_count_characters_and_queries():
    found = check_pairs(GOOD)
    assert (found.pair_count, found.query_count, found.positive_count) == (2, 1, 1)
    assert (found.sentence_1.shortest, found.sentence_1.mean, found.sentence_1.longest) == (11, 12, 13)
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], "no training pairs"),
        ([pair("q", "a", 0.0), pair("q", "b", 0.2)], "labelled irrelevant"),
        ([pair("q", "a", 1.0)], "labelled relevant"),
        ([*GOOD, pair("how are barbers paid", "by the hour", 0.0)], "has the labels"),
    ],
)
def test_pairs_that_cannot_teach_are_refused(pairs, message):
    with pytest.raises(ConfigError, match=message):
        check_pairs(pairs)


def test_an_evaluation_query_among_the_pairs_is_found_whatever_its_case_and_punctuation():
    with pytest.raises(ConfigError, match="1 evaluation queries are among"):
        check_pairs(GOOD, evaluation_queries=["How are  barbers PAID?"])
    check_pairs(GOOD, evaluation_queries=["how are nurses paid"])


def test_repeated_pairs_and_one_sided_queries_are_warned_about():
    found = check_pairs([*GOOD, GOOD[0], pair("another", "text", 0.0)])
    assert found.warnings == (
        "1 pairs occur more than once.",
        "1 of 2 queries have passages of one kind only; they teach little about order.",
    )


def test_jsonl_round_trip(tmp_path):
    path = tmp_path / "pairs.jsonl"
    assert write_pairs(GOOD, path) == 2
    assert read_pairs(path) == GOOD


def test_all_formats_give_the_same_pairs(tmp_path):
    rows = [item.model_dump() for item in GOOD]
    with gzip.open(tmp_path / "p.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps({**row, "note": "ignored"}) + "\n\n" for row in rows)
    lines = ["sentence_0,sentence_1,label", *(f"{r['sentence_0']},{r['sentence_1']},{r['label']:g}" for r in rows)]
    (tmp_path / "p.csv").write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    (tmp_path / "p.tsv").write_text("\n".join(line.replace(",", "\t") for line in lines), encoding="utf-8")
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / "p.parquet")
    for name in ("p.jsonl.gz", "p.csv", "p.tsv", "p.parquet"):
        assert read_pairs(tmp_path / name) == GOOD, name


def test_a_quotation_mark_in_a_table_of_tabs_is_a_character_and_a_long_field_is_read(tmp_path):
    rows = ['q\t"the unclosed\t1', "q\tanother\t0", f"q\t{'long ' * 40_000}\t0"]
    (tmp_path / "p.tsv").write_text("\n".join(["sentence_0\tsentence_1\tlabel", *rows]), encoding="utf-8")
    pairs = read_pairs(tmp_path / "p.tsv")
    assert [pair.label for pair in pairs] == [1, 0, 0]
    assert (pairs[0].sentence_1, len(pairs[2].sentence_1)) == ('"the unclosed', 200_000)


def test_a_broken_archive_and_a_place_that_cannot_be_written_are_said(tmp_path):
    (tmp_path / "p.jsonl.gz").write_bytes(gzip.compress(b"{}" * 99)[:12] + b"\xff" * 30)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_pairs(tmp_path / "p.jsonl.gz")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_pairs(GOOD, tmp_path / "absent" / "p.jsonl")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_profile(RerankerProfile(), tmp_path / "absent")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"sentence_0": "q", "sentence_1": "p"}', r"a\.jsonl:1: no label"),
        ("a.jsonl", '{"sentence_0": "q", "sentence_1": "p", "label": 0}\n{"x"', r"a\.jsonl:2: not JSON"),
        ("a.jsonl", "[1, 2]", "a JSON object is needed"),
        ("a.jsonl", '{"sentence_0": "q", "sentence_1": "p", "label": 3}', "label"),
        ("a.jsonl", '{"sentence_0": "q", "sentence_1": "", "label": 1}', "sentence_1"),
        ("a.jsonl", '{"sentence_0": 7, "sentence_1": "p", "label": 1}', "sentence_0"),
        ("a.csv", "sentence_0,sentence_1,label\nq,p,yes", "not a number between 0 and 1"),
        ("a.csv", "query,passage\nq,p", "no sentence_0 and no sentence_1 and no label"),
        ("a.parquet", "not parquet", "not a Parquet file"),
        ("a.xlsx", "", "read from"),
        ("a.jsonl", "[" * 100_000, r"a\.jsonl:1: not JSON"),
        ("a.jsonl", f'{{"sentence_0": "q", "sentence_1": "p", "label": 1{"0" * 400}}}', "not a number between 0 and 1"),
    ],
)
def test_a_damaged_file_is_refused_with_its_row(tmp_path, name, content, message):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        read_pairs(tmp_path / name)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.jsonl"):
        read_pairs(tmp_path / "nowhere.jsonl")
