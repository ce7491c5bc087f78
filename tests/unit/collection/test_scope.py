from __future__ import annotations

import pytest

from searchkit.collection.schema import passage_key
from searchkit.collection.scope import EVERYTHING, scope_of
from searchkit.errors import ConfigError, PayloadError


def test_ids_of_scopes_differ_by_every_field_and_value_and_not_by_their_order():
    scopes = [
        {"tenant": "a"}, {"tenant": "b"}, {"team": "a"}, {"tenant": "1"}, {"tenant": 1}, {"tenant": True},
        {"tenant": "a", "team": "b"}, {"tenant": "b", "team": "a"},
    ]  # fmt: skip
    keys = {scope_of(fields).key("same id") for fields in scopes}
    assert len(keys | {EVERYTHING.key("same id")}) == len(scopes) + 1
    assert scope_of({"a": 1, "b": 2}).key("x") == scope_of({"b": 2, "a": 1}).key("x")


def test_ids_without_a_scope_are_those_of_collections_made_before_scopes():
    assert EVERYTHING.key("x") == passage_key("x")
    assert EVERYTHING.other_keys("x") == ()
    assert scope_of({"tenant": "a"}).other_keys("x") == (passage_key("x"),)


@pytest.mark.parametrize(
    ("stored", "is_admitted", "is_owned"),
    [
        ("a", True, True),
        (["a"], True, False),
        (["b", "a"], True, False),
        ([["a"]], False, False),
        ("b", False, False),
        ("A", False, False),
        (None, False, False),
        ({"a": "a"}, False, False),
        ([], False, False),
    ],
)
def test_a_value_or_a_list_with_it_may_be_read_and_the_value_alone_changed(stored, is_admitted, is_owned):
    scope = scope_of({"tenant": "a"})
    assert (scope.admits({"tenant": stored}), scope.owns({"tenant": stored})) == (is_admitted, is_owned)


def test_types_are_compared_too():
    assert not scope_of({"tenant": 1}).admits({"tenant": True})
    assert not scope_of({"tenant": True}).admits({"tenant": 1})
    assert not scope_of({"tenant": 1}).admits({"tenant": 1.0})
    assert not scope_of({"tenant": "1"}).admits({"tenant": 1})


def test_no_metadata_are_in_no_scope():
    assert not scope_of({"tenant": "a"}).admits(None)
    assert EVERYTHING.admits(None)


def test_stamping_copies():
    given = {"lang": "en"}
    assert scope_of({"tenant": "a"}).stamp(given) == {"lang": "en", "tenant": "a"}
    assert given == {"lang": "en"}
    with pytest.raises(PayloadError, match=r"its 'tenant' is 'b'.*scoped to tenant='a'"):
        scope_of({"tenant": "a"}).stamp({"tenant": "b"})


@pytest.mark.parametrize("name", ["", "a.b", "tenant[]", "id", "text", "metadata", 'a"b', 7, "a b", "ä", "a\n"])
def test_a_field_that_is_no_plain_metadata_key_is_refused(name):
    with pytest.raises(ConfigError, match="cannot be bound"):
        scope_of({name: "x"})


@pytest.mark.parametrize(
    "value", ["", " ", None, 1.5, ["a"], {"any": ["a"]}, {"not": "b"}, 2**63, "\ud800", "a\0", b"a"]
)
def test_a_value_that_is_no_plain_equality_is_refused(value):
    with pytest.raises(ConfigError, match="cannot be bound"):
        scope_of({"tenant": value})


def test_a_scope_without_fields_is_refused():
    with pytest.raises(ConfigError, match="at least one field"):
        scope_of({})
