"""Tiles: of one shape whatever is in them, and scores that are the same to the last bit whatever lies beside a pair."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchkit.reranking import CrossEncoderReranker
from searchkit.reranking.engines.tiles import InvariantEngine, PackedTiling, PaddedTiling
from tests.unit.reranking.test_buckets import batch_of


@settings(deadline=None)
@given(st.lists(st.integers(1, 1000), min_size=1, max_size=150), st.sampled_from([8, 40, 512, 1000, 8192]))
def test_packed_tiles_are_of_one_shape_and_hold_every_pair_once(lengths, longest):
    batch = batch_of([min(length, longest) for length in lengths])
    tiling = PackedTiling(longest)
    tiles = tiling.cut(batch)
    shapes = {(len(tile.batch.ids), len(tile.batch), int(tile.batch.lengths.max())) for tile in tiles}
    assert len(shapes | {(len(one.batch.ids), len(one.batch), longest) for one in tiling.cut(batch_of([1]))}) == 1
    assert np.concatenate([tile.rows for tile in tiles]).tolist() == list(range(len(lengths)))
    for tile in tiles:
        assert tile.batch.lengths.min() >= 1
        assert tile.batch.lengths[: len(tile.rows)].tolist() == batch.lengths[tile.rows].tolist()


@given(st.lists(st.integers(1, 100), min_size=1, max_size=60), st.sampled_from([1, 16]))
def test_padded_tiles_are_as_wide_as_each_pairs_own_length_says(lengths, step):
    batch = batch_of(lengths)
    tiles = PaddedTiling(4, step, 100).cut(batch)
    assert sorted(np.concatenate([tile.rows for tile in tiles]).tolist()) == list(range(len(lengths)))
    for tile in tiles:
        width = int(tile.batch.lengths.max())
        assert len(tile.batch) == 4
        assert {min(-(-lengths[row] // step) * step, 100) for row in tile.rows} == {width}


class Ones:
    """An engine that returns each pair's first id."""

    name, token_budget, lanes = "ones", 64, 3

    def run(self, batches):
        return [batch.ids[batch.starts[:-1]].astype(np.float32) for batch in batches]


def test_an_engine_in_tiles_returns_each_batchs_logits_in_order():
    engine = InvariantEngine(Ones(), PaddedTiling(4, 1, 64))
    batches = [batch_of([3, 5, 3, 3, 3, 3]), batch_of([2])]
    assert [found.tolist() for found in engine.run(batches)] == [found.tolist() for found in Ones().run(batches)]
    assert (engine.name, engine.lanes) == ("ones batch-invariant", 3)
    assert engine.token_budget == 256


WORDS = ["how", "many", "people", "live", "in", "berlin", "word", "the", "population", "of", "a", "city"]


def drawn(count, seed):
    chance = random.Random(seed)
    return [
        (" ".join(chance.choices(WORDS, k=5)), " ".join(chance.choices(WORDS, k=chance.randint(1, 90))))
        for _ in range(count)
    ]


@pytest.mark.parametrize(
    ("architecture", "engine", "name"),
    [
        ("bert", "onnx", "onnx fp32 cpu batch-invariant"),
        ("bert", "torch", "torch fp32 cpu batch-invariant"),
        ("deberta-v2", "torch", "torch fp32 cpu batch-invariant"),
    ],
)
def test_batch_invariant_scores_are_the_same_whatever_lies_beside_a_pair(
    cross_encoder_folder, architecture, engine, name
):
    folder = cross_encoder_folder(architecture)
    reranker = CrossEncoderReranker(folder, device="cpu", engine=engine, batch_invariant=True)
    check(reranker)
    found = reranker.score_pairs(drawn(9, 1))
    assert found.engine == name
    plain = CrossEncoderReranker(folder, device="cpu", engine=engine).score_pairs(drawn(9, 1))
    assert np.abs(found.logits - plain.logits).max() < 1e-4


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_tiles_are_no_wider_than_the_model_has_positions(cross_encoder_folder, engine):
    folder = cross_encoder_folder("bert", max_position_embeddings=40)
    reranker = CrossEncoderReranker(folder, device="cpu", engine=engine, batch_invariant=True)
    check(reranker)
    assert reranker.max_length == 40


@pytest.mark.parametrize("layout", ["bert-fast", "packed"])
def test_so_are_those_of_pairs_laid_end_to_end(cross_encoder_folder, layout):
    from searchkit.deadline import Deadline
    from searchkit.models.tokenizer import load_transformers_tokenizer
    from searchkit.reranking.engines.fast_model import REPEATABLE
    from searchkit.reranking.engines.torch_engine import TorchEngine
    from searchkit.reranking.pairing import PairTokenizer
    from searchkit.reranking.scoring import Pace, score

    folder = cross_encoder_folder("bert")
    facts = load_transformers_tokenizer(folder)
    inner = TorchEngine(folder, facts, "cpu", layout=layout, settings=REPEATABLE)
    engine = InvariantEngine(inner, inner.tiling(48))
    assert engine.name == f"torch fp32 cpu {layout} batch-invariant"
    encode = PairTokenizer(facts.tokenizer, 48).encode

    def logits(pairs):
        return score(engine, encode(pairs), token_budget=engine.token_budget, deadline=Deadline(), pace=Pace())

    pairs = drawn(30, 2)
    together = logits(pairs)
    assert np.array_equal(logits(pairs[::-1])[::-1], together)
    assert np.array_equal(np.concatenate([logits([pair]) for pair in pairs[:2]]), together[:2])
    assert np.array_equal(logits(pairs[:5] + drawn(90, 3))[:5], together[:5])


def check(reranker):
    pairs = drawn(12, 2)
    together = reranker.score_pairs(pairs).logits
    assert np.array_equal(reranker.score_pairs(pairs[::-1]).logits[::-1], together)
    assert np.array_equal(np.concatenate([reranker.score_pairs([pair]).logits for pair in pairs[:3]]), together[:3])
    assert np.array_equal(reranker.score_pairs(pairs[:5] + drawn(14, 3)).logits[:5], together[:5])
