import statistics

import pytest

from searchkit.errors import ConfigError
from searchkit.models.sample_texts import TextSource, digest, real_sentences
from tests.unit.benchmarking.stubs import SENTENCES


def test_the_standard_library_has_thousands_of_plain_sentences():
    sentences = real_sentences()
    assert len(sentences) > 2000
    assert len(set(sentences)) == len(sentences)
    assert all(sentence[0].isupper() and sentence[-1] in ".!?" and ">>>" not in sentence for sentence in sentences)


def test_passages_and_queries_have_the_lengths_of_ms_marco():
    source = TextSource(0, SENTENCES)
    passages = [len(source.passage().split()) for _ in range(2000)]
    assert 52 < statistics.mean(passages) < 60
    assert 30 < statistics.quantiles(passages, n=4)[0] < statistics.quantiles(passages, n=4)[2] < 85
    assert 4 < statistics.mean(len(source.query().split()) for _ in range(500)) < 8


def test_a_seed_gives_the_same_texts_and_another_seed_others():
    first, again, other = (TextSource(seed, SENTENCES).pairs(30) for seed in (1, 1, 2))
    assert first == again
    assert digest(first) == digest(again) != digest(other)


def test_no_passage_of_a_call_comes_twice():
    pairs = TextSource(3, SENTENCES).pairs(300)
    assert len({text for _, text in pairs}) == 300
    assert len({query for query, _ in pairs}) == 1


def test_prose_has_exactly_the_words_asked_for():
    assert [len(TextSource(0, SENTENCES).prose(count).split()) for count in (1, 9, 60)] == [1, 9, 60]


def test_a_python_without_sources_is_an_error_that_says_so(monkeypatch, tmp_path):
    from searchkit.models import sample_texts as texts

    monkeypatch.setattr(texts, "_library", lambda: tmp_path)
    real_sentences.cache_clear()
    try:
        with pytest.raises(ConfigError, match=r"only 0 usable sentences: run this with a Python"):
            real_sentences()
    finally:
        real_sentences.cache_clear()
