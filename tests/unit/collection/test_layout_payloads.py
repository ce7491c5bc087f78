from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchkit.collection.layout_detection import detect_layout
from searchkit.collection.layout_payloads import encoded_text, payload_for, point_for
from searchkit.collection.layouts import Layout
from searchkit.errors import PayloadError

POINT = str(uuid.UUID(int=7))
SAMPLES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "langchain": ({"page_content": "a", "metadata": None}, [""]),
    "langchainjs": ({"content": "a", "metadata": {}}, [""]),
    "llamaindex": ({"_node_content": json.dumps({"text": "a", "metadata": {}}), "_node_type": "TextNode"}, [""]),
    "haystack": ({"id": "d", "content": "a", "blob": None, "meta": {}, "score": None}, [""]),
    "mcp": ({"document": "a", "metadata": None}, ["fast-x"]),
    "fastembed": ({"document": "a"}, ["fast-x"]),
}
LAYOUTS = {name: detect_layout([payload], vectors) for name, (payload, vectors) in SAMPLES.items()}
LAYOUTS["plain"] = Layout("plain", "body")
UNROOTED = [layout for layout in LAYOUTS.values() if not layout.metadata_root]

texts = st.text(min_size=1).filter(lambda text: bool(text.strip()))
metadata = st.dictionaries(
    st.text(min_size=1).filter(lambda key: all(key not in one.hidden_keys for one in UNROOTED)),
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.lists(st.text(), max_size=3)),
    max_size=4,
)


@pytest.mark.parametrize("name", LAYOUTS)
@given(text=texts, first=metadata, text_again=texts, second=metadata)
def test_what_is_written_is_read_back_when_new_and_when_it_replaces_something(
    name: str, text: str, first: dict[str, Any], text_again: str, second: dict[str, Any]
) -> None:
    layout = LAYOUTS[name]
    written = payload_for(layout, POINT, text, first)
    assert (layout.text_of(written, POINT), layout.metadata_of(written)) == (text, first)
    again = payload_for(layout, POINT, text_again, second, written)
    assert (layout.text_of(again, POINT), layout.metadata_of(again)) == (text_again, second)
    assert layout.id_of(again, POINT) == POINT


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "plain"])
def test_a_written_payload_is_detected_as_its_layout(name: str) -> None:
    written = payload_for(LAYOUTS[name], POINT, "a wage", {"lang": "en"})
    assert detect_layout([written], SAMPLES[name][1]) == LAYOUTS[name]


def test_keys_beside_a_metadata_object_stay_beside_it() -> None:
    stored = {"page_content": "old", "metadata": {"lang": "en"}, "tenant": "a", "unnamed": 1}
    layout = detect_layout([stored], [""])
    written = payload_for(layout, POINT, "new", {"tenant": "b", "lang": "de", "more": 2}, stored)
    assert written == {"page_content": "new", "metadata": {"lang": "de", "more": 2}, "tenant": "b", "unnamed": 1}


def test_a_key_in_both_places_is_renewed_in_both() -> None:
    stored = {"page_content": "old", "metadata": {"lang": "en", "tenant": "a"}, "tenant": "a"}
    layout = detect_layout([stored], [""])
    written = payload_for(layout, POINT, "new", {"tenant": "b", "lang": "en"}, stored)
    assert written == {"page_content": "new", "metadata": {"lang": "en", "tenant": "b"}, "tenant": "b"}


def test_a_key_that_attaching_did_not_see_beside_is_written_where_filters_look() -> None:
    stored = {"page_content": "old", "metadata": None, "tenant": "a"}
    written = payload_for(LAYOUTS["langchain"], POINT, "new", {"tenant": "b"}, stored)
    assert written == {"page_content": "new", "metadata": {"tenant": "b"}, "tenant": "b"}


def test_a_nodes_relationships_and_templates_survive_and_its_offsets_only_with_its_text() -> None:
    node = {
        "id_": POINT,
        "metadata": {"lang": "en", "file": "a.txt"},
        "excluded_embed_metadata_keys": ["file"],
        "relationships": {"1": {"node_id": "source"}},
        "metadata_template": "{key} is {value}",
        "metadata_separator": "; ",
        "text_template": "[{metadata_str}] {content}",
        "text_resource": {"text": "old", "mimetype": "text/markdown"},
        "start_char_idx": 3,
        "end_char_idx": 6,
    }
    stored = {**node["metadata"], "_node_content": json.dumps(node), "_node_type": "Node", "doc_id": "source"}
    layout = LAYOUTS["llamaindex"]
    written = payload_for(layout, POINT, "new", {"lang": "de", "file": "b.txt"}, stored)
    assert encoded_text(layout, written) == "[lang is de] new"
    body = json.loads(written["_node_content"])
    assert body["relationships"] == node["relationships"]
    assert body["text_resource"] == {"text": "new", "mimetype": "text/markdown"}
    assert (body["start_char_idx"], body["end_char_idx"]) == (None, None)
    assert (written["_node_type"], written["doc_id"], written["lang"]) == ("Node", "source", "de")
    same_text = payload_for(layout, POINT, "old", {}, stored)
    assert json.loads(same_text["_node_content"])["start_char_idx"] == 3


