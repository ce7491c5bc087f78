"""Strict mode's complaint becomes the setting or the call that mends it."""

from __future__ import annotations

import pytest

from searchkit.collection.backends.missing_index import missing_index


def said(path, kinds):
    return (
        f'Bad request: Index required but not found for "{path}" of one of the following types: [{kinds}]. Help: '
        "Create an index for this key or use a different filter."
    )


@pytest.mark.parametrize(
    ("path", "kinds", "field", "kind"),
    [
        ("metadata.lang", "keyword, uuid", "{'lang': 'keyword'}", "keyword"),
        ("metadata.year", "integer", "{'year': 'integer'}", "integer"),
        ("metadata.a.b", "float, integer", "{'a.b': 'float'}", "float"),
        ("metadata.day", "datetime", "{'day': 'datetime'}", "datetime"),
        ("flags.public", "keyword", "{'public': 'bool'}", "keyword"),
        ("metadata.note", "text (with phrase_matching: true)", "{'note': 'text'}", "text"),
        ('metadata."odd key"', "keyword", """{'"odd key"': 'keyword'}""", "keyword"),
    ],
)
def test_a_field_of_ours_is_declared(path, kinds, field, kind):
    words = missing_index(said(path, kinds), "things")
    assert f"SearchKitConfig(filter_fields={field})" in words
    assert f"client.create_payload_index('things', {path!r}, \"{kind}\")" in words


@pytest.mark.parametrize("path", ["lang", "payload.lang", "metadata", "text"])
def test_a_field_of_somebody_else_is_a_call(path):
    words = missing_index(said(path, "keyword"), "things")
    assert "filter_fields" not in words
    assert f"client.create_payload_index('things', {path!r}, \"keyword\")" in words


def test_older_servers_do_not_name_types():
    words = missing_index('Index required but not found for "metadata.lang"', None)
    assert "{'lang': 'keyword'}" in words
    assert "'<collection>'" in words


def test_a_type_that_we_do_not_declare_is_a_call():
    assert "filter_fields" not in missing_index(said("metadata.place", "geo"), "things")


def test_other_complaints_are_not_about_indexes():
    assert missing_index("Wrong input: vector dimension", "things") is None
