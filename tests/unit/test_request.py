"""Arguments are checked before any work starts, and the message says what to do."""

from __future__ import annotations

import math

import pytest

from searchkit.errors import ConfigError
from searchkit.request import MAX_QUERY_CHARS, SearchRequest, checked_request, checked_text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"top_k": 0}, r"top_k=0 .*whole number of 1 or more"),
        ({"top_k": -3}, r"top_k=-3 "),
        ({"top_k": "10"}, r"top_k='10' .*whole number"),
        ({"top_k": True}, r"top_k=True "),
        ({"top_k": 2.0}, r"top_k=2.0 "),
        ({"top_k": 60}, r"candidate_depth=50 is below top_k=60.*raise candidate_depth"),
        ({"candidate_depth": 0}, r"candidate_depth=0 "),
        ({"criteria": ""}, r"criteria='' "),
        ({"criteria": "   "}, r"criteria is empty"),
        ({"criteria": 7}, r"criteria=7 "),
        ({"min_score": 1.5}, r"min_score=1.5 .*between 0 and 1"),
        ({"min_score": math.nan}, r"min_score=nan "),
        ({"min_score": 0.5, "rerank": False}, r"min_score=0.5 needs rerank=True"),
        ({"deadline_s": 0.0}, r"deadline_s=0.0 .*seconds above 0"),
        ({"deadline_s": math.inf}, r"deadline_s=inf "),
        ({"mode": "bm25"}, r'mode=.bm25. .*"hybrid", "dense" or "sparse"'),
        ({"rerank": "yes"}, r"rerank='yes' "),
        ({"group_by": ""}, r"group_by='' "),
    ],
)
def test_a_bad_argument_is_named_with_its_value_and_the_mend(arguments, message):
    with pytest.raises(ConfigError, match=message):
        checked_request(arguments)


def test_a_long_bad_value_is_shortened_in_the_message():
    with pytest.raises(ConfigError) as caught:
        checked_request({"mode": "x" * 5000})
    assert len(str(caught.value)) < 300


def test_good_arguments_pass_through():
    request = checked_request({"top_k": 5, "candidate_depth": 5, "filter": {"a": 1}, "deadline_s": 1, "min_score": 0})
    assert request == SearchRequest(top_k=5, candidate_depth=5, filter={"a": 1}, deadline_s=1.0, min_score=0.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (" \n\t", "is empty"),
        (None, "must be a string, got NoneType"),
        (b"bytes", "must be a string, got bytes"),
        ("a" * (MAX_QUERY_CHARS + 1), "20,001 characters"),
        ("a\x00b", "NUL character at offset 1"),
        ("ab\ud800", r"lone surrogate '\\ud800' at offset 2"),
    ],
)
def test_unreadable_text_is_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        checked_text(text)


def test_unicode_text_passes_unchanged():
    assert checked_text("日本語 👩‍🚀 naïve") == "日本語 👩‍🚀 naïve"