def test_metadata_that_llamaindex_wrote_its_documents_id_over_is_read_and_kept() -> None:
    node = {"id_": POINT, "metadata": {"lang": "en", "doc_id": "D-17", "ref_doc_id": None}, "text": "old"}
    own = {"_node_type": "TextNode", "doc_id": "source", "document_id": "source", "ref_doc_id": "source"}
    stored = {"lang": "en", "_node_content": json.dumps(node), **own}
    layout = LAYOUTS["llamaindex"]
    assert layout.metadata_of(stored) == node["metadata"]
    for changed, doc_id in (({"lang": "de"}, "D-17"), ({"lang": "de", "doc_id": "D-18"}, "D-18")):
        written = payload_for(layout, POINT, "new", changed, stored)
        assert layout.metadata_of(written) == {"lang": "de", "doc_id": doc_id, "ref_doc_id": None}
        assert json.loads(written["_node_content"])["metadata"] == layout.metadata_of(written)
        assert {key: written[key] for key in own} == own
    with pytest.raises(PayloadError, match="metadata key 'document_id' cannot be written"):
        payload_for(layout, POINT, "new", {"document_id": "x"}, stored)


@pytest.mark.parametrize("metadata", [None, ["doc_id"], "doc_id", {"x": "doc_id"}])
def test_a_node_without_such_metadata_has_none(metadata: Any) -> None:
    stored = {"_node_content": json.dumps({"text": "a", "metadata": metadata, "doc_id": 1}), "doc_id": "d"}
    assert LAYOUTS["llamaindex"].metadata_of(stored) == {}


def test_a_haystack_document_keeps_its_blob_and_loses_copies_of_old_vectors() -> None:
    stored = {**SAMPLES["haystack"][0], "blob": {"data": [1]}, "sparse_embedding": {"indices": [1], "values": [1.0]}}
    written = payload_for(LAYOUTS["haystack"], "d", "new", {}, stored)
    assert written == {"id": "d", "content": "new", "blob": {"data": [1]}, "meta": {}, "score": None}


@pytest.mark.parametrize(
    ("name", "key"),
    [("fastembed", "document"), ("plain", "body"), ("llamaindex", "doc_id"), ("llamaindex", "_node_content")],
)
def test_a_metadata_key_whose_place_is_taken_is_refused(name: str, key: str) -> None:
    with pytest.raises(PayloadError, match=f"metadata key '{key}' cannot be written"):
        payload_for(LAYOUTS[name], POINT, "a", {key: "b"})


def test_what_is_encoded_is_the_text_and_for_llamaindex_the_metadata_above_it() -> None:
    for name, layout in LAYOUTS.items():
        written = payload_for(layout, POINT, "a wage", {"lang": "en", "year": 2020})
        expected = "lang: en\nyear: 2020\n\na wage" if name == "llamaindex" else "a wage"
        assert encoded_text(layout, written) == expected
    assert encoded_text(LAYOUTS["llamaindex"], payload_for(LAYOUTS["llamaindex"], POINT, "a wage", {})) == "a wage"


def test_braces_in_metadata_are_no_fields_of_the_template() -> None:
    written = payload_for(LAYOUTS["llamaindex"], POINT, "{key}", {"{value}": "{content}"})
    assert encoded_text(LAYOUTS["llamaindex"], written) == "{value}: {content}\n\n{key}"


@pytest.mark.parametrize("name", ["langchain", "mcp", "fastembed", "plain", "langchainjs"])
def test_points_are_uuids_or_whole_numbers(name: str) -> None:
    layout = LAYOUTS[name]
    assert point_for(layout, 7) == 7
    assert point_for(layout, uuid.UUID(POINT).hex) == POINT
    with pytest.raises(PayloadError, match=r"'a1' cannot be a point of Qdrant.*uuid5\(uuid.NAMESPACE_URL, 'a1'\)"):
        point_for(layout, "a1")


def test_llamaindex_has_no_numbers_and_haystack_any_string() -> None:
    with pytest.raises(PayloadError, match="LlamaIndex writes UUIDs only"):
        point_for(LAYOUTS["llamaindex"], 7)
    with pytest.raises(PayloadError, match="Haystack's are strings"):
        point_for(LAYOUTS["haystack"], 7)
    assert point_for(LAYOUTS["haystack"], "d") == "b7992f81-a54d-599b-ab20-674e7360d8fc"
