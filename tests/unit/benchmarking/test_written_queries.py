"""The queries that were written for training: well-formed, kept apart from what measures, none of them judged."""

from __future__ import annotations

import json
import re
from pathlib import Path

TOP = Path(__file__).parents[3]
WRITTEN = TOP / "benchmarks/default_model/written"
DIGESTS = re.compile(r"([0-9a-f]{12}( [0-9a-f]{12})*)?")


def rows(folder):
    return [line.split("\t") for file in sorted(folder.glob("*.tsv")) for line in file.read_text().splitlines()]


def key(query, criteria):
    return f"{query} {criteria}".lower().rstrip(" .?")


def test_every_line_is_a_query_with_at_least_six_judged_passages():
    for row in rows(WRITTEN) + rows(WRITTEN / "held_out"):
        query, _criteria, right, partial, wrong = row
        assert len(query) > 5, row
        assert right, row
        assert all(DIGESTS.fullmatch(part) for part in (right, partial, wrong)), row
        judged = [*right.split(), *partial.split(), *wrong.split()]
        assert len(set(judged)) == len(judged) >= 6, row


def test_the_stories_are_told_around_queries_that_are_trained_on():
    stories = rows(WRITTEN / "around")
    assert len(stories) > 500
    assert all(len(row) == 2 and len(row[1].split()) >= 15 for row in stories)
    held_out = {key(query, "") for query, *_ in rows(WRITTEN / "held_out")}
    assert not held_out & {key(query, "") for query, _ in stories}


def test_what_measures_was_kept_from_training():
    trained = {key(*row[:2]) for row in rows(WRITTEN)}
    held_out = [key(*row[:2]) for row in rows(WRITTEN / "held_out")]
    assert len(held_out) > 500
    assert not trained & set(held_out)
    lines = (TOP / "tests/data/stdlib/queries.jsonl").read_text().splitlines()
    judged = {key(query["text"], query.get("criteria") or "") for query in map(json.loads, lines)}
    assert not trained & judged
