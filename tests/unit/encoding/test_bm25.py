from __future__ import annotations

import pytest

from searchkit.encoding import Bm25Encoder
from searchkit.errors import ConfigError, EncodingError


def test_a_query_weighs_each_of_its_words_once_and_stopwords_not_at_all():
    (vector,) = Bm25Encoder().encode_queries(["the running runner runs the race, the RACE"])
    assert vector.values == [1.0] * len(vector.indices)
    assert len(set(vector.indices)) == len(vector.indices) == 3  # run, runner, race


def test_query_and_passage_share_the_indices_of_shared_words():
    encoder = Bm25Encoder()
    (query,), (passage,) = encoder.encode_queries(["jumping foxes"]), encoder.encode_passages(["a fox that jumped"])
    assert set(query.indices) == set(passage.indices)


def test_repetition_raises_a_weight_less_and_less_and_length_lowers_it():
    encoder = Bm25Encoder(average_length=10)
    once, twice, thrice, long = (
        vector.values[vector.indices.index(encoder.encode_queries(["fox"])[0].indices[0])]
        for vector in encoder.encode_passages(["fox", "fox fox", "fox fox fox", "fox " + "word " * 60])
    )
    assert once < twice < thrice
    assert thrice - twice < twice - once
    assert long < once


def test_texts_of_nothing_but_stopwords_give_empty_vectors():
    encoder = Bm25Encoder()
    for vector in [*encoder.encode_queries(["the of", ""]), *encoder.encode_passages(["", "and the"])]:
        assert vector.indices == []
        assert vector.values == []


def test_no_texts_give_no_vectors():
    assert Bm25Encoder().encode_queries([]) == []
    assert Bm25Encoder().encode_passages([]) == []


def test_own_stopwords_replace_those_of_the_language():
    encoder = Bm25Encoder(stopwords=["fox"])
    (vector,) = encoder.encode_queries(["fox the"])
    assert vector == Bm25Encoder(stopwords=["fox"]).encode_queries(["the"])[0]
    assert len(vector.indices) == 1


def test_equal_settings_have_equal_fingerprints_and_any_difference_shows():
    first = Bm25Encoder(stopwords=["b", "a", "a"]).fingerprint()
    assert first == Bm25Encoder(stopwords=["a", "b"]).fingerprint()
    others = [
        Bm25Encoder(),
        Bm25Encoder("german"),
        Bm25Encoder(k=1.3),
        Bm25Encoder(b=0.5),
        Bm25Encoder(average_length=100),
        Bm25Encoder(stopwords=[]),
    ]
    assert len({encoder.fingerprint().weight_hash for encoder in others} | {first.weight_hash}) == 7


@pytest.mark.parametrize(
    "arguments", [{"language": "klingon"}, {"k": -1}, {"b": 2}, {"average_length": 0}, {"stopwords": "the"}]
)
def test_settings_that_cannot_work_are_refused_at_once(arguments):
    with pytest.raises(ConfigError):
        Bm25Encoder(**arguments)


@pytest.mark.parametrize("texts", ["one string", [None], ["\ud800"]])
def test_what_is_no_list_of_texts_is_refused(texts):
    with pytest.raises(EncodingError):
        Bm25Encoder().encode_passages(texts)
