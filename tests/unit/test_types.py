"""Results tell the truth and stay as they are."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from pydantic import ValidationError

from searchkit import AddReport, Hit, Passage, SearchResult
from searchkit.types import Timings


def result(count: int = 3) -> SearchResult:
    hits = tuple(Hit(id=n, text=f"text {n}", rank=n + 1, score=1 / (n + 1)) for n in range(count))
    return SearchResult(hits=hits, query="q", status="retrieved")


def test_a_result_is_a_sequence_of_its_hits():
    found = result()
    assert isinstance(found, Sequence)
    assert len(found) == 3
    assert [hit.id for hit in found] == [0, 1, 2]
    assert found[0].rank == 1
    assert found[1:] == found.hits[1:]
    assert found[-1] in found
    assert found.index(found[1]) == 1


def test_a_result_survives_json():
    found = result()
    assert SearchResult.model_validate_json(found.model_dump_json()) == found


def test_an_empty_result_is_false_and_still_has_its_account():
    found = result(0)
    assert not found
    assert found.status == "retrieved"


def test_results_are_frozen_strict_and_closed():
    with pytest.raises(ValidationError, match="frozen"):
        result().query = "other"
    with pytest.raises(ValidationError, match="valid integer"):
        Hit(id=1, text="x", rank="1", score=0.5)
    with pytest.raises(ValidationError, match="Extra inputs"):
        Passage(text="x", lang="en")


def test_timings_are_read_by_attribute_and_by_stage_name():
    timings = Timings(encode=1.0, retrieve=2.0, rerank=3.0, total=6.5)
    assert timings["rerank"] == timings.rerank == 3.0
    with pytest.raises(KeyError):
        _ = timings["model_dump"]


def test_report_counts_default_to_nothing_done():
    counts = {"added": 0, "updated": 0, "unchanged": 0, "tokens_renewed": 0, "truncated_count": 0}
    assert AddReport().model_dump() == counts | {"skipped": (), "seconds": 0.0}
