"""What a scope means for ids, writes and shared passages, on every engine."""

from __future__ import annotations

import pytest
from qdrant_client import models

from searchkit.collection.scope import scope_of
from searchkit.errors import CollectionError, ConfigError, PayloadError

ACME, GLOBEX = scope_of({"tenant": "acme"}), scope_of({"tenant": "globex"})
LONG = " ".join(f"word{number}" for number in range(100))


@pytest.fixture
def acme(collection):
    return collection.scoped(ACME)


@pytest.fixture
def globex(collection):
    return collection.scoped(GLOBEX)


def counts(report):
    return report.added, report.updated, report.unchanged


def test_add_writes_the_bound_field(collection, acme):
    acme.add([{"id": "a", "text": "first text"}, {"id": "b", "text": "second text", "tenant": "acme"}])
    assert [passage.metadata for passage in acme.get(["a", "b"])] == [{"tenant": "acme"}] * 2
    assert collection.count({"tenant": "acme"}) == 2


@pytest.mark.parametrize("value", ["globex", ["acme"], ["acme", "globex"], None, True, 7])
def test_add_refuses_another_value_of_the_bound_field_before_anything_is_written(collection, acme, value):
    with pytest.raises(PayloadError, match=r"position 1.*scoped to tenant='acme'"):
        acme.add([{"id": "a", "text": "first"}, {"id": "b", "text": "second", "metadata": {"tenant": value}}])
    assert not collection.exists


def test_one_id_in_two_scopes_is_two_passages(collection, acme, globex):
    assert counts(acme.add([{"id": "a", "text": "of acme"}])) == (1, 0, 0)
    assert counts(globex.add([{"id": "a", "text": "of globex"}])) == (1, 0, 0)
    assert counts(globex.add([{"id": "a", "text": "of globex, again"}])) == (0, 1, 0)
    assert [passage.text for passage in acme.get(["a"])] == ["of acme"]
    assert [passage.text for passage in globex.get(["a"])] == ["of globex, again"]
    assert collection.count() == 2
    assert collection.get(["a"]) == []


def test_the_same_text_without_an_id_is_a_passage_in_each_scope(collection, acme, globex):
    assert counts(acme.add(["the same text"])) == counts(globex.add(["the same text"])) == (1, 0, 0)
    assert counts(acme.add(["the same text"])) == (0, 0, 1)
    assert collection.count() == 2


def test_a_report_does_not_tell_what_another_scope_has(acme, globex):
    globex.add([{"id": "a", "text": "the very same"}])
    assert counts(acme.add([{"id": "a", "text": "the very same"}])) == (1, 0, 0)
    assert acme.delete(["b"]) == 0
    assert globex.count() == 1


def test_ids_reach_nothing_of_another_scope(acme, globex):
    globex.add([{"id": "a", "text": f"of globex {LONG}"}])
    assert acme.get(["a"]) == []
    assert acme.delete(["a"]) == 0
    assert [passage.text for passage in globex.get(["a"])] == [f"of globex {LONG}"]


def test_a_passage_written_without_a_scope_belongs_to_the_scope_that_its_metadata_name(collection, acme, globex):
    collection.add([{"id": "a", "text": "written by an importer", "tenant": "acme"}])
    assert [passage.id for passage in acme.get(["a"])] == ["a"]
    assert globex.get(["a"]) == []
    assert counts(acme.add([{"id": "a", "text": "written by an importer"}])) == (0, 0, 1)
    assert counts(acme.add([{"id": "a", "text": "changed by its tenant"}])) == (0, 1, 0)
    assert collection.count() == 1
    assert counts(globex.add([{"id": "a", "text": "not the same"}])) == (1, 0, 0)
    assert acme.delete(["a"]) == 1
    assert globex.count() == collection.count() == 1


def test_a_list_that_holds_the_value_is_read_and_never_replaced_or_deleted(collection, acme, search):
    collection.add([{"id": "a", "text": "for both", "tenant": ["acme", "globex"]}, {"id": "b", "text": "for all"}])
    assert [passage.id for passage in acme.get(["a", "b"])] == ["a"]
    assert [candidate.id for candidate in search(acme, "for both")] == ["a"]
    assert acme.count() == 1
    assert acme.delete(["a"]) == acme.delete(filter={"tenant": "acme"}) == 0
    assert counts(acme.add([{"id": "a", "text": "a version of its own"}])) == (1, 0, 0)
    assert [passage.text for passage in collection.get(["a"])] == ["for both"]
    assert [passage.text for passage in acme.get(["a"])] == ["a version of its own"]


def test_long_passages_are_replaced_and_deleted_whole_within_their_scope(collection, acme, globex):
    for scoped, name in ((acme, "acme"), (globex, "globex")):
        scoped.add([{"id": "long", "text": f"{name} {LONG}"}])
    acme.add([{"id": "long", "text": "short now"}])
    assert globex.get(["long"])[0].text == f"globex {LONG}"
    assert globex.delete(filter={"tenant": "globex"}) == 1
    assert acme.get(["long"])[0].text == "short now"
    assert collection.count() == 1


def test_search_without_a_scope_keeps_passages_of_one_id_apart(collection, acme, globex, search):
    acme.add([{"id": "a", "text": f"alpha of acme {LONG}"}])
    globex.add([{"id": "a", "text": f"alpha of globex {LONG}"}])
    found = search(collection, "alpha", depth=5)
    assert {candidate.passage for candidate in found if candidate.id == "a"} == {candidate.key for candidate in found}
    assert len({candidate.key for candidate in found}) == 2
    texts = collection.whole_texts(found)
    assert sorted(texts.values()) == [f"alpha of acme {LONG}", f"alpha of globex {LONG}"]


