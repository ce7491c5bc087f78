from __future__ import annotations

import tracemalloc
from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchkit.reranking.score_cache import ENTRY_BYTES, CachedScore, PairScoreCache, pair_keys

texts = st.text(max_size=6)


def score(number: float) -> CachedScore:
    return CachedScore(number, 0, 0, "engine")


@given(st.lists(st.tuples(texts, texts, texts), max_size=20))
def test_keys_are_equal_exactly_for_equal_model_query_and_text(asked):
    keys = [pair_keys(model, [(query, text)])[0] for model, query, text in asked]
    for one, key in zip(asked, keys, strict=True):
        for other, other_key in zip(asked, keys, strict=True):
            assert (key == other_key) == (one == other)


def test_moving_a_border_between_the_parts_changes_the_key():
    assert (
        len({*pair_keys("m", [("ab", "c"), ("a", "bc"), ("", "abc"), ("abc", "")]), *pair_keys("ma", [("b", "c")])})
        == 5
    )


def test_a_lone_surrogate_has_a_key_of_its_own():
    assert len(set(pair_keys("m", [("q", "\ud800"), ("q", "\ud801"), ("q", "?")]))) == 3


@given(st.lists(st.tuples(st.sampled_from("fs"), st.integers(0, 12)), max_size=80), st.integers(0, 6))
def test_the_cache_behaves_as_a_least_recently_used_map(steps, capacity):
    cache = PairScoreCache(capacity * ENTRY_BYTES + 7)
    model: OrderedDict[bytes, CachedScore] = OrderedDict()
    for number, (step, name) in enumerate(steps):
        key = bytes([name])
        if step == "f":
            assert cache.find([key]) == [model.get(key)]
        else:
            cache.store([(key, score(number))])
            model[key] = score(number)
        if key in model:
            model.move_to_end(key)
        while len(model) > capacity:
            model.popitem(last=False)
        assert len(cache) == len(model)
        assert cache.size_bytes <= capacity * ENTRY_BYTES
    assert cache.find([bytes([name]) for name in range(13)]) == [model.get(bytes([name])) for name in range(13)]


def test_what_was_just_found_outlives_what_was_not():
    cache = PairScoreCache(2 * ENTRY_BYTES)
    cache.store([(b"old", score(1)), (b"older", score(2))])
    cache.find([b"old"])
    cache.store([(b"new", score(3))])
    assert cache.find([b"old", b"older", b"new"]) == [score(1), None, score(3)]


def test_clearing_forgets_everything():
    cache = PairScoreCache(2**20)
    cache.store([(b"key", score(1))])
    cache.clear()
    assert cache.find([b"key"]) == [None]


@pytest.mark.parametrize("count", [2_000, 20_000])
def test_entries_take_no_more_memory_than_they_are_counted_for(count):
    keys = pair_keys("model", [("query", str(number)) for number in range(count)])
    engine = "engine"
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    cache = PairScoreCache(count * ENTRY_BYTES)
    cache.store(
        (bytes(bytearray(key)), CachedScore(number + 0.5, number % 3, number % 2, engine))
        for number, key in enumerate(keys)
    )
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len(cache) == count
    assert taken / count < ENTRY_BYTES * 1.1
