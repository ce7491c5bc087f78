from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from searchkit.errors import ConfigError, ModelLoadError
from searchkit.models import onnx_export
from searchkit.reranking import CrossEncoderReranker

PAIRS = [
    ("how many people live in berlin", "Berlin had a population of 3,520,031."),
    ("how many people live in berlin", "word " * 700),
    ("naïve café", "你好 \N{ROCKET}"),
    ("", ""),
    *((f"people {index}", "word " * index) for index in range(1, 60, 3)),
]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setattr(onnx_export, "cache_root", lambda: folder)
    return folder


def torch_model(folder: Path) -> Any:
    from searchkit.reranking.engines.torch_engine import load_model

    return load_model(folder)


@pytest.mark.parametrize("architecture", ["bert", "electra", "xlm-roberta"])
def test_the_last_layer_for_the_first_token_alone_gives_the_same_logits(cross_encoder_folder, architecture):
    import torch

    from searchkit.reranking.engines.first_token import FirstTokenLayer, narrow_last_layer

    folder = cross_encoder_folder(architecture)
    whole, narrow = torch_model(folder), torch_model(folder)
    assert narrow_last_layer(narrow)
    assert any(isinstance(module, FirstTokenLayer) for module in narrow.modules())
    torch.manual_seed(1)
    for rows, length, padding in ((1, 1, 0), (2, 9, 4), (5, 200, 150)):
        ids = torch.randint(5, 150, (rows, length))
        mask = torch.ones_like(ids)
        if padding:
            mask[-1, -padding:] = 0
        with torch.inference_mode():
            gap = whole(input_ids=ids, attention_mask=mask).logits - narrow(input_ids=ids, attention_mask=mask).logits
        assert gap.abs().max() < 1e-5


@pytest.mark.parametrize("architecture", ["distilbert", "modernbert", "deberta-v2"])
def test_a_model_of_another_shape_keeps_its_last_layer(cross_encoder_folder, architecture):
    from searchkit.reranking.engines.first_token import narrow_last_layer

    model = torch_model(cross_encoder_folder(architecture))
    assert not narrow_last_layer(model)


def test_a_head_that_reads_every_token_keeps_the_whole_last_layer(cross_encoder_folder):
    import torch

    from searchkit.reranking.engines.first_token import FirstTokenLayer, narrow_last_layer

    model = torch_model(cross_encoder_folder("bert"))

    class MeanPooler(torch.nn.Module):
        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return hidden.mean(dim=1)

    model.bert.pooler = MeanPooler()
    assert not narrow_last_layer(model)
    assert not any(isinstance(module, FirstTokenLayer) for module in model.modules())


@pytest.mark.parametrize("architecture", ["bert", "electra", "distilbert", "xlm-roberta", "modernbert"])
@pytest.mark.parametrize("threads", [1, 3])
def test_onnx_runtime_gives_the_logits_of_torch(cross_encoder_folder, architecture, threads):
    folder = cross_encoder_folder(architecture)
    expected = CrossEncoderReranker(folder, device="cpu", engine="torch").score_pairs(PAIRS)
    found = CrossEncoderReranker(folder, device="cpu", engine="onnx", threads=threads).score_pairs(PAIRS)
    assert (expected.engine, found.engine) == ("torch fp32 cpu", "onnx fp32 cpu")
    assert np.abs(found.logits - expected.logits).max() < 1e-4
    assert np.array_equal(found.truncated_tokens, expected.truncated_tokens)


def test_a_model_is_exported_once_and_then_loaded_without_torch(cross_encoder_folder, cache, monkeypatch):
    folder = cross_encoder_folder("bert")
    first = CrossEncoderReranker(folder, device="cpu").predict(PAIRS)
    (entry,) = cache.iterdir()
    assert sorted(path.name for path in entry.iterdir()) == ["facts.json", "model.onnx", "tokenizer.json"]
    monkeypatch.setattr(onnx_export, "_publish", lambda *_: pytest.fail("exported again"))
    monkeypatch.setattr("searchkit.reranking.engines.torch_engine.load_model", lambda *_: pytest.fail("torch was used"))
    assert np.array_equal(CrossEncoderReranker(folder, device="cpu").predict(PAIRS), first)


def test_two_folders_with_the_same_model_share_an_export_and_changed_weights_do_not(
    cross_encoder_folder, cache, tmp_path
):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "again"
    shutil.copytree(cross_encoder_folder("bert"), folder)
    for path in (folder, cross_encoder_folder("bert")):
        before = CrossEncoderReranker(path, device="cpu").predict(PAIRS)
    assert len(list(cache.iterdir())) == 1
    tensors = load_file(folder / "model.safetensors")
    tensors["classifier.bias"] += 1.0
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    reranker = CrossEncoderReranker(folder, device="cpu")
    assert np.allclose(reranker.score_pairs(PAIRS).logits, np.log(before / (1 - before)) + 1.0, atol=1e-3)
    assert len(list(cache.iterdir())) == 2


def test_a_damaged_export_is_removed_and_torch_takes_over_until_the_next_load(cross_encoder_folder, cache):
    folder = cross_encoder_folder("bert")
    expected = CrossEncoderReranker(folder, device="cpu").predict(PAIRS)
    (entry,) = cache.iterdir()
    (entry / "facts.json").write_text("{")
    broken = CrossEncoderReranker(folder, device="cpu")
    assert np.allclose(broken.predict(PAIRS), expected, atol=1e-4)
    assert broken.score_pairs(PAIRS).engine == "torch fp32 cpu"
    assert CrossEncoderReranker(folder, device="cpu").score_pairs(PAIRS[:1]).engine == "onnx fp32 cpu"


