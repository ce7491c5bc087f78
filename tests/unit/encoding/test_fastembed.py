from __future__ import annotations

import numpy as np
import pytest

from searchkit.encoding import FastEmbedEncoder, SentenceEncoder
from searchkit.errors import ConfigError, EncodingError

TEXTS = ["how many people live in berlin", "word " * 400, "café", "x", ""]


def test_a_local_onnx_folder_gives_the_vectors_of_the_model_it_was_made_from(onnx_encoder_folder, bi_encoder_folder):
    encoder = FastEmbedEncoder(onnx_encoder_folder, max_tokens=64)
    expected = SentenceEncoder(bi_encoder_folder(), device="cpu").encode_passages(TEXTS)
    found = encoder.encode_passages(TEXTS)
    assert found.shape == (5, 32)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-5


def test_pooling_by_the_first_token_is_another_encoder(onnx_encoder_folder, bi_encoder_folder):
    encoder = FastEmbedEncoder(onnx_encoder_folder, pooling="cls", max_tokens=64)
    other = FastEmbedEncoder(onnx_encoder_folder, max_tokens=64)
    assert encoder.fingerprint().weight_hash != other.fingerprint().weight_hash
    ids_differ = np.abs(encoder.encode_queries(TEXTS) - other.encode_queries(TEXTS)).max()
    assert ids_differ > 0.01


def test_the_limit_is_stated_by_us_and_not_by_the_files(onnx_encoder_folder):
    assert FastEmbedEncoder(onnx_encoder_folder).max_tokens == 64  # tokenizer_config.json
    short = FastEmbedEncoder(onnx_encoder_folder, max_tokens=8)
    assert np.allclose(short.encode_passages(["word " * 6]), short.encode_passages(["word " * 60]), atol=1e-6)


def test_prompts_are_put_before_the_texts_and_show_in_the_fingerprint(onnx_encoder_folder):
    plain = FastEmbedEncoder(onnx_encoder_folder)
    prompted = FastEmbedEncoder(onnx_encoder_folder, query_prompt="people: ", passage_prompt="berlin: ")
    assert np.allclose(prompted.encode_queries(["x"]), plain.encode_queries(["people: x"]), atol=1e-6)
    assert np.allclose(prompted.encode_passages(["x"]), plain.encode_passages(["berlin: x"]), atol=1e-6)
    assert prompted.fingerprint() != plain.fingerprint()


def test_batches_do_not_change_the_order(onnx_encoder_folder):
    texts = [f"{'word ' * (index * 7 % 30)}{index}" for index in range(20)]
    one = FastEmbedEncoder(onnx_encoder_folder, batch_size=1).encode_passages(texts)
    many = FastEmbedEncoder(onnx_encoder_folder, batch_size=7).encode_passages(texts)
    assert np.abs(one - many).max() < 1e-5


def test_spans_are_whole(onnx_encoder_folder):
    encoder = FastEmbedEncoder(onnx_encoder_folder, max_tokens=8)
    assert len(encoder.token_spans("word " * 40)) == 40
    assert encoder.token_spans("Berlin, people")[0] == (0, 6)


def test_a_folder_without_an_onnx_model_is_refused_with_a_hint(bi_encoder_folder):
    with pytest.raises(EncodingError, match="model_file"):
        _ = FastEmbedEncoder(bi_encoder_folder()).dimension


def test_an_unknown_name_is_an_encoding_error():
    with pytest.raises(EncodingError, match="list_supported_models"):
        _ = FastEmbedEncoder("nobody/nothing-here", offline=True).dimension


@pytest.mark.parametrize(
    "arguments",
    [{"pooling": "max"}, {"batch_size": 0}, {"max_tokens": 2}, {"model_file": "../x.onnx"}, {"model_file": "/x.onnx"}],
)
def test_an_impossible_argument_is_a_config_error(arguments):
    with pytest.raises(ConfigError):
        FastEmbedEncoder(**arguments)
