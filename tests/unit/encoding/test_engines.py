from __future__ import annotations

import numpy as np
import pytest

from searchkit.encoding import SentenceEncoder
from searchkit.errors import ConfigError, EncodingError
from searchkit.models import onnx_export

TEXTS = ["how many people live in berlin", "", "word " * 400, "naïve café 你好 \N{ROCKET}", "x"] + [
    "people " * count for count in range(1, 60, 4)
]


def engine_of(encoder: SentenceEncoder) -> str:
    return encoder._engine.get().name


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "mean_sqrt_len_tokens"])
def test_onnx_runtime_gives_the_vectors_of_torch(bi_encoder_folder, pooling):
    folder = bi_encoder_folder(pooling=pooling)
    onnx = SentenceEncoder(folder, device="cpu", engine="onnx", threads=2)
    torch = SentenceEncoder(folder, device="cpu", engine="torch")
    assert np.abs(onnx.encode_passages(TEXTS) - torch.encode_passages(TEXTS)).max() < 1e-5
    assert engine_of(onnx) == "onnx fp32 cpu"
    assert engine_of(torch) == "torch float32 cpu"
    assert onnx.fingerprint() == torch.fingerprint()


def test_onnx_runtime_is_the_default_on_a_cpu_and_a_model_with_more_parts_stays_on_torch(bi_encoder_folder):
    plain = SentenceEncoder(bi_encoder_folder(), device="cpu")
    more = SentenceEncoder(bi_encoder_folder(dense=16), device="cpu")
    last = SentenceEncoder(bi_encoder_folder(pooling="lasttoken"), device="cpu")
    assert engine_of(plain).startswith("onnx")
    assert engine_of(more).startswith("torch")
    assert engine_of(last).startswith("torch")


@pytest.mark.parametrize("settings", [{"dense": 16}, {"pooling": "lasttoken"}])
def test_onnx_for_a_model_that_it_cannot_run_is_a_config_error(bi_encoder_folder, settings):
    with pytest.raises(ConfigError, match="engine='onnx' cannot run"):
        SentenceEncoder(bi_encoder_folder(**settings), device="cpu", engine="onnx").encode_queries(["x"])


def test_a_vector_does_not_depend_on_the_texts_beside_it(bi_encoder_folder):
    encoder = SentenceEncoder(bi_encoder_folder(), device="cpu", engine="onnx")
    together = encoder.encode_passages(TEXTS)
    alone = np.concatenate([encoder.encode_passages([text]) for text in TEXTS])
    assert np.abs(together - alone).max() < 1e-6


def test_an_export_that_computes_something_else_is_refused(bi_encoder_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "_TOLERANCE", -1.0)
    monkeypatch.setattr(onnx_export, "cache_root", lambda: tmp_path)
    assert engine_of(SentenceEncoder(bi_encoder_folder(), device="cpu")).startswith("torch")
    with pytest.raises(EncodingError, match="differs from torch"):
        SentenceEncoder(bi_encoder_folder(), device="cpu", engine="onnx").encode_queries(["x"])


@pytest.mark.parametrize("arguments", [{"engine": "jax"}, {"threads": 0}])
def test_an_impossible_engine_is_a_config_error(arguments):
    with pytest.raises(ConfigError):
        SentenceEncoder(**arguments)
