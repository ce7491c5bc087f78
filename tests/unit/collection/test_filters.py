"""Parsing of the filter language, and conversion of a vendor's filters; the contract suite shows what they match."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from qdrant_client import models

from searchkit.collection.backends.embedded_filters import accept, render
from searchkit.collection.filters import All, AnyOf, Exists, InRange, Not, Some, parse_filter, payload_path
from searchkit.errors import ConfigError


def only(raw):
    [condition] = parse_filter(raw).conditions
    return condition


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("lang", "metadata.lang"),
        ("a.b.c", "metadata.a.b.c"),
        ("a[].b", "metadata.a[].b"),
        ("a[0].b[]", "metadata.a[0].b[]"),
        ("odd key", 'metadata."odd key"'),
        ('"a.b"', 'metadata."a.b"'),
        ('x."a.b"[].y', 'metadata.x."a.b"[].y'),
        ("größe", 'metadata."größe"'),
        ("with-dash_1", "metadata.with-dash_1"),
    ],
)
def test_keys_become_payload_paths(key, path):
    assert payload_path(key) == path


def test_values_become_conditions_by_type():
    assert only({"k": "x"}) == AnyOf("metadata.k", ("x",))
    assert only({"k": True}) == AnyOf("flags.k", ("true",))
    assert only({"k": 3}) == InRange("metadata.k", gte=3, lte=3)
    assert only({"k": 2**60}) == AnyOf("metadata.k", (2**60,))
    assert only({"k": [1, "x"]}) == Some((InRange("metadata.k", gte=1, lte=1), AnyOf("metadata.k", ("x",))))
    assert only({"k": []}) == AnyOf("metadata.k", ())


def test_operators_become_conditions():
    assert only({"k": {"gte": 1, "lt": 2.5}}) == InRange("metadata.k", gte=1, lt=2.5)
    assert only({"k": {"not": "x"}}) == Not(AnyOf("metadata.k", ("x",)))
    assert only({"k": {"not": {"gt": 1}}}) == Not(InRange("metadata.k", gt=1))
    assert only({"k": {"exists": False}}) == Not(Exists("metadata.k"))
    assert only({"k": {"gt": 1, "exists": True}}) == All((InRange("metadata.k", gt=1), Exists("metadata.k")))


def test_groups_combine_whole_filters():
    a, b = (All((AnyOf(f"metadata.{key}", ("x",)),)) for key in "ab")
    assert only({"$or": [{"a": "x"}, {"b": "x"}]}) == Some((a, b))
    assert only({"$and": [{"a": "x"}, {"b": "x"}]}) == All((a, b))
    assert only({"$not": {"a": "x"}}) == Not(a)
    assert only({'"$or"': "x"}) == AnyOf('metadata."$or"', ("x",))


def test_groups_in_groups_end_somewhere():
    raw = {"a": 1}
    for _ in range(500):
        raw = {"$not": raw}
    with pytest.raises(ConfigError, match="levels deep"):
        parse_filter(raw)


def test_dates_are_compared_as_moments_in_utc():
    condition = only({"k": {"gte": "2024-01-01", "lt": datetime(2024, 1, 2, tzinfo=timezone(timedelta(hours=2)))}})
    assert condition.gte == datetime(2024, 1, 1, tzinfo=timezone.utc)
    assert condition.lt == datetime(2024, 1, 1, 22, tzinfo=timezone.utc)
    assert condition.is_datetime
    assert only({"k": {"gte": "2024-01-01T00:00:00Z"}}) == only({"k": {"gte": "2024-01-01T01:00:00+01:00"}})


def test_a_long_list_of_integers_is_one_condition():
    assert only({"k": list(range(1000))}) == AnyOf("metadata.k", tuple(range(1000)))


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.datetimes(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.sampled_from(["gte", "not"]), inner, max_size=3)
    ),
    max_leaves=8,
)


path_like = st.text('ab."[]\\0 9\ud800', max_size=8)


@settings(max_examples=300)
@given(st.dictionaries(st.text() | path_like, json_like, max_size=3))
@example({"a[99999999999999999999]": 1})
@example({"a": {"gte": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5)))}})
@example({"a": {"not": {"not": {"not": 1}}}})
def test_whatever_comes_is_a_filter_or_our_error(raw):
    try:
        condition = parse_filter(raw)
    except ConfigError as error:
        str(error).encode()  # a message can always be printed
    else:
        render(condition)


def field(**condition):
    return models.Filter(must=[models.FieldCondition(key="k", **condition)])


@pytest.mark.parametrize(
    ("native", "message"),
    [
        (field(match=models.MatchValue(value=True)), "bools"),
        (
            field(
                geo_bounding_box=models.GeoBoundingBox(
                    top_left=models.GeoPoint(lon=0, lat=1), bottom_right=models.GeoPoint(lon=1, lat=0)
                )
            ),
            "geo_bounding_box",
        ),
        (models.Filter(must=[models.HasVectorCondition(has_vector="dense")]), "HasVectorCondition"),
        ("lang = 'en'", "a dict such as"),
        (models.FieldCondition(key="k", match=models.MatchValue(value=1)), "a dict such as"),
    ],
)
def test_what_the_embedded_engine_cannot_run_is_said(native, message):
    with pytest.raises(ConfigError, match=message):
        accept(native)


def test_nested_and_combined_native_filters_are_converted():
    circle = models.GeoRadius(center=models.GeoPoint(lon=1, lat=2), radius=3.0)
    native = models.Filter(
        must=field(match=models.MatchAny(any=[1, 2])),
        should=[field(geo_radius=circle), models.HasIdCondition(has_id=[1])],
        must_not=[field(range=models.DatetimeRange(lt=datetime(2024, 1, 1, tzinfo=timezone.utc)))],
    )
    converted = accept(native)
    assert (len(converted.must), len(converted.should), len(converted.must_not)) == (1, 2, 1)
    assert accept(converted) is converted
