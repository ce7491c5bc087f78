"""The written-out BERT against transformers, and its graphs, with a recorder that works on a CPU."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from searchkit.reranking.engines.buckets import Bucket
from searchkit.reranking.engines.fast_model import FastSettings
from searchkit.reranking.engines.graphs import GraphRunner, Recorded
from tests.unit.reranking.test_engines import batch_of, torch_engine

FAST = ["bert", "electra", "xlm-roberta"]
BATCHES = [(7, 90, 3, 500, 1), (1,), tuple(range(1, 40)), (128,) * 4, (512, 512)]


class FakeCapture:
    """Runs the forward again at each replay, on what it holds, as a graph does."""

    def __init__(self):
        self.recorded = 0
        self.replays = 0

    def __call__(self, forward, inputs):
        self.recorded += 1
        held = inputs.clone()
        found = torch.empty_like(forward(held))

        def replay():
            self.replays += 1
            found.copy_(forward(held))

        return Recorded(held, found, replay)


@pytest.mark.parametrize("architecture", FAST)
def test_the_fast_path_gives_the_logits_of_padded_pairs(cross_encoder_folder, architecture):
    folder = cross_encoder_folder(architecture)
    padded, fast = torch_engine(folder, layout="padded"), torch_engine(folder, layout="bert-fast")
    assert fast.name == "torch fp32 cpu bert-fast"
    batches = [batch_of(*lengths) for lengths in BATCHES]
    for expected, found in zip(padded.run(batches), fast.run(batches), strict=True):
        assert found.dtype == np.float32
        assert np.abs(found - expected).max() < 1e-5


def test_token_types_reach_the_fast_path(tiny_typed_folder):
    from searchkit.reranking.packing import TokenBatch

    plain = batch_of(20, 30)
    typed = TokenBatch(plain.ids, np.arange(50, dtype=np.int32) % 2, plain.starts)
    padded, fast = torch_engine(tiny_typed_folder), torch_engine(tiny_typed_folder, layout="bert-fast")
    assert np.abs(fast.run([typed])[0] - padded.run([typed])[0]).max() < 1e-5
    assert np.abs(fast.run([typed])[0] - fast.run([plain])[0]).max() > 1e-2


@pytest.fixture
def tiny_typed_folder(cross_encoder_folder, tmp_path):
    import json
    import shutil

    folder = tmp_path / "typed"
    shutil.copytree(cross_encoder_folder("bert"), folder)
    settings = folder / "tokenizer_config.json"
    names = ["input_ids", "token_type_ids", "attention_mask"]
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "model_input_names": names}))
    return folder


@pytest.mark.parametrize(
    ("architecture", "config", "label"),
    [
        ("bert", {"hidden_act": "relu"}, " packed"),
        ("bert", {"hidden_act": "gelu_new"}, " packed"),
        ("distilbert", {}, " packed"),
        ("modernbert", {}, " packed"),
        ("gte", {}, " packed"),
        ("deberta-v2", {}, ""),
    ],
)
def test_a_model_that_declares_something_else_takes_the_next_layout(cross_encoder_folder, architecture, config, label):
    folder = cross_encoder_folder(architecture, **config)
    engine = torch_engine(folder, layout="bert-fast")
    assert engine.name == f"torch fp32 cpu{label}"
    expected = torch_engine(folder).run([batch_of(7, 90, 3)])[0]
    assert np.abs(engine.run([batch_of(7, 90, 3)])[0] - expected).max() < 1e-5


def test_a_model_whose_fast_logits_differ_takes_the_next_layout(cross_encoder_folder, monkeypatch):
    from searchkit.reranking.engines import fast_model

    folder = cross_encoder_folder("bert")
    monkeypatch.setattr(fast_model, "first_position", lambda _: 1)  # every token one place too far
    engine = torch_engine(folder, layout="bert-fast")
    assert engine.name == "torch fp32 cpu packed"
    expected = torch_engine(folder).run([batch_of(7, 90, 3)])[0]
    assert np.abs(engine.run([batch_of(7, 90, 3)])[0] - expected).max() < 1e-5


def test_no_weight_is_held_twice_and_the_model_itself_goes_on_working(cross_encoder_folder):
    from searchkit.models.tokenizer import Padding
    from searchkit.reranking.engines.bert_fast import BertFast
    from searchkit.reranking.engines.padded import padded_logits
    from searchkit.reranking.engines.torch_engine import load_model

    model = load_model(cross_encoder_folder("bert"))
    expected = padded_logits(model, batch_of(9, 30), Padding(), has_type_ids=False)
    BertFast(model)
    attention = model.bert.encoder.layer[0].attention.self
    memory = {getattr(attention, name).weight.untyped_storage().data_ptr() for name in ("query", "key", "value")}
    assert len(memory) == 1
    assert torch.equal(padded_logits(model, batch_of(9, 30), Padding(), has_type_ids=False), expected)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("architecture", FAST)
def test_in_half_precision_scores_stay_near_and_the_head_is_exact(cross_encoder_folder, architecture, precision):
    folder = cross_encoder_folder(architecture)
    batch = batch_of(*range(4, 60))
    fast = torch_engine(folder, precision=precision, layout="bert-fast")
    assert fast.name == f"torch {precision} cpu bert-fast"
    half, exact = fast.run([batch])[0], torch_engine(folder).run([batch])[0]
    assert np.abs(half - exact).max() < 0.1 * np.abs(exact).max()
    assert (half != half.astype(np.float16).astype(np.float32)).any(), "half-precision logits would all fit into fp16"


@pytest.mark.parametrize("architecture", FAST)
def test_a_bucket_padded_batch_replayed_from_a_graph_has_the_logits_of_the_batch(cross_encoder_folder, architecture):
    capture = FakeCapture()
    folder = cross_encoder_folder(architecture)
    graphed = torch_engine(folder, layout="bert-fast", settings=FastSettings(make_capture=lambda: capture))
    eager = torch_engine(folder, layout="bert-fast", settings=FastSettings(uses_graphs=False))
    assert graphed.details["graphs"] == capture.recorded == 1, "the trial batch of loading, at its second run"
    assert eager.details["graphs"] is None
    batches = [batch_of(*lengths) for lengths in BATCHES] * 3
    for expected, found in zip(eager.run(batches), graphed.run(batches), strict=True):
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() < 1e-5
    assert capture.replays >= 2 * len(BATCHES)


def test_batches_of_one_bucket_do_not_see_each_other(cross_encoder_folder):
    folder = cross_encoder_folder("bert")
    graphed = torch_engine(folder, layout="bert-fast", settings=FastSettings(make_capture=FakeCapture))
    batches = [batch_of(*range(start, start + 8)) for start in range(1, 40)]
    expected = torch_engine(folder, layout="padded").run(batches)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda batch: graphed.run([batch])[0], batches))
    assert all(np.allclose(ours, theirs, atol=1e-5) for ours, theirs in zip(found, expected, strict=True))


def test_pairs_longer_than_any_bucket_run_unrecorded(cross_encoder_folder):
    folder = cross_encoder_folder("bert", max_position_embeddings=1024)
    capture = FakeCapture()
    graphed = torch_engine(folder, layout="bert-fast", settings=FastSettings(make_capture=lambda: capture))
    recorded = capture.recorded
    batch = batch_of(700, 20)
    for _ in range(3):
        found = graphed.run([batch])[0]
    assert capture.recorded == recorded
    assert np.abs(found - torch_engine(folder, layout="padded").run([batch])[0]).max() < 1e-5


def test_dummies_of_a_model_with_few_positions_are_no_longer_than_those(cross_encoder_folder):
    folder = cross_encoder_folder("bert", max_position_embeddings=40)
    graphed = torch_engine(folder, layout="bert-fast", settings=FastSettings(make_capture=FakeCapture))
    assert graphed.name == "torch fp32 cpu bert-fast"
    assert graphed.details["graphs"] == 1


DOUBLED = Bucket(512, 8, 128)


def runner(capture, **settings):
    return GraphRunner(lambda flat, bucket: flat[: bucket.pairs].float() * 2, capture, **settings)


def inputs(value):
    return torch.full((20,), value, dtype=torch.int32)


def test_the_first_batch_of_a_bucket_runs_unrecorded_and_the_second_is_recorded():
    capture = FakeCapture()
    graphs = runner(capture)
    seen = [(graphs.run(inputs(value), DOUBLED).tolist(), capture.recorded) for value in (1, 2, 3)]
    assert seen == [([2.0] * 8, 0), ([4.0] * 8, 1), ([6.0] * 8, 1)]


def test_what_a_graph_returned_is_not_changed_by_its_next_replay():
    graphs = runner(FakeCapture(), patience=0)
    first = graphs.run(inputs(1), DOUBLED)
    graphs.run(inputs(5), DOUBLED)
    assert first.tolist() == [2.0] * 8


def test_buckets_with_another_longest_sequence_have_graphs_of_their_own():
    capture = FakeCapture()
    graphs = runner(capture, patience=0)
    for longest in (128, 256, 128):
        graphs.run(inputs(1), Bucket(512, 8, longest))
    assert capture.recorded == 2


def test_the_least_recently_used_graph_makes_room():
    graphs = runner(FakeCapture(), patience=0, most=2)
    one, two, three = (Bucket(512 * count, 8, 128) for count in (1, 2, 3))
    for bucket in (one, two, one, three):
        graphs.run(inputs(1), bucket)
    assert graphs.buckets == (one, three)


def test_a_bucket_that_cannot_be_recorded_runs_unrecorded_and_is_not_tried_again():
    attempts = []

    def refuse(forward, held):
        attempts.append(1)
        raise RuntimeError("operation not permitted when stream is capturing")

    graphs = runner(refuse)
    assert [graphs.run(inputs(3), DOUBLED).tolist() for _ in range(4)] == [[6.0] * 8] * 4
    assert attempts == [1]
    assert graphs.buckets == ()


def test_the_private_kernel_takes_the_arguments_that_we_give_it():
    schema = torch.ops.aten._flash_attention_forward.default._schema
    names = [argument.name for argument in schema.arguments]
    assert names[:10] == [
        "query", "key", "value", "cum_seq_q", "cum_seq_k", "max_q", "max_k", "dropout_p", "is_causal",
        "return_debug_mask",
    ]  # fmt: skip
    assert {"scale", "window_size_left", "window_size_right"} <= set(names)


def test_flash_attention_is_for_half_precision_on_cuda(monkeypatch):
    from searchkit.reranking.engines.attention import flash_runs

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    assert flash_runs("cuda:0", torch.float16, 32)
    assert not flash_runs("cuda:0", torch.float32, 32)
    assert not flash_runs("cuda:0", torch.float16, 33)
    assert not flash_runs("cpu", torch.float16, 32)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    assert not flash_runs("cuda:0", torch.bfloat16, 32)


def test_an_empty_sequence_gets_zeros_and_its_neighbours_their_own_mix():
    from searchkit.reranking.engines.attention import Spans, attend

    torch.manual_seed(0)
    rows = torch.randn(3, 5, 2, 8)
    whole = Spans(torch.tensor([0, 5], dtype=torch.int32), 5)
    gapped = Spans(torch.tensor([0, 0, 5], dtype=torch.int32), 5)
    assert torch.equal(attend(*rows, gapped, gapped, 0.5), attend(*rows, whole, whole, 0.5))
    first = Spans(torch.tensor([0, 1, 2], dtype=torch.int32), 1)
    found = attend(rows[0][:2], rows[1], rows[2], first, gapped, 0.5)
    assert torch.equal(found[0], torch.zeros(2, 8))
    assert found[1].abs().sum() > 0
