"""A kit whose BM25 is of another language than English, wherever a kit is built from it."""

from __future__ import annotations

import pytest

from searchkit import Bm25Encoder, SearchKit, SearchKitConfig, SentenceEncoder
from searchkit.config import WindowConfig
from searchkit.errors import CollectionError, ConfigError
from searchkit.moving import Location, copy_collection, open_as_made, reindex
from searchkit.testing import FakeEncoder, FakeReranker, FakeSparseEncoder

TEXTS = {"houses": "Die Häuser der Städte", "trees": "Viele Bäume im Wald"}
ADDED = [{"id": key, "text": text} for key, text in TEXTS.items()]
MODELS = {"encoder": FakeEncoder(), "reranker": FakeReranker()}
GERMAN = Bm25Encoder("german")


@pytest.fixture
def kit(place):
    with SearchKit("words", **place, **MODELS, sparse_encoder=GERMAN) as made:
        made.add(ADDED)
        yield made


def found(kit, query="Haus"):
    return [hit.id for hit in kit.search(query, mode="sparse", rerank=False)]


def test_words_are_stemmed_in_the_language_that_was_chosen(kit, place):
    assert found(kit) == ["houses"]
    with SearchKit("english", **place, **MODELS) as other:
        other.add(ADDED)
        assert found(other) == []


def test_a_scope_and_a_collection_built_again_have_it_too(kit, place):
    tenant = kit.scoped(tenant="acme")
    tenant.add([{"id": 1, "text": TEXTS["houses"]}])
    assert found(tenant) == [1]
    smaller = SearchKitConfig(windows=WindowConfig(max_tokens=20, overlap_tokens=4))
    reindex(kit, config=smaller)
    with SearchKit("words", **place, **MODELS, sparse_encoder=GERMAN, config=smaller) as new:
        assert "houses" in found(new)
        assert found(new.scoped(tenant="acme")) == [1]


def test_a_copy_has_it_too(tmp_path):
    with SearchKit("words", path=tmp_path, **MODELS, sparse_encoder=GERMAN) as kit:
        kit.add(ADDED)
    copy_collection(Location("words", path=tmp_path), Location("copy", path=tmp_path))
    with SearchKit("copy", path=tmp_path, **MODELS, sparse_encoder=GERMAN) as copied:
        assert found(copied) == ["houses"]


def test_opening_with_another_one_is_an_error_that_names_both_and_the_argument(kit, place):
    kit.close()
    says = r"sparse encoder 'bm25-german .* opened with 'bm25-english .*sparse_encoder=Bm25Encoder\("
    with pytest.raises(CollectionError, match=says):
        SearchKit("words", **place, **MODELS)


@pytest.mark.parametrize("wrong", ["german", Bm25Encoder, FakeEncoder()], ids=["name", "class", "bi-encoder"])
def test_what_is_no_sparse_encoder_is_refused(wrong, tmp_path):
    with pytest.raises(ConfigError, match="sparse_encoder="):
        SearchKit("words", path=tmp_path, **MODELS, sparse_encoder=wrong)


def test_one_of_your_own_can_be_passed(tmp_path):
    with SearchKit("words", path=tmp_path, **MODELS, sparse_encoder=FakeSparseEncoder()) as kit:
        kit.add(ADDED)
        assert found(kit, "Häuser") == ["houses"]


def test_a_collection_opens_with_the_language_it_was_made_with(tmp_path):
    made = {"encoder": SentenceEncoder(), "reranker": FakeReranker()}
    with SearchKit("words", path=tmp_path, **made, sparse_encoder=GERMAN) as kit:
        kit.add(ADDED)
    with open_as_made(Location("words", path=tmp_path), reranker=FakeReranker()) as kit:
        assert found(kit) == ["houses"]
    with SearchKit("own", path=tmp_path, **made, sparse_encoder=FakeSparseEncoder()) as kit:
        kit.add(ADDED)
    with pytest.raises(CollectionError, match=r"'words', a sparse encoder of the kind .*sparse_encoder=\.\.\."):
        open_as_made(Location("own", path=tmp_path))
