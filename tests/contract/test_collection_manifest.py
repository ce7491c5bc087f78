"""A collection is opened only with what it was made with, on every engine."""

from __future__ import annotations

import pytest
from qdrant_client import QdrantClient, models

from searchkit.collection import open_collection
from searchkit.config import SearchKitConfig
from searchkit.errors import CollectionError, ConfigError
from searchkit.stages import EncoderFingerprint
from searchkit.testing import FakeEncoder, FakeSparseEncoder


class Renamed(FakeEncoder):
    """The same model from another folder, or with one other property."""

    def __init__(self, **changes):
        super().__init__(64, max_tokens=34)
        self.changes = changes

    def fingerprint(self):
        return EncoderFingerprint.model_validate(super().fingerprint().model_dump() | self.changes)


class OtherSparse(FakeSparseEncoder):
    """BM25 with other stopwords."""

    def fingerprint(self):
        return EncoderFingerprint(kind="fake-sparse", model="words", weight_hash="ffff")


@pytest.fixture
def made(place):
    collection = place.open()
    collection.add([{"id": "a", "text": "a text"}])
    collection.close()
    return place


def test_the_same_settings_open_it(made):
    assert made.open().count() == 1


def test_the_same_weights_under_another_name_open_it(made):
    assert made.open(encoder=Renamed(model="/models/fake")).count() == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"encoder": FakeEncoder(64, max_tokens=34, name="other")},
            r"the encoder 'fake \(.*'other \(.*open it with the encoder",
        ),
        ({"encoder": FakeEncoder(32, max_tokens=34)}, "encoder dimension 64, but is opened with 32"),
        ({"encoder": FakeEncoder(64, max_tokens=66)}, "encoder max_tokens 34, but is opened with 66"),
        ({"encoder": Renamed(tokenizer_hash="t")}, "encoder tokenizer_hash '', but is opened with 't'"),
        ({"encoder": Renamed(passage_prompt="passage: ")}, "encoder passage_prompt '', but is opened with 'passage: '"),
        ({"encoder": Renamed(query_prompt="query: ")}, "encoder query_prompt"),
        ({"sparse_encoder": OtherSparse()}, "the sparse encoder .*sparse_encoder="),
        ({"windows": {"overlap_tokens": 5}}, "windows.overlap_tokens 4, but is opened with 5.*SearchKitConfig"),
        ({"windows": {"overlap_tokens": 4, "max_tokens": 20}}, "windows.max_tokens 32, but is opened with 20"),
        ({"vector_name": "other"}, "vector_name 'dense', but is opened with 'other'"),
        ({"sparse_vector_name": "other"}, "sparse_vector_name 'bm25', but is opened with 'other'"),
    ],
)
def test_a_difference_is_an_error_that_names_both_values(made, changes, message):
    with pytest.raises(CollectionError, match=message):
        made.open(**changes)
    assert made.open().count() == 1


def test_settings_of_searching_may_change(made):
    assert (
        made.open(fusion={"k": 7}, windows_per_passage=1, hnsw={"ef_search": 64}, ingest={"batch_size": 3}).count() == 1
    )


def test_a_collection_created_meanwhile_is_compared_before_the_first_write(place):
    late = place.open(encoder=FakeEncoder(32, max_tokens=34))
    place.open().add(["a text"])
    with pytest.raises(CollectionError, match="dimension 64, but is opened with 32"):
        late.add(["another text"])


def test_two_objects_of_one_process_see_each_other(place):
    first, second = place.open(), place.open()
    first.add([{"id": "a", "text": "a text"}])
    second.add([{"id": "b", "text": "b text"}, {"id": "a", "text": "a text"}])
    assert (first.count(), second.count()) == (2, 2)
    first.close()
    assert second.add([{"id": "c", "text": "c text"}]).added == 1
    second.close()
    assert place.open().count() == 3


def test_a_collection_opened_read_only_reads_and_refuses_to_write(made):
    collection = made.open(read_only=True, filter_fields={"n": "integer"})
    assert collection.is_read_only
    assert (collection.count(), collection.get(["a"])[0].text) == (1, "a text")
    for call in (lambda: collection.add(["text"]), lambda: collection.delete(["a"]), collection.optimize):
        with pytest.raises(CollectionError, match=r"opened read-only.*read_only=False"):
            call()
    assert collection.count() == 1


