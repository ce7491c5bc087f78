"""Windows cover the text, cut no token, and prefer good borders."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchkit.collection.windows import WindowPlan, split, stitch
from searchkit.stages import Window


def words(text):
    return [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)]


def characters(text):
    return [(index, index + 1) for index in range(len(text)) if not text[index].isspace()]


def pieces(text):
    """Tokens of up to three characters inside words, as WordPiece makes them."""
    return [
        (start, min(start + 3, match.end()))
        for match in re.finditer(r"\w+|[^\w\s]", text)
        for start in range(match.start(), match.end(), 3)
    ]


def bytes_of(text):
    """Byte tokens: a character of several bytes has several tokens with the same span."""
    return [(index, index + 1) for index, char in enumerate(text) for _ in char.encode()]


texts = st.text(st.sampled_from("abcdefgh .!?\n,é日👍\t"), min_size=0, max_size=300) | st.lists(
    st.text("abc", min_size=1, max_size=9), max_size=120
).map(" ".join)
plans = st.integers(4, 40).flatmap(lambda size: st.builds(WindowPlan, st.just(size), st.integers(0, size // 2)))


@pytest.mark.parametrize("tokens", [words, characters, pieces, bytes_of])
@given(text=texts, plan=plans)
def test_windows_cover_the_text_and_cut_no_token(tokens, text, plan):
    windows = split(text, tokens, plan)
    spans = tokens(text)
    assert [window.index for window in windows] == list(range(len(windows)))
    assert {window.count for window in windows} == {len(windows)}
    assert (windows[0].start, windows[-1].end) == (0, len(text))
    for before, after in itertools.pairwise(windows):
        assert before.start < after.start <= before.end
        assert before.end <= after.end
    for window in windows:
        inside = [span for span in spans if span[0] >= window.start and span[1] <= window.end]
        touched = [span for span in spans if span[0] < window.end and span[1] > window.start]
        assert inside == touched
        if tokens is not bytes_of:
            assert len(inside) <= plan.max_tokens
        elif len(inside) > plan.max_tokens:  # only if one character has more tokens than a window may
            assert len(set(inside)) == 1


@given(text=texts, plan=plans)
def test_stitching_gives_the_text_back(text, plan):
    windows = split(text, pieces, plan)
    parts = [(window, text[window.start : window.end]) for window in windows]
    assert stitch(parts) == text
    assert stitch(parts[::-1]) == text


@given(text=texts, plan=plans)
def test_splitting_is_deterministic(text, plan):
    assert split(text, pieces, plan) == split(text, pieces, plan)


def test_neighbours_share_about_the_overlap():
    text = " ".join(f"word{n}" for n in range(100))
    windows = split(text, words, WindowPlan(20, 5))
    for before, after in itertools.pairwise(windows):
        assert len(words(text[after.start : before.end])) == 5


def test_without_overlap_windows_touch():
    text = " ".join(f"word{n}" for n in range(50))
    windows = split(text, words, WindowPlan(10, 0))
    assert len(windows) == 5
    assert all(before.end == after.start for before, after in itertools.pairwise(windows))


def test_a_sentence_border_near_the_end_is_preferred():
    text = " ".join(["a b c d e f g."] * 10)
    windows = split(text, words, WindowPlan(30, 0))
    assert all(text[: window.end].rstrip().endswith(".") for window in windows)


def test_a_word_is_not_cut_between_its_tokens_if_it_can_be_helped():
    text = " ".join(["abcdefghi"] * 30)
    for window in split(text, pieces, WindowPlan(12, 3)):
        assert window.start == 0 or text[window.start - 1] == " "
        assert window.end == len(text) or " " in text[window.end - 1 : window.end + 1]


def test_one_endless_word_is_cut_between_tokens():
    windows = split("x" * 1000, pieces, WindowPlan(50, 10))
    assert len(windows) > 6
    assert all(window.start % 3 == 0 for window in windows)


def test_a_short_text_is_not_tokenized():
    def fail(text):
        raise AssertionError(text)

    assert split("short", fail, WindowPlan(10, 2)) == [Window(0, 1, 0, 5)]


def test_tokens_that_all_overlap_make_one_window():
    text = "x" * 100
    assert split(text, lambda text: [(0, len(text))] * 60, WindowPlan(10, 2)) == [Window(0, 1, 0, 100)]


@pytest.mark.parametrize("missing", [0, 1, 4])
def test_stitching_misses_no_missing_window(missing):
    text = " ".join(f"word{n}" for n in range(100))
    parts = [(window, text[window.start : window.end]) for window in split(text, words, WindowPlan(24, 4))]
    assert len(parts) == 5
    del parts[missing]
    with pytest.raises(ValueError, match="5 windows expected"):
        stitch(parts)


def test_stitching_refuses_windows_that_do_not_join():
    with pytest.raises(ValueError, match="does not join"):
        stitch([(Window(0, 2, 0, 3), "abc"), (Window(1, 2, 4, 6), "ef")])
