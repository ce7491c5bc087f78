from __future__ import annotations

import json
from typing import Any

import pytest

from searchkit.collection.layout_detection import detect_layout
from searchkit.collection.layouts import DenseVector, Layout, choose_dense, choose_sparse
from searchkit.errors import CollectionError, PayloadError

NODE = {"id_": "n1", "metadata": {"lang": "en"}, "text": "A wage.", "class_name": "TextNode"}
NEW_NODE = {"id_": "n1", "metadata": {}, "text_resource": {"text": "A wage.", "mimetype": "text/plain"}}
HAYSTACK = {"id": "ab12", "content": "A wage.", "blob": None, "meta": {"lang": "en"}, "score": None}

# As dumped from the tools: layout, dense vectors, payload, id, metadata, path of a filter on "lang"
DUMPED: list[tuple[str, list[str], dict[str, Any], str | int, dict[str, Any], str]] = [
    ("langchain", [""], {"page_content": "A wage.", "metadata": {"lang": "en"}}, 7, {"lang": "en"}, "metadata.lang"),
    ("langchain", [""], {"page_content": "A wage.", "metadata": None}, 7, {}, "metadata.lang"),
    ("langchainjs", [""], {"content": "A wage.", "metadata": {"lang": "en"}}, 7, {"lang": "en"}, "metadata.lang"),
    (
        "llamaindex",
        [""],
        {
            "lang": "en",
            "_node_content": json.dumps(NODE),
            "_node_type": "TextNode",
            "document_id": "d",
            "doc_id": "d",
            "ref_doc_id": "d",
        },
        7,
        {"lang": "en"},
        "lang",
    ),
    (
        "llamaindex",
        ["text-dense"],
        {"lang": "en", "_node_content": json.dumps(NEW_NODE), "_node_type": "TextNode", "doc_id": "d"},
        7,
        {"lang": "en"},
        "lang",
    ),
    ("haystack", [""], HAYSTACK, "ab12", {"lang": "en"}, "meta.lang"),
    (
        "haystack",
        ["text-dense"],
        {**HAYSTACK, "sparse_embedding": None, "embedding": None},
        "ab12",
        {"lang": "en"},
        "meta.lang",
    ),
    ("mcp", ["fast-all-minilm-l6-v2"], {"document": "A wage.", "metadata": None}, 7, {}, "metadata.lang"),
    (
        "mcp",
        ["fast-all-minilm-l6-v2"],
        {"document": "A wage.", "metadata": {"lang": "en"}},
        7,
        {"lang": "en"},
        "metadata.lang",
    ),
    ("fastembed", ["fast-bge-small-en"], {"document": "A wage.", "lang": "en"}, 7, {"lang": "en"}, "lang"),
]


@pytest.mark.parametrize(("name", "vectors", "payload", "identity", "metadata", "path"), DUMPED)
def test_every_dumped_layout_is_known_and_read_back(
    name: str, vectors: list[str], payload: dict[str, Any], identity: str | int, metadata: dict[str, Any], path: str
) -> None:
    layout = detect_layout([payload, payload], vectors)
    assert layout.name == name
    assert layout.text_of(payload, 7) == "A wage."
    assert layout.metadata_of(payload) == metadata
    assert layout.id_of(payload, 7) == identity
    assert layout.filter_path("lang") == path


def test_keys_beside_a_metadata_object_are_kept() -> None:
    payload = {"page_content": "A wage.", "metadata": {"lang": "en"}, "tenant": "a"}
    layout = detect_layout([payload], [""])
    assert layout.metadata_of(payload) == {"tenant": "a", "lang": "en"}
    assert layout.metadata_of({**payload, "metadata": None}) == {"tenant": "a"}
    for nothing in (None, []):
        assert layout.metadata_of({**payload, "metadata": {"tenant": nothing}}) == {"tenant": "a"}
    assert layout.metadata_of({**payload, "metadata": {"tenant": "b"}}) == {"tenant": "b"}


