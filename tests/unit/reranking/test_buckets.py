"""Batches of fixed shapes: they hold the batch, every row has an owner, and nothing is longer than its shape says."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from searchkit.reranking.engines.buckets import Bucket, fill, flatten, full_runs, smallest_bucket
from searchkit.reranking.packing import TokenPair, length_classes, pack, select

lengths_of_pairs = st.lists(st.integers(1, 512), min_size=1, max_size=120)


def batch_of(lengths):
    ids = np.arange(sum(lengths), dtype=np.int32) + 7
    places = np.cumsum([0, *lengths])
    return pack([TokenPair(ids[a:b], ids[a:b] % 2) for a, b in itertools.pairwise(places)])


@settings(deadline=None)
@given(lengths_of_pairs, st.sampled_from([128, 300, 512]))
def test_a_filled_batch_has_the_buckets_shape_and_begins_with_the_batch(lengths, limit):
    lengths = [min(length, limit) for length in lengths]
    batch = batch_of(lengths)
    bucket = smallest_bucket(len(batch.ids), len(batch), max(lengths), limit)
    if bucket is None:
        assert sum(lengths) > 30000
        return
    filled = fill(batch, bucket)
    assert (len(filled.ids), len(filled), int(filled.starts[-1])) == (bucket.tokens, bucket.pairs, bucket.tokens)
    assert filled.lengths.min() >= 1
    assert filled.lengths.max() <= bucket.longest <= limit
    assert np.array_equal(filled.ids[: len(batch.ids)], batch.ids)
    assert np.array_equal(filled.starts[: len(batch.starts)], batch.starts)
    assert bucket.tokens % 512 == 0
    assert {part.dtype for part in (filled.ids, filled.type_ids, filled.starts)} == {np.dtype(np.int32)}


def test_a_bucket_is_the_bucket_of_a_batch_that_fills_it():
    bucket = smallest_bucket(11_300, 100, 200)
    assert bucket == Bucket(11_776, 128, 256)
    assert smallest_bucket(bucket.tokens, bucket.pairs, bucket.longest) == bucket


def test_what_is_too_long_too_large_or_too_many_has_no_bucket():
    assert smallest_bucket(600, 1, 513) is None
    assert smallest_bucket(32_768, 129, 512) is None
    assert smallest_bucket(5_000, 5_000, 1) is None


def test_spare_rows_without_room_for_their_owners_take_a_bucket_of_more_sequences():
    assert smallest_bucket(1, 8, 1).pairs == 16
    assert smallest_bucket(513, 7, 128).pairs == 16, "one dummy cannot own 511 rows where 128 is the longest"


@settings(deadline=None)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=400))
def test_runs_fit_the_bucket_and_cover_every_sequence_once(lengths):
    bucket = Bucket(1024, 32, 300)
    batch = batch_of(lengths)
    runs = full_runs(lengths, bucket)
    assert [place for run in runs for place in range(len(lengths))[run]] == list(range(len(lengths)))
    for run in runs:
        filled = fill(select(batch, np.arange(len(lengths))[run]), bucket)
        assert (len(filled.ids), len(filled)) == (1024, 32)
        assert 1 <= filled.lengths.min() <= filled.lengths.max() <= 300


def test_a_guard_has_the_length_it_is_given():
    filled = fill(batch_of([3, 9]), Bucket(12 + 64 + 5, 8, 64), guard=64)
    assert filled.lengths.tolist() == [3, 9, 64, 1, 1, 1, 1, 1]


def test_a_flat_batch_holds_ids_positions_types_and_starts():
    flat = flatten(batch_of([2, 3]), 2, has_type_ids=True)
    assert flat.dtype == np.int32
    assert flat.tolist() == [7, 8, 9, 10, 11, 2, 3, 2, 3, 4, 1, 0, 1, 0, 1, 0, 2, 5]
    assert flatten(batch_of([2, 3]), 0, has_type_ids=False)[10:15].tolist() == [0] * 5


def test_selected_pairs_keep_their_ids():
    batch = batch_of([2, 3, 4])
    assert select(batch, np.array([2, 0])).ids.tolist() == [12, 13, 14, 15, 7, 8]


@given(st.lists(st.integers(1, 200), min_size=1), st.sampled_from([1, 16]))
def test_a_class_holds_pairs_of_like_length_and_every_pair_is_in_one(lengths, step):
    classes = length_classes(np.array(lengths), step)
    assert sorted(np.concatenate(classes).tolist()) == list(range(len(lengths)))
    for rows in classes:
        sizes = [lengths[row] for row in rows]
        assert max(sizes) - min(sizes) < step
        assert rows.tolist() == sorted(rows)
