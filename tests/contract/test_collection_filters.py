"""The filter language means the same on every engine."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient, models

from searchkit.collection import open_collection
from searchkit.config import SearchKitConfig
from searchkit.errors import ConfigError
from searchkit.testing import FakeEncoder, FakeSparseEncoder

LONG = " ".join(f"word{n}" for n in range(100))

PASSAGES = [
    {
        "id": "a",
        "text": "first text",
        "lang": "en",
        "year": 2020,
        "price": 2.5,
        "public": True,
        "day": "2024-01-02",
        "tags": ["red", "blue"],
        "author": {"name": "Ada", "age": 36, "alive": False},
        "parts": [{"no": 1, "ok": True}, {"no": 2, "ok": False}],
        "null": None,
        "odd key": 1,
        "a.b": "flat",
        "flags": [True],
    },
    {
        "id": "b",
        "text": "second text",
        "lang": "de",
        "year": 2021,
        "price": 3.0,
        "public": False,
        "day": "2024-06-01T12:00:00Z",
        "tags": ["green"],
        "author": {"name": "Bob", "age": 50, "alive": True},
        "a": {"b": "nested"},
        "big": 2**60,
    },
    {"id": "c", "text": f"third text {LONG}", "lang": "fr", "year": 2022, "day": datetime(2025, 1, 1), "tags": []},
    {"id": "d", "text": "fourth text", "lang": "True", "year": 2023.0, "numbers": [1, 5, 9], "one": 1},
]

CASES = [
    ({}, "abcd"),
    ({"lang": "en"}, "a"),
    ({"lang": "xx"}, ""),
    ({"lang": "EN"}, ""),
    ({"lang": ["en", "de"]}, "ab"),
    ({"lang": ("fr",)}, "c"),
    ({"lang": {"any": ["fr", "en"]}}, "ac"),
    ({"lang": []}, ""),
    ({"year": 2021}, "b"),
    ({"year": [2020, 2023]}, "ad"),
    ({"year": 2023}, "d"),
    ({"year": 2023.0}, "d"),
    ({"year": 2021.0}, "b"),
    ({"year": "2021"}, ""),
    ({"year": np.int64(2021)}, "b"),
    ({"year": [2021, "2020"]}, "b"),
    ({"year": list(range(2020, 2200))}, "abc"),
    ({"price": 2.5}, "a"),
    ({"price": [2.5, 3]}, "ab"),
    ({"big": 2**60}, "b"),
    ({"big": 2**60 + 1}, ""),
    ({"one": True}, ""),
    ({"public": True}, "a"),
    ({"public": False}, "b"),
    ({"public": [True, False]}, "ab"),
    ({"public": np.bool_(True)}, "a"),
    ({"public": 1}, ""),
    ({"public": "true"}, ""),
    ({"lang": True}, ""),
    ({"lang": "True"}, "d"),
    ({"lang": ["en", True, 3]}, "a"),
    ({"flags": True}, "a"),
    ({"flags": False}, ""),
    ({"year": {"gte": 2021}}, "bcd"),
    ({"year": {"gt": 2021}}, "cd"),
    ({"year": {"lte": 2021}}, "ab"),
    ({"year": {"lt": 2021}}, "a"),
    ({"year": {"gte": 2021, "lt": 2023}}, "bc"),
    ({"year": {"gt": 2020.5, "lte": 2022}}, "bc"),
    ({"price": {"gt": 2.5}}, "b"),
    ({"public": {"gte": 0}}, ""),
    ({"lang": {"gte": 0}}, ""),
    ({"day": "2024-01-02"}, "a"),
    ({"day": {"gte": "2024-01-02"}}, "abc"),
    ({"day": {"gt": "2024-01-02"}}, "bc"),
    ({"day": {"lt": "2024-06-01T14:00:00+02:00"}}, "a"),
    ({"day": {"lte": "2024-06-01T14:00:00+02:00"}}, "ab"),
    ({"day": {"gte": datetime(2024, 6, 1, 12, tzinfo=timezone.utc)}}, "bc"),
    ({"day": {"gt": datetime(2024, 6, 1, 14, tzinfo=timezone(timedelta(hours=2)))}}, "c"),
    ({"day": {"gte": date(2024, 6, 2)}}, "c"),
    ({"day": date(2024, 1, 2)}, "a"),
    ({"day": datetime(2025, 1, 1)}, "c"),
    ({"day": [date(2024, 1, 2), date(2025, 1, 1)]}, "ac"),
    ({"day": {"gte": np.datetime64("2024-06-02")}}, "c"),
    ({"lang": {"not": "en"}}, "bcd"),
    ({"lang": {"not": ["en", "de"]}}, "cd"),
    ({"public": {"not": True}}, "bcd"),
    ({"price": {"not": 2.5}}, "bcd"),
    ({"year": {"not": {"gte": 2022}}}, "ab"),
    ({"year": {"gte": 2021, "not": 2022}}, "bd"),
    ({"year": {"any": [2020, 2021], "gt": 2020}}, "b"),
    ({"price": {"exists": True}}, "ab"),
    ({"price": {"exists": False}}, "cd"),
    ({"public": {"exists": True}}, "ab"),
    ({"null": {"exists": True}}, ""),
    ({"tags": {"exists": True}}, "ab"),
    ({"nothing": {"exists": False}}, "abcd"),
    ({"author": {"exists": True}}, "ab"),
    ({"price": {"exists": True, "lt": 3}}, "a"),
    ({"tags": "red"}, "a"),
    ({"tags": ["red", "green"]}, "ab"),
    ({"tags": {"not": "red"}}, "bcd"),
    ({"numbers": 5}, "d"),
    ({"numbers": {"gt": 8}}, "d"),
    ({"numbers": {"gt": 9}}, ""),
    ({"author.name": "Ada"}, "a"),
    ({"author.age": {"gte": 40}}, "b"),
    ({"author.alive": True}, "b"),
    ({"author.alive": False}, "a"),
    ({"author.name": {"exists": False}}, "cd"),
    ({"parts[].no": 2}, "a"),
    ({"parts[].no": 3}, ""),
    ({"parts[].ok": True}, "a"),
    ({"parts[0].no": 1}, "a"),
    ({"parts[0].no": 2}, ""),
    ({"odd key": 1}, "a"),
    ({'"odd key"': 1}, "a"),
    ({'"a.b"': "flat"}, "a"),
    ({"a.b": "nested"}, "b"),
    ({"lang": "en", "year": 2020}, "a"),
    ({"lang": "en", "year": 2021}, ""),
    ({"lang": ["en", "de"], "public": False, "author.age": {"gt": 49, "lt": 51}}, "b"),
    ({"$or": [{"lang": "en"}, {"year": 2022}]}, "ac"),
    ({"$or": [{"lang": "en"}]}, "a"),
    ({"$or": [{"lang": "en", "year": 2021}, {"public": False}]}, "b"),
    ({"$or": [{"lang": "en"}, {"lang": "de"}], "year": {"gt": 2020}}, "b"),
    ({"$and": [{"tags": "red"}, {"tags": "blue"}]}, "a"),
    ({"$and": [{"lang": "en"}, {"lang": "de"}]}, ""),
    ({"$not": {"lang": "en"}}, "bcd"),
    ({"$not": {"lang": "en", "year": 2021}}, "abcd"),
    ({"$not": {"$or": [{"lang": "en"}, {"public": False}]}}, "cd"),
    ({"$or": [{"$and": [{"year": {"gte": 2021}}, {"$not": {"lang": "fr"}}]}, {"price": 2.5}]}, "abd"),
]


@pytest.fixture
def filled(collection):
    collection.add(PASSAGES)
    return collection


def ids(filled, search, chosen):
    return sorted({candidate.id for candidate in search(filled, "text", filter=chosen)})


@pytest.mark.parametrize("native", [False, True])
def test_every_case_of_the_language(filled, search, native):
    wrong = {}
    for chosen, expected in CASES:
        found = filled.count(chosen) if native else ids(filled, search, chosen)
        if found != (len(expected) if native else list(expected)):
            wrong[repr(chosen)] = (found, expected)
    assert wrong == {}


def test_there_are_enough_cases():
    assert len(CASES) >= 90


def test_both_legs_are_filtered(filled, search):
    for mode in ("dense", "sparse", "hybrid"):
        assert {candidate.id for candidate in search(filled, "text", mode=mode, filter={"lang": "en"})} == {"a"}


def test_a_filter_applies_to_every_window_of_a_long_passage(filled, search):
    found = search(filled, "word99 word1", filter={"lang": "fr"})
    assert {candidate.id for candidate in found} == {"c"}
    assert len(found) > 1
    assert search(filled, "word99", filter={"lang": "en"}, mode="sparse") == []


@pytest.mark.parametrize("unit", ["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns"])
def test_dates_of_every_unit_of_numpy_are_found_by_date_filters(collection, unit):
    moment = np.datetime64("2020-01-01T00:00:00").astype(f"datetime64[{unit}]")
    collection.add([{"id": "a", "text": "first text", "day": moment}])
    found = [{"gte": "2019-12-25"}, {"lt": "2020-01-02"}, {"gte": moment, "lte": moment}, moment, np.array([moment])]
    assert [collection.count({"day": chosen}) for chosen in found] == [1, 1, 1, 1, 1]
    assert collection.count({"day": {"gt": "2020-01-01"}}) == 0


def test_filters_follow_an_update(filled):
    filled.add([{"id": "a", "text": "first text", "lang": "de", "public": False}])
    assert (filled.count({"lang": "en"}), filled.count({"public": True}), filled.count({"public": False})) == (0, 0, 2)


BAD = [
    ({"$nor": [{"a": 1}]}, r"unknown group '\$nor'; groups are \$and, \$or, \$not"),
    ({"$or": []}, "holds a list of filters"),
    ({"$or": [{}]}, "each a dict with something in it"),
    ({"$and": {"a": 1}}, "holds a list of filters"),
    ({"$and": ["a"]}, "holds a list of filters"),
    ({"$not": [{"a": 1}]}, "holds one filter"),
    ({"$not": {}}, "holds one filter"),
    ({"$or": [{"year": {"between": 1}}]}, "unknown operator 'between'"),
    ({"year": {"between": [1, 2]}}, "unknown operator 'between'.*any, exists, gt, gte, lt, lte, not"),
    ({"author": {"name": "Ada"}}, "unknown operator 'name'.*author.inner"),
    ({"year": {}}, "no operator"),
    ({"year": {"gte": "soon"}}, "'gte' of 'year' cannot be 'soon'"),
    ({"year": {"gte": True}}, "cannot be True"),
    ({"year": {"gte": None}}, "cannot be None"),
    ({"year": {"gte": [1]}}, "cannot be"),
    ({"year": {"gte": float("nan")}}, "cannot be nan"),
    ({"year": {"gte": float("inf")}}, "cannot be inf"),
    ({"year": {"gte": 1, "lt": "2024-01-01"}}, "numbers and dates at once"),
    ({"year": None}, "exists"),
    ({"year": [None]}, "exists"),
    ({"year": float("nan")}, "cannot be nan"),
    ({"year": 2**64}, "64 bits"),
    ({"year": b"x"}, "cannot be b'x'"),
    ({"lang": {"exists": "yes"}}, "True or False"),
    ({"lang": {"any": "en"}}, "list of values"),
    ({"lang": "\ud800"}, "surrogate"),
    ({1: 2}, "strings"),
    ({"": 1}, "not a path"),
    ({"a\\b": 1}, "not a path"),
    ({"a": {"not": {"not": 1}}}, "'not' inside 'not'"),
    ({"a..b": 1}, "not a path"),
    ({".a": 1}, "not a path"),
    ({"a.": 1}, "not a path"),
    ({"a[x]": 1}, "not a path"),
    ({'a"b': 1}, "not a path"),
    ("lang = en", "a dict such as"),
    ([("lang", "en")], "a dict such as"),
    (7, "a dict such as"),
]


@pytest.mark.parametrize(("chosen", "message"), BAD, ids=[repr(chosen) for chosen, _ in BAD])
def test_a_wrong_filter_is_an_error_that_says_what_is_right(filled, search, chosen, message):
    with pytest.raises(ConfigError, match=message):
        search(filled, "text", filter=chosen)
    with pytest.raises(ConfigError, match=message):
        filled.count(chosen)
    with pytest.raises(ConfigError, match=message):
        filled.delete(filter=chosen)


NATIVE = [
    (models.Filter(must=[models.FieldCondition(key="metadata.lang", match=models.MatchValue(value="en"))]), "a"),
    (models.Filter(must_not=[models.FieldCondition(key="metadata.year", range=models.Range(gte=2021))]), "a"),
    (
        models.Filter(
            should=[
                models.FieldCondition(key="metadata.lang", match=models.MatchAny(any=["fr"])),
                models.FieldCondition(key="metadata.tags", match=models.MatchValue(value="green")),
            ]
        ),
        "bc",
    ),
    (
        models.Filter(must=models.FieldCondition(key="metadata.lang", match=models.MatchExcept(**{"except": ["en"]}))),
        "bcd",
    ),
    (models.Filter(must=[models.IsEmptyCondition(is_empty=models.PayloadField(key="metadata.price"))]), "cd"),
    (models.Filter(must=[models.IsNullCondition(is_null=models.PayloadField(key="metadata.null"))]), "a"),
    (
        models.Filter(
            must=[models.FieldCondition(key="metadata.day", range=models.DatetimeRange(gte=datetime(2024, 5, 1)))]
        ),
        "bc",
    ),
    (
        models.Filter(
            must=[
                models.NestedCondition(
                    nested=models.Nested(
                        key="metadata.parts",
                        filter=models.Filter(
                            must=[models.FieldCondition(key="no", match=models.MatchValue(value=2))],
                        ),
                    )
                )
            ]
        ),
        "a",
    ),
    (models.Filter(must=[models.FieldCondition(key="metadata.tags", values_count=models.ValuesCount(gte=2))]), "a"),
    (
        models.Filter(
            min_should=models.MinShould(
                conditions=[
                    models.FieldCondition(key="metadata.lang", match=models.MatchValue(value="en")),
                    models.FieldCondition(key="metadata.year", range=models.Range(lt=2022)),
                ],
                min_count=2,
            )
        ),
        "a",
    ),
    (models.Filter(must=[models.FieldCondition(key="text", match=models.MatchText(text="second"))]), "b"),
]


@pytest.mark.parametrize(("native", "expected"), NATIVE, ids=range(len(NATIVE)))
def test_a_models_filter_is_taken_as_it_is(filled, search, native, expected):
    assert ids(filled, search, native) == list(expected)
    assert filled.count(native) == len(expected)


def test_a_models_filter_can_choose_what_to_delete(filled):
    native = models.Filter(must=[models.FieldCondition(key="metadata.lang", match=models.MatchValue(value="fr"))])
    assert filled.delete(filter=native) == 1
    assert filled.get(["c"]) == []
    assert filled.count() == 3


def test_a_models_filter_that_matches_one_window_deletes_the_whole_passage(filled):
    native = models.Filter(must=[models.FieldCondition(key="window.index", match=models.MatchValue(value=1))])
    assert filled.delete(filter=native) == 1
    assert filled.count() == 3


values = st.one_of(
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([-1.5, 0.0, 1.0, 2.5]),
    st.sampled_from(["x", "y", "true", "1"]),
    st.none(),
)
stored = st.dictionaries(st.sampled_from(["p", "q"]), st.one_of(values, st.lists(values, max_size=3)), max_size=2)
wanted = st.one_of(
    st.booleans(), st.integers(-3, 3), st.sampled_from([-1.5, 0.0, 2.5]), st.sampled_from(["x", "true", "1"])
)
chosen_values = st.one_of(
    wanted,
    st.lists(wanted, max_size=3),
    st.fixed_dictionaries({"not": wanted}),
    st.fixed_dictionaries({"exists": st.booleans()}),
    st.fixed_dictionaries({"gte": st.integers(-3, 3)}),
    st.fixed_dictionaries({"gt": st.integers(-3, 3), "lte": st.integers(-3, 3)}),
)
filters = st.dictionaries(st.sampled_from(["p", "q"]), chosen_values, max_size=2)


def same(value, other):
    return isinstance(value, bool) == isinstance(other, bool) and value == other


def holds(value, condition):
    """What the language means, written down once more, without any engine."""
    elements = value if isinstance(value, list) else [value]
    if not isinstance(condition, dict):
        options = condition if isinstance(condition, list) else [condition]
        return any(same(element, option) for element in elements for option in options if element is not None)
    if "not" in condition:
        return not holds(value, condition["not"])
    if "exists" in condition:
        return (value is not None and value != []) == condition["exists"]
    numbers = [e for e in elements if isinstance(e, (int, float)) and not isinstance(e, bool)]
    return any(
        n >= condition.get("gte", n) and n <= condition.get("lte", n) and (n > condition.get("gt", n - 1))
        for n in numbers
    )


@pytest.fixture(scope="module", params=["embedded", "memory", "wire"])
def scratch(request, tmp_path_factory):
    if request.param == "embedded":
        where = {"path": tmp_path_factory.mktemp("scratch")}
    elif request.param == "memory":
        where = {"client": QdrantClient(":memory:")}
    else:
        where = {"url": request.getfixturevalue("wire_server").url}
    collection = open_collection(
        "scratch", **where, encoder=FakeEncoder(8), sparse_encoder=FakeSparseEncoder(), config=SearchKitConfig()
    )
    yield collection
    collection.close()


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(stored, min_size=1, max_size=4), st.lists(filters, min_size=1, max_size=6))
def test_engines_agree_with_the_definition(scratch, all_metadata, all_filters):
    scratch.add([{"id": n, "text": "same text", "metadata": metadata} for n, metadata in enumerate(all_metadata)])
    try:
        for chosen in all_filters:
            expected = sum(
                all(holds(metadata.get(key), condition) for key, condition in chosen.items())
                for metadata in all_metadata
            )
            assert scratch.count(chosen) == expected, chosen
    finally:
        scratch.delete(range(4))
