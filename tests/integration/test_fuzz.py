"""Whatever a caller passes, a call answers or raises an error of ours, and the collection stays whole."""

from __future__ import annotations

import datetime
import decimal
import math
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient

from searchkit import Passage, SearchKit, SearchKitConfig
from searchkit.errors import ConfigError, SearchkitError
from searchkit.testing import FakeEncoder, FakeReranker

SEED = [{"id": f"p{n}", "text": f"text number {n}", "n": n, "lang": "en"} for n in range(5)]


class Odd:
    """An object that nothing expects."""


texts = st.text(st.characters(), max_size=20)  # lone surrogates and NUL included
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 12),
    st.integers(),
    st.floats(),
    texts,
    st.binary(max_size=5),
    st.sampled_from([Odd(), Odd, decimal.Decimal("1.5"), datetime.datetime(2024, 1, 1), 2**70, -(2**70), 1e400, "p1"]),
)
junk = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner),
        st.dictionaries(st.one_of(texts, st.integers(0, 3), st.none()), inner, max_size=3),
        st.frozensets(st.one_of(texts, st.integers()), max_size=2),
    ),
    max_leaves=6,
)
words = st.sampled_from(["text", "number 3", "text\n1", "x" * 30_000])
operators = ["gte", "gt", "lte", "lt", "not", "exists", "any", "$or", "$and", "$not", "like", ""]
filters = st.one_of(
    junk,
    st.dictionaries(
        st.one_of(st.sampled_from(["n", "lang", "$or", "$and", "$not", "a.b", "n[]", ""]), texts),
        st.one_of(junk, st.dictionaries(st.sampled_from(operators), junk, max_size=2)),
        max_size=3,
    ),
)
ids = st.one_of(st.lists(st.one_of(st.sampled_from(["p1", "p2", 3]), scalars), max_size=4), junk)
passages = st.one_of(
    texts,
    st.fixed_dictionaries({"text": st.one_of(words, junk)}, optional={"id": scalars, "n": junk, "metadata": junk}),
    st.builds(Passage, text=words, id=st.one_of(st.integers(0, 9), st.sampled_from(["p1", "q"]))),
    junk,
)
searching = {
    "top_k": st.one_of(st.integers(0, 9), scalars),
    "candidate_depth": st.one_of(st.integers(5, 60), scalars),
    "criteria": st.one_of(words, junk),
    "filter": filters,
    "min_score": st.one_of(st.floats(0, 1), scalars),
    "deadline_s": st.one_of(
        st.just(5.0), st.just(math.nan), scalars.filter(lambda value: not isinstance(value, float))
    ),
    "mode": st.one_of(st.sampled_from(["dense", "sparse", "hybrid"]), scalars),
    "rerank": st.one_of(st.booleans(), scalars),
    "group_by": st.one_of(st.sampled_from(["n", "lang", "none"]), scalars),
}


def arguments(**known):
    """Some of the arguments, each of a strategy of its own."""
    return st.fixed_dictionaries({}, optional=known)


calls = st.one_of(
    st.tuples(st.just("search"), st.tuples(st.one_of(words, junk)), arguments(**searching)),
    st.tuples(st.just("search_batch"), st.tuples(st.one_of(st.lists(words, max_size=2), junk)), arguments(**searching)),
    st.tuples(st.just("add"), st.tuples(st.one_of(st.lists(passages, max_size=3), junk)), st.just({})),
    st.tuples(st.just("get"), st.tuples(ids), st.just({})),
    st.tuples(st.just("delete"), st.just(()), arguments(ids=ids, filter=filters)),
    st.tuples(st.just("count"), st.just(()), arguments(filter=filters)),
    st.tuples(
        st.just("rerank"),
        st.tuples(st.one_of(words, junk), st.one_of(st.lists(passages, max_size=3), junk)),
        arguments(
            scores=st.one_of(st.lists(st.floats(0, 1), max_size=3), junk),
            top_k=searching["top_k"],
            criteria=searching["criteria"],
            deadline_s=searching["deadline_s"],
        ),
    ),
    st.tuples(st.just("scoped"), st.tuples(junk), arguments(tenant=junk)),
)


@pytest.mark.soak
def test_every_call_answers_or_raises_an_error_of_ours(soak_count):
    client = QdrantClient(":memory:")
    seen = Counter()
    kit = SearchKit("things", client=client, encoder=FakeEncoder(16), reranker=FakeReranker())
    kit.add(SEED)

    @settings(max_examples=soak_count(full=20_000, reduced=300), deadline=None, suppress_health_check=list(HealthCheck))
    @given(call=calls)
    def run(call):
        name, given_in_place, named = call
        try:
            getattr(kit, name)(*given_in_place, **named)
        except SearchkitError:
            seen["refused"] += 1
        else:
            seen["answered"] += 1

    with kit:
        run()
        kit.add(SEED)
        assert [passage.text for passage in kit.get([one["id"] for one in SEED])] == [one["text"] for one in SEED]
        assert kit.search("text number 3").status == "reranked"
    client.close()
    assert min(seen["refused"], seen["answered"]) > 20


@pytest.mark.soak
def test_a_configuration_is_refused_by_its_field_or_works(soak_count):
    fields = dict.fromkeys(SearchKitConfig.model_fields, junk)

    @settings(max_examples=soak_count(full=2_000, reduced=100), deadline=None, suppress_health_check=list(HealthCheck))
    @given(given_fields=st.fixed_dictionaries({}, optional=fields))
    def run(given_fields):
        try:
            config = SearchKitConfig(**given_fields)
        except ConfigError as error:
            found = str(error).removeprefix("SearchKitConfig.").removeprefix("there is no setting SearchKitConfig.")
        else:
            assert SearchKitConfig.model_validate(config.model_dump()) == config
            return
        assert found.startswith(tuple(given_fields))

    run()
