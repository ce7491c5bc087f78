"""Contestants that are prepared before the clock starts must still give the logits of the texts."""

from __future__ import annotations

import numpy as np
import pytest

from searchkit.benchmarking import NotRunError, SentenceTransformersPeer
from searchkit.benchmarking.bulk import TokenTexts
from searchkit.benchmarking.stock import StockGraphed
from searchkit.benchmarking.tokens import EngineAlone, Prepared, TokensIn
from searchkit.benchmarking.workloads import PairLengths
from searchkit.models.tokenizer import load_tokenizer


@pytest.fixture
def pairs(source):
    return [*source.pairs(9), *source.pairs(4), ("a very long text", source.prose(900))]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr("searchkit.benchmarking.stock._ROWS", 4)


@pytest.mark.parametrize("kind", [TokensIn, EngineAlone, StockGraphed])
def test_prepared_contestants_return_the_logits_of_the_texts(tiny, pairs, kind):
    peer = SentenceTransformersPeer(tiny)
    peer.load()
    contestant = kind(tiny, engine="torch") if kind is not StockGraphed else kind(tiny)
    contestant.load()
    assert isinstance(contestant, Prepared)
    contestant.prepare(pairs)
    assert np.abs(contestant.score(pairs) - peer.score(pairs)).max() < 1e-3
    assert contestant.setup


@pytest.mark.parametrize("kind", [EngineAlone, StockGraphed])
def test_what_was_not_prepared_is_not_scored_by_those_that_need_it(tiny, pairs, kind):
    contestant = kind(tiny)
    if kind is EngineAlone:
        contestant = kind(tiny, engine="torch")
    contestant.load()
    contestant.prepare(pairs)
    with pytest.raises(NotRunError, match="only what it was prepared for"):
        contestant.score(list(pairs))


def test_the_store_holds_passages_only_so_that_queries_cost_time(tiny, pairs):
    contestant = TokensIn(tiny, engine="torch")
    contestant.load()
    contestant.prepare(pairs)
    assert set(contestant._stored) == {text for _, text in pairs}


def test_queries_and_passages_have_the_tokens_asked_for(tiny, source):
    texts = TokenTexts(tiny.folder, source, 300)
    workload = texts.workload(2, 150, query_tokens=30, lengths=PairLengths(tiny.folder, 512), per_query=100)
    assert [len(call) for call in workload.queries] == [150, 150]
    assert [len({query for query, _ in call}) for call in workload.queries] == [2, 2]
    tokenizer = load_tokenizer(tiny.folder)
    queries = {query for call in workload.queries for query, _ in call}
    assert all(abs(len(tokenizer.encode(query, add_special_tokens=False).ids) - 30) <= 1 for query in queries)
    assert 3 + 30 + 90 < np.mean(workload.lengths) < 3 + 30 + 110
    assert len(workload.lengths) == 300
