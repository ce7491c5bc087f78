from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from searchkit.errors import ConfigError, MissingExtraError, ModelLoadError
from searchkit.models import onnx_export
from searchkit.reranking import CrossEncoderReranker
from searchkit.reranking.engines import int8_model, static_int8
from searchkit.reranking.engines.int8_model import sample_pairs, spearman

pytest.importorskip("openvino", reason="the extra 'openvino' is not installed")

PAIRS = [
    ("how many people live in berlin", "Berlin had a population of 3,520,031."),
    ("how many people live in berlin", "word " * 700),
    ("naïve café", "你好 \N{ROCKET}"),
    ("", ""),
    *((f"people {index}", "people live " * index) for index in range(1, 60, 3)),
]


@pytest.fixture(autouse=True)
def _few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny model needs no more, and is quantized in nearly every test."""
    monkeypatch.setattr(int8_model, "_CALIBRATION_PAIRS", 24)
    monkeypatch.setattr(int8_model, "_PROBE_PAIRS", 40)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setattr(onnx_export, "cache_root", lambda: folder)
    return folder


@pytest.fixture(scope="session")
def tiny(cross_encoder_folder) -> Path:
    return cross_encoder_folder("bert")


def int8(folder: Path, **settings: Any) -> CrossEncoderReranker:
    return CrossEncoderReranker(folder, device="cpu", engine="openvino", **settings)


@pytest.mark.parametrize("architecture", ["bert", "electra", "distilbert", "xlm-roberta", "modernbert"])
@pytest.mark.parametrize("threads", [1, 3])
def test_int8_orders_pairs_as_float32_does_and_says_its_name(cross_encoder_folder, architecture, threads):
    folder = cross_encoder_folder(architecture)
    pairs = sample_pairs(40, seed=5)
    exact = CrossEncoderReranker(folder, device="cpu", engine="onnx").score_pairs(pairs)
    found = int8(folder, threads=threads).score_pairs(pairs)
    assert found.engine == "openvino int8 cpu"
    assert spearman(found.logits.astype(float), exact.logits.astype(float)) > 0.98
    assert not np.array_equal(found.logits, exact.logits), "nothing was quantized"


def test_the_products_of_all_tokens_are_int8_and_the_head_is_not(tiny, cache):
    import openvino

    int8(tiny).load()
    (entry,) = cache.glob("int8-*")
    model = openvino.Core().read_model(str(entry / "model.xml"))
    kinds = [node.get_type_name() for node in model.get_ordered_ops()]
    # Both layers' query, key and value share one activation; the last layer reads all tokens for key and value only.
    assert kinds.count("FakeQuantize") == 4 + 1
    stored = [
        node.get_element_type().get_type_name()
        for node in model.get_ordered_ops()
        if node.get_type_name() == "Constant"
    ]
    # The channel of the first layer that stays in float32 is made by a product of its own.
    assert stored.count("i8") == 6 + 1 + 2


@pytest.fixture
def _wide_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny model has too few channels for one to be kept in float32."""
    monkeypatch.setattr(static_int8, "_CHANNELS_A_WIDE_ONE", 8)


@pytest.mark.usefixtures("_wide_channels")
def test_what_the_activation_function_makes_is_read_by_the_int8_product_alone(tiny, cache):
    import openvino

    int8(tiny).load()
    (entry,) = cache.glob("int8-*")
    model = openvino.Core().read_model(str(entry / "model.xml"))
    nodes = model.get_ordered_ops()
    narrowing = max(filter(_reads_int8, nodes), key=lambda node: node.get_input_shape(1)[0])
    smoothed = narrowing.input_value(0).get_node().input_value(0).get_node()
    assert smoothed.get_type_name() == "Multiply"
    assert len(smoothed.input_value(0).get_target_inputs()) == 1
    assert sum(node.get_type_name() == "Erf" for node in nodes) == 2 + 1, "the wide channels are not made alone"


def _reads_int8(node: Any) -> bool:
    return bool(node.get_type_name() == "MatMul" and node.input_value(0).get_node().get_type_name() == "FakeQuantize")


@pytest.mark.usefixtures("_wide_channels")
def test_channels_that_cannot_be_made_alone_are_picked_from_all(tiny, cache, monkeypatch):
    expected = int8(tiny).score_pairs(PAIRS).logits
    monkeypatch.setattr(static_int8, "_BY_ELEMENT", frozenset())
    monkeypatch.setattr(int8_model, "_VERSION", "picked")
    assert np.array_equal(int8(tiny).score_pairs(PAIRS).logits, expected)
    assert len(list(cache.glob("int8-*"))) == 2


