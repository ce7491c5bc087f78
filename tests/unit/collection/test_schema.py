"""Point ids and payloads."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from searchkit.collection import schema
from searchkit.stages import Window

ids = st.one_of(st.text(min_size=1), st.integers(0, 2**63 - 1))


@given(ids, st.integers(0, schema.MAX_WINDOWS - 1))
def test_point_ids_are_uuids_of_version_five(passage_id, index):
    point = schema.point_id(schema.passage_key(passage_id), index)
    parsed = uuid.UUID(schema.uuid_text(point))
    assert (parsed.int, parsed.version, parsed.variant) == (point, 5, uuid.RFC_4122)
    assert schema.key_of(point) == schema.passage_key(passage_id)
    assert schema.window_index_of(point) == index


@given(st.integers(0, 2**63 - 1))
def test_an_integer_and_its_digits_are_different_passages(number):
    assert schema.passage_key(number) != schema.passage_key(str(number))


def test_point_ids_never_change():
    """A stored collection depends on them: if this fails, raise the schema version."""
    assert schema.uuid_text(schema.point_id(schema.passage_key("a1"), 0)) == "fc2ac599-4c2b-55d6-a514-1f4134000000"
    assert schema.uuid_text(schema.point_id(schema.passage_key(7), 258)) == "c51f976d-59cd-52ee-acef-906e01000102"


def test_all_points_of_a_passage_are_neighbours():
    key = schema.passage_key("x")
    points = list(schema.point_ids(key, 3))
    assert points == [schema.point_id(key, index) for index in range(3)]
    assert schema.first_points([points[2], points[1], schema.point_id(5, 9)]) == [points[0], schema.point_id(5, 0)]


def test_bools_are_mirrored_where_they_are():
    metadata = {"a": True, "n": 1, "d": {"b": False, "s": "x"}, "l": [True, 3, {"c": True}], "e": {"x": 1}, "m": [1]}
    assert schema.bool_mirror(metadata) == {"a": "true", "d": {"b": "false"}, "l": ["true", {"c": "true"}]}
    assert schema.bool_mirror({"n": 1, "s": "true", "e": {}}) == {}


def test_a_payload_without_a_window_is_one_whole_text():
    assert schema.window_from({"text": "four"}) == Window(0, 1, 0, 4)
    window = Window(2, 5, 10, 20)
    assert schema.window_from({"text": "x", "window": schema.window_payload(window)}) == window


def test_a_derived_id_depends_on_the_text_alone():
    assert schema.derived_id("text") == schema.derived_id("text") != schema.derived_id("texts")
