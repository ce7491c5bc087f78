"""What a passage may be, in detail; the contract suite shows that collections apply it."""

from __future__ import annotations

import enum
import uuid
from datetime import date, datetime, timezone
from decimal import Decimal
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchkit.collection.metadata import clean_metadata
from searchkit.collection.passages import RecordStream, checked_id, checked_ids, content_hash, read_record
from searchkit.errors import PayloadError, SearchkitError
from searchkit.types import Passage

LIMIT = 1000

keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
anything = st.recursive(
    json_values | st.binary() | st.floats() | st.text() | st.decimals() | st.dates() | st.datetimes() | st.uuids(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "text", "metadata", "x"]) | st.text() | st.integers(), inner, max_size=4
        )
        | st.sets(st.integers(), max_size=2)
    ),
    max_leaves=10,
)


@given(st.dictionaries(keys, json_values, max_size=5))
def test_json_metadata_is_kept_as_it_is(metadata):
    assert clean_metadata(metadata) == metadata


@given(anything)
def test_whatever_comes_is_a_record_or_our_error(item):
    try:
        record = read_record(item, LIMIT)
    except SearchkitError as error:
        assert isinstance(error, PayloadError)  # noqa: PT017  # that no other error comes is the claim
        str(error).encode()
    else:
        record.text.encode()
        assert len(record.hash) == 24


class Colour(str, enum.Enum):
    """An enum as users write it."""

    RED = "red"


class Level(enum.IntEnum):
    """Another one."""

    HIGH = 3


UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")

CONVERTED = [
    (np.int32(3), 3),
    (np.float64(0.5), 0.5),
    (np.bool_(True), True),
    (np.str_("x"), "x"),
    (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    (np.array([True]), [True]),
    (np.datetime64("2024-01-02"), "2024-01-02"),
    (np.array(["2024-01-02"], dtype="datetime64[D]"), ["2024-01-02"]),
    (np.datetime64("2024"), "2024-01-01"),
    (np.datetime64("2024-03"), "2024-03-01"),
    (np.datetime64("2024-01-04", "W"), "2024-01-04"),
    (np.datetime64("2024-01-02T10", "h"), "2024-01-02T10:00:00"),
    (np.datetime64("2024-01-02T10:30", "m"), "2024-01-02T10:30:00"),
    (np.datetime64("2024-01-02T10:30:05.5", "ms"), "2024-01-02T10:30:05.500"),
    (np.array(["2024-03"], dtype="datetime64[M]"), ["2024-03-01"]),
    ((1, "a"), [1, "a"]),
    (date(2024, 1, 2), "2024-01-02"),
    (datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone.utc), "2024-01-02T03:04:05+00:00"),
    (Colour.RED, "red"),
    (Level.HIGH, 3),
    (UUID, str(UUID)),
    (MappingProxyType({"a": (1,)}), {"a": [1]}),
]


@pytest.mark.parametrize(("value", "expected"), CONVERTED, ids=[repr(value)[:40] for value, _ in CONVERTED])
def test_values_with_an_obvious_form_are_converted(value, expected):
    converted = clean_metadata({"v": value})["v"]
    assert converted == expected
    assert type(converted) is type(expected)


class Nothing(datetime):
    """As pandas.NaT behaves."""

    def __eq__(self, other):
        return False

    __hash__ = datetime.__hash__


REFUSED = [
    Decimal("1.5"),
    b"x",
    {1, 2},
    object(),
    1j,
    float("inf"),
    2**63,
    -(2**63) - 1,
    "\ud800",
    "a\0b",
    np.float32("nan"),
    np.datetime64("NaT"),
    np.datetime64("NaT", "M"),
    np.array([object()]),
    range(3),
    Nothing(2024, 1, 1),
    {"k": {1: 2}},
    {"\0": 1},
]


@pytest.mark.parametrize("value", REFUSED, ids=[ascii(value)[:40] for value in REFUSED])
def test_values_without_a_form_are_refused_by_name(value):
    with pytest.raises(PayloadError, match=r"metadata\.outer\.v"):
        clean_metadata({"outer": {"v": value}})


def test_metadata_that_contains_itself_is_refused():
    metadata: dict[str, object] = {}
    metadata["again"] = metadata
    items: list[object] = []
    items.append(items)
    for bad in (metadata, {"l": items}):
        with pytest.raises(PayloadError, match="32 levels"):
            clean_metadata(bad)


def test_the_callers_objects_are_not_shared():
    inner = {"a": [1]}
    record = read_record({"id": "x", "text": "t", "metadata": inner}, LIMIT)
    inner["a"].append(2)
    assert record.metadata == {"a": [1]}


def test_keys_beside_the_text_are_metadata_and_join_the_mapping():
    record = read_record({"text": "t", "lang": "en", "metadata": {"year": 1}}, LIMIT)
    assert record.metadata == {"lang": "en", "year": 1}
    assert read_record({"text": "t", "metadata": None}, LIMIT).metadata == {}


def test_a_hash_depends_on_text_and_metadata_and_nothing_else():
    assert content_hash("t", {"a": 1, "b": 2}) == content_hash("t", {"b": 2, "a": 1})
    others = [content_hash("t", {}), content_hash("u", {}), content_hash("t", {"a": 1}), content_hash("t", {"a": "1"})]
    assert len(set(others)) == 4


def test_a_string_a_dict_and_a_passage_of_one_text_are_the_same():
    records = [read_record(item, LIMIT) for item in ("t", {"text": "t"}, Passage(text="t"))]
    assert records[0] == records[1] == records[2]


@pytest.mark.parametrize("value", [np.int64(5), 5])
def test_numpy_integers_are_ids(value):
    assert (checked_id(value), type(checked_id(value))) == (5, int)


@pytest.mark.parametrize("value", [UUID, 1.0, None, True, np.bool_(True), b"y", [], "", "x" * 5000, -1, 2**63])
def test_what_cannot_be_an_id_is_refused(value):
    with pytest.raises(PayloadError, match="id"):
        checked_id(value)


@pytest.mark.parametrize("value", ["abc", b"xyz", {"a": 1}, 5, None])
def test_a_single_id_is_refused_where_a_list_is_wanted(value):
    with pytest.raises(PayloadError, match=r"ids=\[\.\.\.\]"):
        checked_ids(value)


def test_the_text_of_an_error_never_holds_a_long_value():
    with pytest.raises(PayloadError) as caught:
        read_record(["x" * 10_000], LIMIT)
    assert len(str(caught.value)) < 300


def test_a_sequence_is_checked_before_it_is_read():
    with pytest.raises(PayloadError, match="position 1"):
        RecordStream(["good", ""], LIMIT)
    assert [record.text for record in RecordStream(["a", "b"], LIMIT)] == ["a", "b"]


def test_an_iterator_is_read_as_it_comes():
    stream = iter(RecordStream(iter(["good", ""]), LIMIT))
    assert next(stream).text == "good"
    with pytest.raises(PayloadError, match="position 1"):
        next(stream)