def test_optimizing_loses_nothing_on_any_engine(made):
    collection = made.open()
    collection.optimize()
    assert not collection.is_optimizing
    assert collection.get(["a"])[0].text == "a text"


def test_a_closed_collection_says_so(made):
    collection = made.open()
    collection.close()
    collection.close()
    for call in (collection.count, lambda: collection.add(["text"]), lambda: collection.get([1])):
        with pytest.raises(CollectionError, match="is closed"):
            call()


def test_two_collections_of_one_place_are_apart(place):
    first, second = place.open("one"), place.open("two")
    first.add([{"id": "a", "text": "a text"}])
    assert not second.exists
    second.add([{"id": "b", "text": "b text"}])
    assert (first.count(), first.get(["b"]), [p.id for p in second.get(["b"])]) == (1, [], ["b"])


def test_location_and_name_are_for_messages(made):
    collection = made.open()
    assert collection.name in collection.location
    assert collection.name in repr(collection)
    assert not collection.is_read_only


def test_declared_filter_fields_can_be_added_later(made):
    fields = {"n": "integer", "public": "bool", "day": "datetime", "lang": "keyword", "x.y": "float", "note": "text"}
    collection = made.open(filter_fields=fields)
    collection.add([{"id": 1, "text": "t", "n": 3, "public": True, "day": "2024-01-01", "lang": "en", "x": {"y": 1.5}}])
    for chosen in ({"n": 3}, {"public": True}, {"day": {"gte": "2023-01-01"}}, {"lang": "en"}, {"x.y": {"gt": 1}}):
        assert collection.count(chosen) == 1
    collection.close()
    assert made.open(filter_fields=fields).count({"public": True}) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"path": "x", "url": "http://x"},
        {"path": "x", "client": QdrantClient(":memory:")},
        {"path": "x", "api_key": "k"},
    ],
)
def test_exactly_one_place_is_given(arguments):
    with pytest.raises(ConfigError):
        open_collection(
            "c", **arguments, encoder=FakeEncoder(), sparse_encoder=FakeSparseEncoder(), config=SearchKitConfig()
        )


@pytest.mark.parametrize("name", ["", "a/b", "../up", "x" * 300, "a\nb", None, 3])
def test_a_name_that_cannot_be_one_is_refused(place, name):
    with pytest.raises(ConfigError, match="name"):
        open_collection(
            name,
            **place.arguments,
            encoder=FakeEncoder(),
            sparse_encoder=FakeSparseEncoder(),
            config=SearchKitConfig(),
        )


@pytest.mark.parametrize(
    "windows",
    [{"max_tokens": 33, "overlap_tokens": 4}, {"overlap_tokens": 17}, {"max_tokens": 8, "overlap_tokens": 5}],
)
def test_windows_that_do_not_fit_the_encoder_are_refused(place, windows):
    with pytest.raises(ConfigError, match="windows"):
        place.open(windows=windows).add(["text"])


def test_both_vectors_need_their_own_name(place):
    with pytest.raises(ConfigError, match="name them differently"):
        place.open(vector_name="v", sparse_vector_name="v").add(["text"])


def test_a_client_that_was_given_stays_open():
    client = QdrantClient(":memory:")
    collection = open_collection(
        "c", client=client, encoder=FakeEncoder(), sparse_encoder=FakeSparseEncoder(), config=SearchKitConfig()
    )
    collection.add(["a text"])
    collection.close()
    assert client.count("c").count == 1


def test_a_collection_of_somebody_else_is_left_alone():
    client = QdrantClient(":memory:")
    client.create_collection("c", vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT))
    with pytest.raises(CollectionError, match="not made by searchkit"):
        open_collection(
            "c", client=client, encoder=FakeEncoder(), sparse_encoder=FakeSparseEncoder(), config=SearchKitConfig()
        )
    assert client.get_collection("c").points_count == 0


def test_what_is_no_client_is_refused():
    with pytest.raises(ConfigError, match="QdrantClient, not str"):
        open_collection(
            "c", client=":memory:", encoder=FakeEncoder(), sparse_encoder=FakeSparseEncoder(), config=SearchKitConfig()
        )


def test_a_filter_field_that_is_no_path_is_refused(made):
    if made.kind != "memory":  # it has no indexes
        with pytest.raises(ConfigError, match="not a path"):
            made.open(filter_fields={"a..b": "keyword"})