def test_only_keys_beside_that_a_sample_or_an_index_shows_are_metadata() -> None:
    payload = {"page_content": "A wage.", "metadata": {"lang": "en"}}
    layout = detect_layout([payload], [""], indexed_paths=["tenant", "a.b", '"c d"', "metadata.lang"])
    assert layout.beside_keys == {"tenant", "a", "c d"}
    assert layout.metadata_of({**payload, "tenant": "a", "other": 1}) == {"tenant": "a", "lang": "en"}


def test_a_llamaindex_users_own_keys_do_not_confuse() -> None:
    payload = {"_node_content": json.dumps(NODE), "page_content": "no", "metadata": {}, "document": "no"}
    assert detect_layout([payload], [""]).name == "llamaindex"


def test_a_plain_layout_needs_the_name_of_its_text() -> None:
    payloads = [{"body": "A wage.", "lang": "en", "n": 1}] * 3
    with pytest.raises(CollectionError, match=r"'body' \(str in 3\), 'lang' .*, for instance text_field='body'"):
        detect_layout(payloads, [""])
    layout = detect_layout(payloads, [""], text_field="body")
    assert (layout.name, layout.text_of(payloads[0], 1)) == ("plain", "A wage.")
    assert layout.metadata_of(payloads[0]) == {"lang": "en", "n": 1}
    assert layout.filter_path("lang") == "lang"


def test_a_collection_of_two_writers_is_refused() -> None:
    payloads = [{"page_content": "a", "metadata": {}}, {"document": "b", "metadata": {}}]
    with pytest.raises(CollectionError, match="text_field="):
        detect_layout(payloads, [""])


def test_an_ambiguous_layout_names_its_readings_and_text_field_settles_it() -> None:
    payload = {"page_content": "long text", "content": "short", "metadata": {"a": 1}}
    with pytest.raises(CollectionError, match="fits langchain and langchainjs"):
        detect_layout([payload], [""])
    assert detect_layout([payload], [""], text_field="page_content").name == "langchain"
    assert detect_layout([payload], [""], text_field="content").name == "langchainjs"


def test_two_readings_of_one_text_field_are_settled_as_plain() -> None:
    payload = {**HAYSTACK, "metadata": {"a": 1}}
    with pytest.raises(CollectionError, match="fits langchainjs and haystack"):
        detect_layout([payload], [""])
    layout = detect_layout([payload], [""], text_field="content")
    assert (layout.name, layout.metadata_of(payload)["meta"]) == ("plain", {"lang": "en"})


def test_a_text_field_chooses_the_tool_that_wrote_most_points_with_it(caplog: pytest.LogCaptureFixture) -> None:
    whole: dict[str, Any] = {"page_content": "a", "metadata": {"lang": "en"}}
    bare = {"page_content": "b", "group": "g"}
    other = {"document": "c", "metadata": None}
    with pytest.raises(CollectionError, match="text_field='page_content'"):
        detect_layout([whole, whole, bare], [""])
    layout = detect_layout([whole, whole, bare, other, other, other], [""], text_field="page_content")
    assert (layout.name, layout.filter_path("lang")) == ("langchain", "metadata.lang")
    assert layout.metadata_of(bare) == {"group": "g"}
    documents = [HAYSTACK, HAYSTACK, {"id": "b", "content": "b"}]
    assert detect_layout(documents, [""], text_field="content").name == "haystack"
    assert not caplog.records


def test_a_text_field_that_few_points_share_with_a_tool_is_plain_and_says_where_their_metadata_lies(
    caplog: pytest.LogCaptureFixture,
) -> None:
    payloads = [{"page_content": "a", "metadata": {"lang": "en"}}, {"page_content": "b", "lang": "de"}]
    layout = detect_layout(payloads, [""], text_field="page_content")
    assert (layout.name, layout.metadata_of(payloads[0])) == ("plain", {"metadata": {"lang": "en"}})
    assert "1 of 2 sampled points are laid out as langchain does" in caplog.text
    assert "'metadata.KEY'" in caplog.text