def test_the_same_pair_gets_the_same_score_whatever_lies_beside_it(tiny):
    reranker = int8(tiny, threads=1)
    together = reranker.score_pairs(PAIRS).logits
    alone = np.concatenate([reranker.score_pairs([pair]).logits for pair in PAIRS])
    assert np.array_equal(together, alone)
    for settings in ({"token_budget": 4096}, {"threads": 3}):
        assert np.array_equal(int8(tiny, **{"threads": 1, **settings}).score_pairs(PAIRS).logits, together)


def test_tiles_of_a_fixed_shape_can_be_asked_for_as_well(tiny):
    scores = int8(tiny, batch_invariant=True).score_pairs(PAIRS)
    assert scores.engine == "openvino int8 cpu batch-invariant"
    assert np.abs(scores.logits - int8(tiny).score_pairs(PAIRS).logits).max() < 1e-4


def test_a_length_limit_between_two_multiples_of_sixteen_is_kept(cross_encoder_folder):
    folder = cross_encoder_folder("bert", max_position_embeddings=40)
    pairs = sample_pairs(40, seed=5)
    exact = CrossEncoderReranker(folder, device="cpu", engine="onnx", max_length=40).score_pairs(pairs)
    found = int8(folder, max_length=40).score_pairs(pairs)
    assert np.array_equal(found.truncated_tokens, exact.truncated_tokens)
    assert spearman(found.logits.astype(float), exact.logits.astype(float)) > 0.98


def test_its_threads_may_move_to_a_core_that_is_free(tiny, cache):
    int8(tiny).load()
    (entry,) = cache.glob("int8-*")
    assert not int8_model.open_model(entry / "model.xml", streams=2).get_property("ENABLE_CPU_PINNING")


def test_a_model_is_quantized_once(tiny, cache, monkeypatch):
    first = int8(tiny).score_pairs(PAIRS).logits
    (entry,) = cache.glob("int8-*")
    assert sorted(path.name for path in entry.iterdir()) == ["int8.json", "model.bin", "model.xml"]
    assert json.loads((entry / "int8.json").read_text())["spearman"] >= int8_model.LEAST_CORRELATION
    monkeypatch.setattr(int8_model, "_make", lambda *_: pytest.fail("quantized again"))
    assert np.array_equal(int8(tiny).score_pairs(PAIRS).logits, first)


def test_quantizing_again_gives_the_same_scores(tiny, tmp_path, monkeypatch):
    found = []
    for name in ("one", "other"):
        monkeypatch.setattr(onnx_export, "cache_root", lambda name=name: tmp_path / name)
        found.append(int8(tiny).score_pairs(PAIRS).logits)
    assert np.array_equal(*found)


def test_a_model_that_int8_would_reorder_is_refused_and_nothing_is_kept(tiny, cache, monkeypatch):
    monkeypatch.setattr(int8_model, "LEAST_CORRELATION", 1.1)
    with pytest.raises(ModelLoadError, match=r"engine='openvino' cannot run this model: .*Spearman.*engine='auto'"):
        int8(tiny).load()
    assert not list(cache.glob("int8-*"))


@pytest.mark.parametrize(("name", "content"), [("int8.json", "{"), ("model.xml", "not a graph")])
def test_a_damaged_model_is_removed_and_made_again_at_the_next_load(tiny, cache, name, content):
    int8(tiny).load()
    (entry,) = cache.glob("int8-*")
    (entry / name).write_text(content)
    with pytest.raises(ModelLoadError, match="damaged and was removed"):
        int8(tiny).load()
    assert int8(tiny).score_pairs(PAIRS[:1]).engine == "openvino int8 cpu"


def test_without_the_package_the_error_names_the_line_to_type(tiny, cache, monkeypatch):
    int8_model._core.cache_clear()
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'searchkit\[openvino\]'"):
        int8(tiny).load()
    assert not cache.exists(), "nothing is exported for an engine that is not there"
    int8_model._core.cache_clear()


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_another_precision_than_its_own_is_a_config_error(tiny, precision):
    with pytest.raises(ConfigError, match="engine='openvino' runs on cpu with precision 'auto'"):
        int8(tiny, precision=precision).load()


def test_it_is_never_chosen_unasked(tiny):
    assert CrossEncoderReranker(tiny, device="cpu").score_pairs(PAIRS[:1]).engine == "onnx fp32 cpu"


def test_a_constant_order_correlates_with_nothing():
    values = np.array([1.0, 2.0, 3.0])
    assert spearman(values, values * 2) == pytest.approx(1.0)
    assert spearman(values, -values) == pytest.approx(-1.0)
    assert spearman(values, np.ones(3)) == 0.0