def test_a_raw_filter_cannot_widen_the_scope(acme, globex, search):
    acme.add([{"id": "a", "text": "alpha"}])
    globex.add([{"id": "b", "text": "alpha"}])
    everybody = models.FieldCondition(key="metadata.tenant", match=models.MatchAny(any=["acme", "globex"]))
    nobody = models.FieldCondition(key="metadata.tenant", match=models.MatchValue(value="nobody"))
    for tricky in (
        models.Filter(),
        models.Filter(should=[everybody, models.Filter(must_not=[nobody])]),
        models.Filter(min_should=models.MinShould(conditions=[everybody], min_count=1)),
        models.Filter(must_not=[models.Filter(must_not=[everybody])]),
    ):
        assert [candidate.id for candidate in search(acme, "alpha", filter=tricky)] == ["a"]
        assert acme.count(tricky) == 1
        if tricky == models.Filter():
            with pytest.raises(ConfigError, match="an empty filter would delete every passage"):
                acme.delete(filter=tricky)
        else:
            assert acme.delete(filter=tricky) == 1
        assert globex.count() == 1
        acme.add([{"id": "a", "text": "alpha"}])


def test_a_passage_that_left_the_scope_after_the_engine_filtered_is_not_handed_out(collection, acme, search):
    collection.add([{"id": "a", "text": "alpha", "tenant": "acme"}, {"id": "b", "text": "alpha", "tenant": "acme"}])
    backend = acme._backend
    query = backend.query

    def then_moves(legs):
        answer = query(legs)
        collection.add([{"id": "a", "text": "alpha, secret of globex", "tenant": "globex"}])
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "query", then_moves)
        assert [candidate.id for candidate in search(acme, "alpha")] == ["b"]


def test_several_fields_are_bound_together(collection):
    both = collection.scoped(scope_of({"tenant": "acme", "team": 7, "draft": False}))
    both.add([{"id": "a", "text": "text"}])
    collection.add(
        [
            {"id": "b", "text": "text", "tenant": "acme", "team": 7, "draft": True},
            {"id": "c", "text": "text", "tenant": "acme", "team": "7", "draft": False},
            {"id": "d", "text": "text", "tenant": "acme", "draft": False},
            {"id": "e", "text": "text", "tenant": "acme", "team": 7, "draft": False},
        ]
    )
    assert both.count() == 2
    assert [passage.id for passage in both.get(["a", "b", "c", "d", "e"])] == ["a", "e"]
    assert both.delete(filter={"tenant": "acme"}) == 2
    assert collection.count() == 3


def test_integers_that_are_one_as_floats_stay_apart(collection):
    collection.add([{"id": str(n), "text": "text", "tenant": 2**53 + n} for n in range(2)])
    for n in range(2):
        view = collection.scoped(scope_of({"tenant": 2**53 + n}))
        assert (view.count(), [passage.id for passage in view.get(["0", "1"])]) == (1, [str(n)])


def test_rarity_of_words_is_counted_within_the_scope(acme, globex, search):
    acme.add([{"id": n, "text": "common" if n else "common rare"} for n in range(4)])
    alone = search(acme, "common rare", mode="sparse")[0].evidence.sparse_score
    globex.add([{"id": n, "text": "rare"} for n in range(200)])
    assert search(acme, "common rare", mode="sparse")[0].evidence.sparse_score == pytest.approx(alone)


def test_a_scope_reads_nothing_where_there_is_no_collection(acme):
    with pytest.raises(CollectionError, match="does not exist yet"):
        acme.count()


def test_an_empty_filter_deletes_nothing_in_a_scope_either(acme):
    acme.add(["text"])
    with pytest.raises(ConfigError, match="empty filter"):
        acme.delete(filter={})


def test_a_point_of_the_scope_that_was_given_away_from_outside_is_an_error_and_not_overwritten(collection, acme):
    acme.add([{"id": "a", "text": "text"}])
    backend = acme._backend
    fetch = backend.fetch

    def given_away(points, fields=None):
        return {point: {**one, "metadata": {"tenant": "globex"}} for point, one in fetch(points, fields).items()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "fetch", given_away)
        with pytest.raises(CollectionError, match="'a' was changed from outside"):
            acme.add([{"id": "a", "text": "another"}])
        assert acme.get(["a"]) == []


def test_the_bound_fields_are_indexed_before_the_first_point_is_written(place, acme):
    seen = []
    backend = acme._backend
    upsert = backend.upsert

    def looks(points, added):
        seen.append(indexes(place, backend))
        upsert(points, added)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "upsert", looks)
        acme.add(["text"])
    expected = {} if place.kind == "memory" else {"metadata.tenant": True}
    assert seen == [expected]


def indexes(place, backend):
    """Which metadata fields have an index, and whether it is one for tenants."""
    if place.kind == "embedded":
        schema = backend._opened.engine.info().payload_schema
        return {path: True for path in schema if path.startswith("metadata.")}  # the engine does not tell the rest
    schema = backend._client.get_collection(backend._name).payload_schema
    return {path: one.params.is_tenant for path, one in schema.items() if path.startswith("metadata.")}