def test_a_text_field_without_text_is_refused() -> None:
    with pytest.raises(CollectionError, match=r"text_field='bdoy' holds no text in 1 .*text_field='body'"):
        detect_layout([{"body": "A wage."}], [""], text_field="bdoy")


def test_an_empty_collection_needs_text_field() -> None:
    with pytest.raises(CollectionError, match="no points"):
        detect_layout([], [""])
    assert detect_layout([], [""], text_field="body").name == "plain"


def test_points_without_payload_are_reported() -> None:
    with pytest.raises(CollectionError, match="no payload fields"):
        detect_layout([{}, {}], [""])


def test_many_fields_are_counted_instead_of_listed() -> None:
    with pytest.raises(CollectionError, match="and 8 more"):
        detect_layout([{f"field{number}": number for number in range(20)}], [""])


@pytest.mark.parametrize("content", ["{", "[]", '"text"'])
def test_a_damaged_node_is_named(content: str) -> None:
    layout = detect_layout([{"_node_content": "{}"}], [""])
    with pytest.raises(PayloadError, match="point 'p9'"):
        layout.text_of({"_node_content": content}, "p9")


@pytest.mark.parametrize("payload", [{"page_content": None}, {"page_content": "  "}, {}, {"page_content": 3}])
def test_a_point_without_text_has_none(payload: dict[str, Any]) -> None:
    layout = detect_layout([{"page_content": "a", "metadata": {}}], [""])
    assert layout.text_of(payload, 1) is None


def test_a_binary_document_of_haystack_does_not_hide_the_layout() -> None:
    layout = detect_layout([HAYSTACK, {**HAYSTACK, "content": None, "blob": {"data": []}}], [""])
    assert layout.name == "haystack"


PLAIN = Layout("plain", "body")
LLAMA = detect_layout([{"_node_content": "{}"}], [""])
FAST = detect_layout([{"document": "a"}], ["fast-bge"])


def _dense(*names: str, size: int = 8) -> list[DenseVector]:
    return [DenseVector(name, size, "Cosine") for name in names]


def test_a_single_dense_vector_is_taken_whatever_its_name() -> None:
    assert choose_dense(PLAIN, _dense("odd"), 8).name == "odd"


def test_a_conventional_name_decides_among_several() -> None:
    assert choose_dense(LLAMA, _dense("image", "text-dense"), 8).name == "text-dense"
    assert choose_dense(FAST, _dense("fast-bge", "other"), 8).name == "fast-bge"


def test_several_dense_vectors_without_a_convention_are_listed() -> None:
    with pytest.raises(CollectionError, match=r"found 'a' \(8, Cosine\), 'b' \(8, Cosine\)\. Pass vector="):
        choose_dense(PLAIN, _dense("a", "b"), 8)
    assert choose_dense(PLAIN, _dense("a", "b"), 8, wanted="b").name == "b"


@pytest.mark.parametrize(("vectors", "wanted"), [([], None), (_dense("a"), "b")])
def test_a_dense_vector_that_is_not_there_is_refused(vectors: list[DenseVector], wanted: str | None) -> None:
    with pytest.raises(CollectionError, match="vector="):
        choose_dense(PLAIN, vectors, 8, wanted=wanted)


def test_another_dimension_than_the_encoders_is_refused() -> None:
    with pytest.raises(CollectionError, match=r"has 768 dimensions and the encoder makes 384.*encoder="):
        choose_dense(PLAIN, _dense("a", size=768), 384)


def test_the_sparse_vector_is_the_conventional_or_the_only_one() -> None:
    assert choose_sparse(LLAMA, ["text-sparse", "text-sparse-new"]) == "text-sparse-new"
    assert choose_sparse(LLAMA, ["text-sparse"]) == "text-sparse"
    assert choose_sparse(PLAIN, ["anything"]) == "anything"
    assert choose_sparse(PLAIN, ["one", "two"]) is None
    assert choose_sparse(LLAMA, []) is None
