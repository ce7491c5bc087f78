"""The judged queries keep the promises of their README."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from searchkit.cli.stdlib import standard_library_passages

FOLDER = Path(__file__).parents[1] / "data" / "stdlib"
_FILLERS = {"and", "for", "from", "not", "the", "with"}


@pytest.fixture(scope="module")
def queries() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / "queries.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def judgments() -> list[tuple[str, str, int]]:
    header, *rows = (FOLDER / "qrels.tsv").read_text(encoding="utf-8").splitlines()
    assert header == "query-id\tcorpus-id\tscore"
    return [(query, name, int(grade)) for query, name, grade in (row.split("\t") for row in rows)]


@pytest.fixture(scope="module")
def modules() -> dict[str, str]:
    return {str(passage.id): passage.metadata["module"] for passage in standard_library_passages()}


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and len(word) > 3 else word


def _name_words(name: str) -> set[str]:
    """Words of the last part of a name: ``ThreadPoolExecutor`` has three."""
    last = name.rpartition(".")[2]
    spaced = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1 \2", re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", last))
    words = re.findall(r"[a-z0-9]+", spaced.lower().replace("_", " "))
    return {_singular(word) for word in words if len(word) > 2} - _FILLERS


def _gives_away(text: str, name: str) -> bool:
    """Whether the text holds a word of the name's last part, or that part holds a longer word of the text."""
    words = {_singular(word) for word in re.findall(r"[a-z0-9]+", text.lower())}
    last = name.rpartition(".")[2].lower()
    return bool(words & _name_words(name)) or any(len(word) >= 5 and word in last for word in words)


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("run a command", "subprocess.run", True),
        ("a pool of threads", "concurrent.futures.ThreadPoolExecutor", True),
        ("pending requests", "select.poll", False),
        ("expand a tilde", "os.path.expanduser", True),
        ("read the first line", "itertools.chain.from_iterable", False),
    ],
)
def test_a_word_of_the_last_name_part_gives_the_answer_away(text: str, name: str, expected: bool) -> None:
    assert _gives_away(text, name) is expected


def test_there_are_at_least_160_queries_and_45_with_criteria(queries: list[dict[str, Any]]) -> None:
    assert len(queries) >= 160
    assert sum("criteria" in query for query in queries) >= 45


def test_every_query_has_an_id_a_text_and_nothing_unknown(queries: list[dict[str, Any]]) -> None:
    assert len({query["_id"] for query in queries}) == len(queries)
    for query in queries:
        assert {"_id", "text"} <= set(query) <= {"_id", "text", "criteria"}
        for value in query.values():
            assert value == value.strip()
            assert value


def test_no_query_is_asked_twice(queries: list[dict[str, Any]]) -> None:
    asked = Counter((query["text"].lower(), query.get("criteria", "").lower()) for query in queries)
    assert [key for key, count in asked.items() if count > 1] == []


def test_every_query_is_judged_once_per_name_with_an_answer_among_them(
    queries: list[dict[str, Any]], judgments: list[tuple[str, str, int]]
) -> None:
    assert {grade for _, _, grade in judgments} == {1, 2}
    assert len({(query, name) for query, name, _ in judgments}) == len(judgments)
    ids = {query["_id"] for query in queries}
    assert {query for query, _, _ in judgments} == ids
    assert {query for query, _, grade in judgments if grade == 2} == ids


def test_the_same_text_under_other_criteria_has_another_answer(
    queries: list[dict[str, Any]], judgments: list[tuple[str, str, int]]
) -> None:
    answers: dict[str, dict[str, int]] = {}
    for query_id, name, grade in judgments:
        answers.setdefault(query_id, {})[name] = grade
    by_text: dict[str, list[dict[str, int]]] = {}
    for query in queries:
        by_text.setdefault(query["text"], []).append(answers[query["_id"]])
    repeated = [sets for sets in by_text.values() if len(sets) > 1]
    assert len(repeated) >= 25
    assert [sets for sets in repeated if len({frozenset(found.items()) for found in sets}) < len(sets)] == []


def test_answers_lie_in_at_least_65_modules(judgments: list[tuple[str, str, int]], modules: dict[str, str]) -> None:
    assert len({modules[name] for _, name, grade in judgments if grade == 2 and name in modules}) >= 65


def test_no_module_has_more_than_a_tenth_of_the_queries(
    judgments: list[tuple[str, str, int]], modules: dict[str, str], queries: list[dict[str, Any]]
) -> None:
    asked = Counter({(query, modules[name]) for query, name, grade in judgments if grade == 2 and name in modules})
    per_module = Counter(module for _, module in asked)
    assert per_module.most_common(1)[0][1] <= len(queries) / 10


def test_at_most_three_queries_in_ten_give_their_answer_away(
    queries: list[dict[str, Any]], judgments: list[tuple[str, str, int]]
) -> None:
    texts = {query["_id"]: query["text"] for query in queries}
    given = {query for query, name, grade in judgments if grade == 2 and _gives_away(texts[query], name)}
    assert len(given) / len(queries) <= 0.3


def test_every_judged_name_is_a_passage(judgments: list[tuple[str, str, int]], modules: dict[str, str]) -> None:
    unknown = sorted({name for _, name, _ in judgments if name not in modules})
    if sys.version_info[:2] == (3, 11) and sys.platform == "linux":
        assert unknown == []
    else:
        # Other versions have lost or not yet gained a few names; the demo drops those and says how many.
        assert len(unknown) <= 0.1 * len({name for _, name, _ in judgments})
