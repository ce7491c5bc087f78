"""What only a CUDA device can show: the kernel, the graphs, the Triton steps, and scores without batch mates' trace."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from searchkit.reranking import CrossEncoderReranker
from searchkit.reranking.engines.attention import Spans, attend, flash_runs
from searchkit.reranking.engines.fast_model import FastSettings
from tests.unit.reranking.test_engines import batch_of
from tests.unit.reranking.test_fast_path import BATCHES, FAST

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
WORDS = ["how", "many", "people", "live", "in", "berlin", "word", "the", "population", "of", "a", "city"]


def cuda_engine(folder, precision="fp16", **settings):
    from searchkit.models.tokenizer import load_transformers_tokenizer
    from searchkit.reranking.engines.torch_engine import TorchEngine

    return TorchEngine(folder, load_transformers_tokenizer(folder), "cuda", precision, **settings)


def drawn(count, seed):
    chance = random.Random(seed)
    words = [[chance.choices(WORDS, k=size) for size in (5, chance.randint(1, 90))] for _ in range(count)]
    return [(" ".join(query), " ".join(text)) for query, text in words]


@pytest.mark.parametrize("reach", [None, 8])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_flash_attention_gives_what_the_loop_over_pairs_gives(dtype, reach):
    assert flash_runs("cuda", dtype, 32)
    torch.manual_seed(0)
    qkv = torch.randn(300, 3, 4, 32, device="cuda", dtype=dtype)
    starts = torch.tensor([0, 5, 6, 100, 300], dtype=torch.int32)
    found = attend(*qkv.unbind(1), Spans(starts.cuda(), 200), Spans(starts.cuda(), 200), 0.2, reach)
    on_cpu = Spans(starts, 200)
    expected = attend(*qkv.float().cpu().unbind(1), on_cpu, on_cpu, 0.2, reach)
    tolerance = 5e-3 if dtype == torch.float16 else 4e-2
    assert torch.allclose(found.float().cpu(), expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("architecture", FAST)
def test_the_default_on_cuda_is_the_fast_path_and_near_fp32(cross_encoder_folder, architecture):
    folder = cross_encoder_folder(architecture)
    reranker = CrossEncoderReranker(folder, device="cuda")
    found = reranker.score_pairs(drawn(60, 1))
    assert found.engine == "torch fp16 cuda bert-fast"
    exact = CrossEncoderReranker(folder, device="cpu", engine="torch").score_pairs(drawn(60, 1)).logits
    assert (found.logits - exact).std() < 2e-2 * exact.std()


@pytest.mark.parametrize("architecture", ["distilbert", "modernbert", "gte"])
def test_others_are_packed_on_cuda(cross_encoder_folder, architecture):
    engine = cuda_engine(cross_encoder_folder(architecture))
    assert engine.name == "torch fp16 cuda packed"


def test_fp32_on_cuda_is_padded_and_equal_to_the_cpu(cross_encoder_folder):
    torch.backends.cuda.matmul.allow_tf32 = False
    folder = cross_encoder_folder("bert")
    engine = cuda_engine(folder, "fp32")
    assert engine.name == "torch fp32 cuda"
    on_cpu = CrossEncoderReranker(folder, device="cpu", engine="torch")
    on_cuda = CrossEncoderReranker(folder, device="cuda", precision="fp32")
    assert np.abs(on_cuda.predict(drawn(40, 3)) - on_cpu.predict(drawn(40, 3))).max() < 1e-4


@pytest.mark.parametrize("architecture", FAST)
def test_replayed_graphs_give_the_logits_of_unrecorded_runs(cross_encoder_folder, architecture):
    folder = cross_encoder_folder(architecture)
    graphed = cuda_engine(folder, layout="bert-fast", settings=FastSettings(uses_triton=False))
    eager = cuda_engine(folder, layout="bert-fast", settings=FastSettings(uses_triton=False, uses_graphs=False))
    batches = [batch_of(*lengths) for lengths in BATCHES] * 3
    for expected, found in zip(eager.run(batches), graphed.run(batches), strict=True):
        assert np.isfinite(found).all()
        assert np.abs(found - expected).max() < 2e-2 * (1 + np.abs(expected).max())
    assert graphed.details["graphs"] >= len({len(batch.ids) // 512 for batch in batches[: len(BATCHES)]})


def test_several_threads_may_share_graphs_and_pinned_memory(cross_encoder_folder):
    engine = cuda_engine(cross_encoder_folder("bert"), layout="bert-fast")
    batches = [batch_of(*range(start, start + 8)) for start in range(1, 40)]
    expected = engine.run(batches)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda batch: engine.run([batch])[0], batches))
    assert all(np.allclose(ours, theirs, atol=2e-2) for ours, theirs in zip(found, expected, strict=True))


def test_the_triton_steps_agree_and_are_measured(cross_encoder_folder):
    pytest.importorskip("triton")
    engine = cuda_engine(cross_encoder_folder("bert"), layout="bert-fast")
    assert set(engine.details["triton_speedups"]) == {"embed", "gelu", "norm"}, "a step that fails or differs is absent"


def test_batch_invariant_scores_are_the_same_to_the_last_bit_on_cuda():
    pairs = drawn(80, 2)
    reranker = CrossEncoderReranker(device="cuda", batch_invariant=True)  # the shipped model: real sizes, real kernels
    together = reranker.score_pairs(pairs)
    assert together.engine == "torch fp16 cuda bert-fast batch-invariant"
    assert np.array_equal(reranker.score_pairs(pairs[::-1]).logits[::-1], together.logits)
    alone = np.concatenate([reranker.score_pairs([pair]).logits for pair in pairs[:10]])
    assert np.array_equal(alone, together.logits[:10])
    assert np.array_equal(reranker.score_pairs(pairs[:7] + drawn(500, 3)).logits[:7], together.logits[:7])


def test_so_are_those_of_models_without_a_fast_path(cross_encoder_folder):
    for architecture in ("modernbert", "deberta-v2"):
        reranker = CrossEncoderReranker(cross_encoder_folder(architecture), device="cuda", batch_invariant=True)
        pairs = drawn(40, 4)
        together = reranker.score_pairs(pairs).logits
        assert np.array_equal(reranker.score_pairs(pairs[::-1]).logits[::-1], together)
        assert np.array_equal(reranker.score_pairs(pairs[:3]).logits, together[:3])


def test_a_batch_beyond_the_devices_memory_is_halved_until_it_fits(cross_encoder_folder, monkeypatch):
    from searchkit.reranking.engines.fast_model import FastModel

    run, sizes = FastModel.logits, []

    def limited(self, batch):
        sizes.append(len(batch.ids))
        if len(batch.ids) > 600:
            torch.empty(1 << 50, device="cuda")  # more than any device has: torch's own error
        return run(self, batch)

    reranker = CrossEncoderReranker(cross_encoder_folder("bert"), device="cuda")
    expected = reranker.score_pairs(drawn(30, 5)).logits
    monkeypatch.setattr(FastModel, "logits", limited)
    assert np.abs(reranker.score_pairs(drawn(30, 5)).logits - expected).max() < 5e-2
    assert max(sizes) > 600
