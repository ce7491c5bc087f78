import json
import os

import pytest

from searchkit.cli.sources import FilePassages, find_files


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(*paths, **arguments):
    passages = FilePassages(paths, **arguments)
    records = list(passages)
    return records, [(problem.place, problem.reason) for problem in passages.problems]


def test_folders_are_walked_in_order_and_other_files_are_counted(working_folder):
    for name in (
        "b.md",
        "a.txt",
        "sub/c.jsonl",
        "sub/d.csv",
        "pic.png",
        "x.png",
        "Makefile",
        ".hidden.md",
        ".git/e.md",
    ):
        (working_folder / "docs" / name).parent.mkdir(parents=True, exist_ok=True)
        (working_folder / "docs" / name).write_text("x")
    found = find_files([working_folder / "docs"])
    assert [path.relative_to(working_folder / "docs").as_posix() for path in found.files] == [
        "a.txt",
        "b.md",
        "sub/c.jsonl",
        "sub/d.csv",
    ]
    assert found.left_alone == {".png": 2, "no ending": 1, "hidden": 1}
    assert found.problems == []


def test_a_file_given_twice_is_read_once_and_a_path_that_is_not_there_is_a_problem(working_folder):
    (working_folder / "a.TXT").write_text("x")
    found = find_files([working_folder / "a.TXT", working_folder, working_folder / "absent"])
    assert [path.name for path in found.files] == ["a.TXT"]
    assert [(problem.place, problem.reason) for problem in found.problems] == [
        (str(working_folder / "absent"), "there is no such file or folder")
    ]


def test_the_id_of_a_text_is_its_path_however_it_was_named(working_folder):
    (working_folder / "docs").mkdir()
    file = working_folder / "docs" / "my file.txt"
    file.write_text("hello")
    for path in (file, file.relative_to(working_folder)):
        records, problems = read(path)
        assert records == [{"id": "docs/my file.txt", "text": "hello", "metadata": {"path": "docs/my file.txt"}}]
        assert problems == []


def test_a_file_outside_the_working_folder_keeps_its_whole_path(working_folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "a.md"
    other.write_text("x")
    assert read(other)[0][0]["id"] == other.as_posix()


def test_rows_of_jsonl_keep_their_ids_and_the_rest_is_metadata(working_folder):
    rows = [
        {"id": "a", "text": "one", "lang": "en", "metadata": {"year": 2020}},
        {"_id": 7, "text": "two"},
        {"text": "three"},
        "four",
    ]
    (working_folder / "f.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    records, problems = read(working_folder / "f.jsonl")
    assert problems == []
    assert [record["id"] for record in records] == ["a", 7, "f.jsonl:3", "f.jsonl:4"]
    assert records[0]["metadata"] == {"path": "f.jsonl", "lang": "en", "year": 2020}
    assert [record["text"] for record in records] == ["one", "two", "three", "four"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"text": ', "is no JSON"),
        ("[1, 2]", "is a list, not an object"),
        ('{"body": "x"}', "has no field 'text'"),
        ('{"text": ""}', "is empty"),
        ('{"text": " \\n"}', "is empty"),
        ('{"text": 5}', "is a string, not int"),
        ('{"text": "a\\u0000b"}', ""),
        ('{"text": "\\ud800"}', ""),
        ('{"text": "x", "id": [1]}', "an id is a string or an integer"),
        ('{"text": "x", "id": true}', "an id is a string or an integer"),
        ('{"text": "x", "id": "first"}', "the id 'first' was given before, at f.jsonl:1"),
        ("[" * 100_000, "is no JSON"),
        ('{"text": "x", "a": 1, "metadata": {"a": 2}}', "gives 'a' twice"),
    ],
)
def test_a_bad_row_is_left_out_with_its_line_and_reason(working_folder, line, reason):
    (working_folder / "f.jsonl").write_text('{"text": "good", "id": "first"}\n' + line + '\n{"text": "also good"}\n')
    records, problems = read(working_folder / "f.jsonl")
    assert [record["text"] for record in records] == ["good", "also good"]
    assert [place for place, _ in problems] == ["f.jsonl:2"]
    assert reason in problems[0][1]


def test_rows_of_csv_take_their_text_from_the_column_named(working_folder):
    (working_folder / "f.csv").write_text('\ufeffid,answer,lang\nx,"two\nlines",en\n,three,de\n', encoding="utf-8")
    records, problems = read(working_folder / "f.csv", text_column="answer")
    assert problems == []
    assert records == [
        {"id": "x", "text": "two\nlines", "metadata": {"path": "f.csv", "lang": "en"}},
        {"id": "f.csv:4", "text": "three", "metadata": {"path": "f.csv", "lang": "de"}},
    ]


def test_a_csv_without_the_column_says_which_there_are(working_folder):
    (working_folder / "f.csv").write_text("q,a\n1,2\n")
    assert read(working_folder / "f.csv") == (
        [],
        [("f.csv", "has no column 'text': name one of 'q', 'a' with --text-column")],
    )


def test_a_row_with_other_cells_than_the_header_is_left_out(working_folder):
    (working_folder / "f.csv").write_text("id,text\na,one\nb\nc,three,more\nd,four\n")
    records, problems = read(working_folder / "f.csv")
    assert [record["id"] for record in records] == ["a", "d"]
    assert [place for place, _ in problems] == ["f.csv:3", "f.csv:4"]


def test_a_long_cell_is_read(working_folder):
    (working_folder / "f.csv").write_text("text\n" + "word " * 100_000 + "\n")
    assert len(read(working_folder / "f.csv")[0]) == 1


@pytest.mark.parametrize("ending", [".txt", ".md", ".jsonl", ".csv"])
def test_empty_and_undecodable_files_are_problems(working_folder, ending):
    (working_folder / f"empty{ending}").write_text("\n" if ending != ".csv" else "")
    (working_folder / f"latin{ending}").write_bytes(b'"text"\n\xff\xfe')
    records, problems = read(working_folder / f"empty{ending}", working_folder / f"latin{ending}")
    assert records == []
    reasons = dict(problems)
    assert reasons[f"empty{ending}"] == "is empty"
    assert "is not UTF-8" in reasons[f"latin{ending}"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_a_problem(working_folder):
    (working_folder / "a.txt").write_text("x")
    (working_folder / "a.txt").chmod(0)
    assert read(working_folder / "a.txt")[1] == [("a.txt", "cannot be read: Permission denied")]


def test_a_file_that_vanished_is_a_problem(working_folder):
    records, problems = read(working_folder / "gone.txt", working_folder / "gone.csv")
    assert records == []
    assert [reason for _, reason in problems] == ["cannot be read: No such file or directory"] * 2


def test_the_length_is_what_a_progress_bar_needs(working_folder):
    (working_folder / "a.txt").write_text("x\ny\n")
    (working_folder / "b.jsonl").write_text('{"text": "1"}\n{"text": "2"}\n')
    assert len(FilePassages([working_folder / "a.txt", working_folder / "b.jsonl", working_folder / "gone.csv"])) == 4
