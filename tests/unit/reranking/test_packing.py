from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchkit.models.batching import token_budget_batches
from searchkit.models.tokenizer import Padding
from searchkit.reranking.packing import PairTemplate, TokenPair, compose, compose_all, kept_lengths, pack

BERT = PairTemplate((2,), (3,), (3,), (0,), (0,), (1,), 0, 1)
lengths = st.integers(0, 700)


def ids(count: int, first: int = 100) -> np.ndarray:
    return np.arange(first, first + count, dtype=np.int32)


@given(lengths, lengths, st.integers(2, 600))
def test_truncation_keeps_all_that_fits_and_fills_the_room_exactly_otherwise(first, second, room):
    kept_first, kept_second = kept_lengths(first, second, room)
    assert 0 <= kept_first <= first
    assert 0 <= kept_second <= second
    assert kept_first + kept_second == min(first + second, room)


@given(lengths, lengths, st.integers(2, 600))
def test_truncation_never_cuts_the_shorter_text_below_half_the_room(first, second, room):
    kept_first, kept_second = kept_lengths(first, second, room)
    if kept_first < first:
        assert kept_first >= min(kept_second, room // 2)
    if kept_second < second:
        assert kept_second >= min(kept_first, room // 2)


@given(lengths, lengths, st.integers(5, 600))
def test_a_composed_pair_is_the_two_heads_between_the_special_tokens(first, second, max_length):
    pair = compose(BERT, ids(first), ids(second, 1000), max_length)
    kept_first, kept_second = kept_lengths(first, second, max_length - 3)
    expected = [2, *ids(first)[:kept_first], 3, *ids(second, 1000)[:kept_second], 3]
    assert pair.ids.tolist() == expected
    assert pair.type_ids.tolist() == [0] * (kept_first + 2) + [1] * (kept_second + 1)
    assert (pair.truncated_tokens, pair.query_truncated_tokens) == (second - kept_second, first - kept_first)
    assert pair.ids.dtype == pair.type_ids.dtype == np.int32


ROBERTA = PairTemplate((0,), (2, 2), (2,), (0,), (0, 0), (0,))
BARE = PairTemplate((), (9,), (), (), (0,), (), 0, 1)


@given(st.sampled_from([BERT, ROBERTA, BARE]), st.lists(st.tuples(lengths, lengths), max_size=12), st.integers(6, 600))
def test_pairs_composed_together_are_those_composed_alone(template, sizes, max_length):
    pairs = [(ids(first), ids(second, 1000)) for first, second in sizes]
    together = compose_all(template, pairs, max_length)
    assert len(together) == len(pairs)
    for found, (first, second) in zip(together, pairs, strict=True):
        kept_first, kept_second = kept_lengths(len(first), len(second), max_length - template.special_count)
        middle = [*template.middle, *second[:kept_second], *template.suffix]
        assert found.ids.tolist() == [*template.prefix, *first[:kept_first], *middle]
        second_types = [*template.middle_types, *[template.second_type] * kept_second, *template.suffix_types]
        assert found.type_ids.tolist() == [*template.prefix_types, *[template.first_type] * kept_first, *second_types]
        assert found.truncated_tokens == len(second) - kept_second
        assert found.query_truncated_tokens == len(first) - kept_first


@given(st.lists(st.integers(0, 600), max_size=60), st.integers(1, 2048))
def test_batches_hold_every_item_once_and_stay_within_the_budget(sizes, budget):
    batches = token_budget_batches(sizes, budget)
    assert sorted(int(index) for batch in batches for index in batch) == list(range(len(sizes)))
    for batch in batches:
        longest = max(sizes[index] for index in batch)
        assert len(batch) == 1 or longest * len(batch) <= budget


@given(st.lists(st.integers(0, 600), max_size=60), st.integers(1, 2048))
def test_batches_go_from_long_to_short_and_keep_equal_lengths_in_order(sizes, budget):
    order = [int(index) for batch in token_budget_batches(sizes, budget) for index in batch]
    assert order == sorted(range(len(sizes)), key=lambda index: -sizes[index])


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.sampled_from(["left", "right"]))
def test_padding_puts_each_pair_back_where_it_was(sizes, side):
    pairs = [TokenPair(ids(size, 10 * index + 1), ids(size) % 2) for index, size in enumerate(sizes)]
    batch = pack(pairs)
    assert len(batch) == len(sizes)
    padded, mask, types = batch.padded(Padding(token_id=-1, type_id=-2, side=side))
    assert padded.shape == mask.shape == types.shape == (len(sizes), max(sizes))
    assert mask.sum(axis=1).tolist() == sizes
    for row, pair in enumerate(pairs):
        assert padded[row][mask[row] == 1].tolist() == pair.ids.tolist()
        assert types[row][mask[row] == 1].tolist() == pair.type_ids.tolist()
        edge = mask[row][-1] if side == "left" else mask[row][0]
        assert edge == 1
    assert (padded[mask == 0] == -1).all()
    assert (types[mask == 0] == -2).all()


@pytest.mark.parametrize(
    ("lengths", "limit", "width"), [((5, 17), None, 32), ((16,), None, 16), ((17,), 24, 24), ((30,), 24, 30)]
)
def test_a_batch_can_be_padded_to_a_multiple(lengths, limit, width):
    batch = pack([TokenPair(np.ones(length, dtype=np.int32), np.zeros(length, dtype=np.int32)) for length in lengths])
    ids, mask, type_ids = batch.padded(Padding(token_id=9), multiple=16, limit=limit)
    assert ids.shape == mask.shape == type_ids.shape == (len(lengths), width)
    assert mask.sum(axis=1).tolist() == list(lengths)
    assert (ids[mask == 0] == 9).all()
