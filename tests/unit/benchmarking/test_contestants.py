"""Real contestants on tiny random weights: all of them must return the same logits."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from searchkit.benchmarking import (
    Circumstances,
    Contestant,
    FastEmbedPeer,
    FlashRankPeer,
    Load,
    NotRunError,
    PeerFolder,
    Plan,
    SentenceTransformersPeer,
    own_engines,
    peers,
    run_benchmark,
)
from searchkit.errors import MissingExtraError


@pytest.fixture
def files(tiny):
    folder = PeerFolder(tiny.folder, tiny.max_length)
    yield folder
    folder.close()


@pytest.fixture
def pairs(source):
    return [*source.pairs(7), *source.pairs(5), ("a very long text", source.prose(900))]


def logits(contestant, pairs):
    contestant.load()
    return contestant.score(pairs)


def test_every_engine_that_the_reranker_offers_takes_part(tiny):
    from typing import get_args

    from searchkit.reranking.engines.base import EngineName

    found = [engine.name for engine in own_engines(tiny)]
    assert found == [f"searchkit {name}" for name in get_args(EngineName) if name != "auto"]
    assert all(isinstance(engine, Contestant) and engine.is_ours for engine in own_engines(tiny))


def test_our_engines_return_the_logits_of_sentence_transformers(tiny, pairs):
    expected = logits(SentenceTransformersPeer(tiny), pairs)
    ran = []
    for engine in own_engines(tiny):
        try:
            engine.load()
        except MissingExtraError:
            continue
        ran.append(engine.name)
        if "int8" not in engine.name and "openvino" not in engine.name:  # those are not exact, and say so
            assert np.abs(engine.score(pairs) - expected).max() < 1e-3
            assert engine.setup
    assert "searchkit torch" in ran


def test_fastembed_scores_the_same_weights(tiny, files, pairs):
    pytest.importorskip("fastembed")
    expected = logits(SentenceTransformersPeer(tiny), pairs)
    assert np.abs(logits(FastEmbedPeer(tiny, files), pairs) - expected).max() < 1e-3


def test_flashrank_scores_the_same_weights_and_leaves_logging_alone(tiny, files, pairs):
    pytest.importorskip("flashrank")
    before = logging.root.level, list(logging.root.handlers)
    expected = logits(SentenceTransformersPeer(tiny), pairs)
    found = logits(FlashRankPeer(tiny, files), pairs)
    # What comes back from a probability is only as exact as float32 was there.
    certain = np.abs(expected) < 6
    assert certain.any()
    assert np.abs(found - expected)[certain].max() < 1e-3
    assert np.array_equal(np.sign(found), np.sign(expected))
    assert (logging.root.level, list(logging.root.handlers)) == before


def test_sentence_transformers_runs_half_precision_weights_in_fp32(tiny, tmp_path, pairs):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(tiny.folder)
    model.half().save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny.folder).save_pretrained(tmp_path)
    halved = Circumstances(tmp_path, device="cpu", threads=1, max_length=512)
    peer = SentenceTransformersPeer(halved)
    peer.load()
    assert {str(parameter.dtype) for parameter in peer._model.parameters()} == {"torch.float32"}
    assert peer.setup == "torch fp32 cpu, batch 32"


def test_a_library_that_is_not_installed_is_named(tiny, files, monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for peer in peers(tiny, files):
        with pytest.raises(NotRunError, match=rf"{peer.name} is not installed: pip install {peer.name}"):
            peer.load()


def test_cpu_libraries_do_not_run_for_a_gpu(tiny, files):
    gpu = Circumstances(tiny.folder, device="cuda", threads=1, max_length=512)
    for peer in (FastEmbedPeer(gpu, files), FlashRankPeer(gpu, files)):
        with pytest.raises(NotRunError, match="on the CPU only, and this run is about cuda"):
            peer.load()


def test_the_folder_for_others_is_removed(tiny):
    files = PeerFolder(tiny.folder, tiny.max_length)
    folder = files.made()
    assert files.made() == folder
    assert (folder / PeerFolder.MODEL_FILE).is_file()
    files.close()
    assert not folder.exists()


def test_all_of_them_are_measured_side_by_side(tiny, files, source):
    plan = Plan(
        (Load(5), Load(3, callers=2)), rounds=1, fidelity_queries=1, finds_batch_size=False, fidelity_candidates=12
    )
    contestants = [*own_engines(tiny), *peers(tiny, files)]
    report = run_benchmark(contestants, tiny, plan, source=source)
    assert report.failures == ()
    assert {entry.name for entry in report.contestants if entry.status == "run"} >= {
        "searchkit torch",
        "sentence-transformers",
    }
    assert {row.reference for row in report.fidelities} == {"sentence-transformers"}
    exact = [row for row in report.fidelities if row.contestant != "FlashRank"]
    assert min(row.spearman_min for row in exact) > 0.999
