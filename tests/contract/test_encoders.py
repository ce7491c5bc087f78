"""What every encoder owes its callers, whatever runs it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from searchkit.encoding import Bm25Encoder, FastEmbedEncoder, SentenceEncoder
from searchkit.stages import Encoder, EncoderFingerprint, SparseEncoder
from searchkit.testing import FakeEncoder

TEXTS = ["how many people live in berlin", "the word", "naïve café 你好", "x" * 300, "A line.\nAnother\tline."]


@pytest.fixture(params=["fake", "sentence-transformers", "sentence-transformers with dense", "fastembed"])
def make(request, bi_encoder_folder, onnx_encoder_folder) -> Callable[[], Encoder]:
    folder = bi_encoder_folder
    makers: dict[str, Callable[[], Any]] = {
        "fake": FakeEncoder,
        "sentence-transformers": lambda: SentenceEncoder(folder(), device="cpu"),
        "sentence-transformers with dense": lambda: SentenceEncoder(folder(dense=16), device="cpu"),
        "fastembed": lambda: FastEmbedEncoder(onnx_encoder_folder),
    }
    return makers[request.param]


def test_it_satisfies_the_protocol(make):
    assert isinstance(make(), Encoder)


@pytest.mark.parametrize("method", ["encode_queries", "encode_passages"])
def test_vectors_are_unit_float32_rows_in_order(make, method):
    encoder = make()
    encode = getattr(encoder, method)
    vectors = encode(TEXTS)
    assert vectors.shape == (len(TEXTS), encoder.dimension)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert np.allclose(encode(TEXTS[::-1]), vectors[::-1], atol=1e-5)


def test_no_texts_give_no_rows(make):
    encoder = make()
    assert encoder.encode_queries([]).shape == (0, encoder.dimension)
    assert encoder.encode_passages([]).shape == (0, encoder.dimension)


def test_the_same_text_gets_the_same_vector_every_time(make):
    encoder = make()
    assert np.array_equal(encoder.encode_passages(TEXTS), encoder.encode_passages(TEXTS))


def test_two_encoders_of_the_same_model_have_the_same_fingerprint_and_vectors(make):
    first, second = make(), make()
    assert first.fingerprint() == second.fingerprint()
    assert np.allclose(first.encode_queries(TEXTS), second.encode_queries(TEXTS), atol=1e-6)


def test_the_fingerprint_survives_json_and_is_complete(make):
    encoder = make()
    fingerprint = encoder.fingerprint()
    assert EncoderFingerprint.model_validate_json(fingerprint.model_dump_json()) == fingerprint
    assert fingerprint.dimension == encoder.dimension
    assert fingerprint.max_tokens == encoder.max_tokens
    assert fingerprint.kind
    assert len(fingerprint.weight_hash) == 64


def test_spans_are_in_order_inside_the_text_and_hold_every_word(make):
    encoder = make()
    text = "How many   people, live in Berlin?"
    spans = encoder.token_spans(text)
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    covered = {index for start, end in spans for index in range(start, end)}
    assert covered >= {index for index, character in enumerate(text) if character.isalpha()}
    assert encoder.token_spans("") == []


def test_spans_do_not_end_where_the_model_stops_reading(make):
    encoder = make()
    count = encoder.max_tokens + 50
    assert len(encoder.token_spans("word " * count)) >= count


def test_bm25_satisfies_the_sparse_protocol_with_unique_unsigned_indices():
    encoder = Bm25Encoder()
    assert isinstance(encoder, SparseEncoder)
    vectors = [*encoder.encode_queries(TEXTS), *encoder.encode_passages(TEXTS)]
    for vector in vectors:
        assert len(vector.indices) == len(vector.values) == len(set(vector.indices))
        assert all(0 <= index < 2**32 for index in vector.indices)
        assert all(value > 0 for value in vector.values)
    fingerprint = encoder.fingerprint()
    assert EncoderFingerprint.model_validate_json(fingerprint.model_dump_json()) == fingerprint
    assert fingerprint.dimension == 0
