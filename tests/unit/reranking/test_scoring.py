from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest

from searchkit.deadline import Deadline
from searchkit.errors import DeviceMemoryError, RerankError
from searchkit.reranking.engines.base import OutOfMemoryError
from searchkit.reranking.packing import TokenBatch, TokenPair
from searchkit.reranking.scoring import Pace, score


class CountingEngine:
    """Scores a pair by its first token id; records batch sizes, has a memory and takes its time."""

    name = "counting"
    token_budget = 1000
    lanes = 1

    def __init__(self, *, memory_tokens: float = np.inf, seconds_per_token: float = 0.0) -> None:
        self.memory_tokens = memory_tokens
        self.seconds_per_token = seconds_per_token
        self.batches: list[list[int]] = []

    def run(self, batches: Sequence[TokenBatch]) -> list[np.ndarray]:
        return [self.run_one(batch) for batch in batches]

    def run_one(self, batch: TokenBatch) -> np.ndarray:
        tokens = int(batch.lengths.max()) * len(batch)
        if tokens > self.memory_tokens:
            raise OutOfMemoryError(f"{tokens} tokens")
        time.sleep(tokens * self.seconds_per_token)
        self.batches.append(batch.lengths.tolist())
        return batch.ids[batch.starts[:-1]].astype(np.float32)


def pairs_of(*lengths: int) -> list[TokenPair]:
    return [
        TokenPair(np.full(length, index, dtype=np.int32), np.zeros(length, dtype=np.int32))
        for index, length in enumerate(lengths)
    ]


def test_scores_come_back_in_the_order_given_whatever_the_batches():
    engine = CountingEngine()
    logits = score(engine, pairs_of(5, 50, 20, 5, 7), token_budget=60, deadline=Deadline(), pace=Pace())
    assert logits.tolist() == [0, 1, 2, 3, 4]
    assert engine.batches == [[50], [20, 7, 5], [5]]


def test_a_small_call_is_split_so_that_no_lane_is_idle():
    engine = CountingEngine()
    engine.lanes = 4
    logits = score(engine, pairs_of(*[100] * 8), token_budget=800, deadline=Deadline(), pace=Pace())
    assert logits.tolist() == list(range(8))
    assert engine.batches == [[100, 100]] * 4


def test_an_engine_of_one_lane_gets_a_call_of_uneven_pairs_in_one_batch():
    engine = CountingEngine()
    score(engine, pairs_of(200, 20, 20), token_budget=800, deadline=Deadline(), pace=Pace())
    assert engine.batches == [[200, 20, 20]]


def test_a_call_is_not_split_into_batches_too_small_to_pay():
    engine = CountingEngine()
    engine.lanes = 64
    score(engine, pairs_of(*[16] * 32), token_budget=800, deadline=Deadline(), pace=Pace())
    assert engine.batches == [[16] * 8] * 4


def test_no_pairs_need_no_engine():
    engine = CountingEngine()
    assert score(engine, [], token_budget=60, deadline=Deadline(), pace=Pace()).shape == (0,)
    assert engine.batches == []


def test_running_out_of_memory_halves_the_batches_and_scores_everything():
    engine = CountingEngine(memory_tokens=100)
    logits = score(engine, pairs_of(*[10] * 64), token_budget=640, deadline=Deadline(), pace=Pace())
    assert logits.tolist() == list(range(64))
    assert all(len(batch) <= 10 for batch in engine.batches[-7:])


def test_a_pair_that_never_fits_is_a_device_memory_error():
    with pytest.raises(DeviceMemoryError, match="single pair of 200 tokens"):
        score(CountingEngine(memory_tokens=100), pairs_of(10, 200), token_budget=640, deadline=Deadline(), pace=Pace())


def test_a_value_that_is_not_finite_names_the_first_such_pair():
    pairs = pairs_of(5, 6, 7, 8)
    engine = CountingEngine()
    run = engine.run_one
    engine.run_one = lambda batch: np.where(run(batch) >= 2, np.nan, 0).astype(np.float32)  # type: ignore[method-assign]
    with pytest.raises(RerankError, match="pair 2 "):
        score(engine, pairs, token_budget=100, deadline=Deadline(), pace=Pace())


def test_with_a_deadline_the_head_of_the_order_given_is_scored_and_the_tail_is_nan():
    engine = CountingEngine(seconds_per_token=0.0002)
    started = time.monotonic()
    logits = score(engine, pairs_of(*[100] * 60), token_budget=1000, deadline=Deadline.after(0.3), pace=Pace())
    assert time.monotonic() - started < 0.4
    scored = int(np.isfinite(logits).sum())
    assert 3 <= scored < 60
    assert logits[:scored].tolist() == list(range(scored))
    assert np.isnan(logits[scored:]).all()


def test_a_deadline_that_is_over_runs_nothing():
    engine = CountingEngine()
    logits = score(engine, pairs_of(5, 6), token_budget=100, deadline=Deadline.after(0), pace=Pace())
    assert np.isnan(logits).all()
    assert engine.batches == []


def test_a_slow_engine_is_not_started_when_it_could_not_end_in_time():
    pace = Pace()
    pace.record(tokens=100, seconds=10.0)
    engine = CountingEngine(seconds_per_token=0.002)
    logits = score(engine, pairs_of(*[100] * 5), token_budget=1000, deadline=Deadline.after(0.25), pace=pace)
    assert engine.batches == [[100]], "the first pair is tried all the same, or the pace would never be known again"
    assert np.isnan(logits[1:]).all()


def test_the_pace_is_a_running_mean_and_nothing_is_promised_after_the_end():
    pace = Pace()
    assert pace.tokens_within(1.0) == 512
    pace.record(1000, 1.0)
    assert pace.tokens_within(1.0) == pytest.approx(800)
    pace.record(2000, 1.0)
    assert pace.tokens_within(1.0) == pytest.approx(0.8 * 1300)
    assert pace.tokens_within(0.0) == 0.0
    assert pace.tokens_within(np.inf) == np.inf