def test_a_graph_that_cannot_be_read_is_removed_as_well(cross_encoder_folder, cache):
    folder = cross_encoder_folder("bert")
    CrossEncoderReranker(folder, device="cpu").load()
    (entry,) = cache.iterdir()
    (entry / "model.onnx").write_bytes(b"not a graph")
    assert CrossEncoderReranker(folder, device="cpu").score_pairs(PAIRS[:1]).engine == "torch fp32 cpu"
    assert CrossEncoderReranker(folder, device="cpu").score_pairs(PAIRS[:1]).engine == "onnx fp32 cpu"


def test_without_a_writable_home_the_export_serves_this_process(cross_encoder_folder, tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setattr(onnx_export, "cache_root", lambda: blocked / "cache")
    reranker = CrossEncoderReranker(cross_encoder_folder("bert"), device="cpu")
    assert reranker.score_pairs(PAIRS[:1]).engine == "onnx fp32 cpu"


def test_an_export_that_computes_something_else_is_refused(cross_encoder_folder, cache, monkeypatch):
    monkeypatch.setattr(onnx_export, "_TOLERANCE", -1.0)
    folder = cross_encoder_folder("bert")
    assert CrossEncoderReranker(folder, device="cpu").score_pairs(PAIRS[:1]).engine == "torch fp32 cpu"
    assert list(cache.iterdir()) == []
    with pytest.raises(ModelLoadError, match="differs from torch"):
        CrossEncoderReranker(folder, device="cpu", engine="onnx").load()


def test_onnx_in_half_precision_is_a_config_error(cross_encoder_folder):
    with pytest.raises(ConfigError, match="engine='onnx'"):
        CrossEncoderReranker(cross_encoder_folder("bert"), device="cpu", engine="onnx", precision="fp16").load()


def test_the_same_pair_gets_the_same_score_whatever_lies_beside_it(cross_encoder_folder):
    reranker = CrossEncoderReranker(cross_encoder_folder("bert"), device="cpu", engine="onnx", threads=1)
    together = reranker.score_pairs(PAIRS).logits
    alone = np.concatenate([reranker.score_pairs([pair]).logits for pair in PAIRS])
    assert np.array_equal(together, alone)


def torch_engine(folder: Path, **settings: Any) -> Any:
    from searchkit.models.tokenizer import load_transformers_tokenizer
    from searchkit.reranking.engines.torch_engine import TorchEngine

    return TorchEngine(folder, load_transformers_tokenizer(folder), "cpu", **settings)


def batch_of(*lengths: int) -> Any:
    from searchkit.reranking.packing import TokenPair, pack

    rng = np.random.default_rng(3)
    ids = [rng.integers(5, 150, length).astype(np.int32) for length in lengths]
    return pack([TokenPair(part, np.zeros_like(part)) for part in ids])


PACKABLE = ["bert", "electra", "distilbert", "xlm-roberta", "modernbert", "gte"]


@pytest.mark.parametrize("architecture", PACKABLE)
def test_packed_pairs_get_the_logits_of_padded_ones(cross_encoder_folder, architecture):
    folder = cross_encoder_folder(architecture)
    padded, packed = torch_engine(folder, layout="padded"), torch_engine(folder, layout="packed")
    assert packed.name == "torch fp32 cpu packed"
    batches = [batch_of(7, 90, 3, 500, 1), batch_of(1), batch_of(*range(1, 40))]
    for expected, found in zip(padded.run(batches), packed.run(batches), strict=True):
        assert np.abs(found - expected).max() < 1e-5


def test_a_model_with_attention_of_its_own_is_padded_even_if_packing_is_wanted(cross_encoder_folder):
    folder = cross_encoder_folder("deberta-v2")
    engine = torch_engine(folder, layout="packed")
    assert engine.name == "torch fp32 cpu"
    expected = torch_engine(folder).run([batch_of(7, 90, 3)])[0]
    assert np.array_equal(engine.run([batch_of(7, 90, 3)])[0], expected)


def test_a_model_that_packs_wrongly_is_left_as_it_was(cross_encoder_folder, monkeypatch):
    from searchkit.reranking.engines import packed

    folder = cross_encoder_folder("bert")
    expected = torch_engine(folder).run([batch_of(7, 90, 3)])[0]
    monkeypatch.setattr(packed, "first_position", lambda _: 1)  # every token one place too far
    engine = torch_engine(folder, layout="packed")
    assert engine.name == "torch fp32 cpu"
    assert np.array_equal(engine.run([batch_of(7, 90, 3)])[0], expected)


def test_packed_batches_may_run_in_several_threads_at_once(cross_encoder_folder):
    from concurrent.futures import ThreadPoolExecutor

    engine = torch_engine(cross_encoder_folder("bert"), layout="packed")
    batches = [batch_of(*range(start, start + 8)) for start in range(1, 40)]
    expected = engine.run(batches)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda batch: engine.run([batch])[0], batches))
    assert all(np.allclose(ours, theirs, atol=1e-6) for ours, theirs in zip(found, expected, strict=True))


@pytest.mark.parametrize("architecture", ["bert", "xlm-roberta", "modernbert"])
@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_in_half_precision_the_head_is_exact_and_scores_stay_near(cross_encoder_folder, architecture, layout):
    folder = cross_encoder_folder(architecture)
    batch = batch_of(*range(4, 60))
    engine = torch_engine(folder, precision="bf16", layout=layout)
    assert engine.name == f"torch bf16 cpu{' packed' if layout == 'packed' else ''}"
    half = engine.run([batch])[0]
    exact = torch_engine(folder).run([batch])[0]
    assert np.abs(half - exact).max() < 0.1 * np.abs(exact).max()
    assert (half != half.astype(np.float16).astype(np.float32)).any(), "bf16 logits would all fit into fp16"
