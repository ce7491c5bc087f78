"""A collection built again beside the old one: nothing is lost, no search fails, and the switch is one step."""

from __future__ import annotations

import logging
import threading

import pytest
from qdrant_client import QdrantClient, models

from searchkit import SearchKit, SearchKitConfig
from searchkit.config import WindowConfig
from searchkit.errors import CollectionError, ConfigError
from searchkit.evaluation import JudgedQueries, JudgedQuery
from searchkit.moving import drop_previous, reindex
from searchkit.testing import FakeEncoder, FakeReranker
from tests.wire.server import WireServer

LONG = " ".join(f"word{number}" for number in range(120))
PASSAGES = [{"id": n, "text": f"passage number {n} {LONG if n % 10 == 0 else ''}", "n": n} for n in range(60)]
OLD = FakeEncoder(32, max_tokens=40, name="old")
NEW = FakeEncoder(48, max_tokens=80, name="new")
CONFIG = SearchKitConfig(windows=WindowConfig(overlap_tokens=4))


@pytest.fixture(params=["embedded", "memory", "wire"])
def place(request, tmp_path):
    if request.param == "embedded":
        yield {"path": tmp_path}
    elif request.param == "memory":
        client = QdrantClient(":memory:")
        yield {"client": client}
        client.close()
    else:
        with WireServer() as server:
            yield {"url": server.url}


@pytest.fixture
def open_kit(place):
    opened = []

    def make(encoder, name="handbook", config=CONFIG):
        kit = SearchKit(name, **place, encoder=encoder, reranker=FakeReranker(), config=config)
        opened.append(kit)
        return kit

    yield make
    for kit in opened:
        kit.close()


@pytest.fixture
def old(open_kit):
    kit = open_kit(OLD)
    kit.add(PASSAGES)
    kit.scoped(tenant="acme").add([{"id": 1, "text": "of a tenant"}])
    return kit


def test_the_name_leads_to_the_new_collection_and_open_kits_stay_with_the_old(old, open_kit):
    before = [hit.id for hit in old.search("passage number 7")]
    report = reindex(old, encoder=NEW)
    assert (report.collection, report.built, report.previous) == ("handbook", "handbook-2", "handbook")
    assert (report.passages, report.encoded, report.is_switched) == (61, 61, True)
    new = open_kit(NEW)
    assert new.count() == 61
    assert new.name == "handbook"
    assert new.get([10, 1])[0].text == PASSAGES[10]["text"]
    assert [one.text for one in new.scoped(tenant="acme").get([1])] == ["of a tenant"]
    assert new.search("of a tenant", top_k=1)[0].metadata == {"tenant": "acme"}
    assert [hit.id for hit in old.search("passage number 7")] == before
    with pytest.raises(CollectionError, match="encoder"):
        open_kit(OLD)


def test_no_search_fails_during_the_switch(old, open_kit):
    stop, errors, counts = threading.Event(), [], []

    def search():
        try:
            while not stop.is_set():
                counts.append(len(old.search("passage number 7", rerank=False, top_k=3)))
        except Exception as error:  # noqa: BLE001  # whatever it is, it must not happen
            errors.append(error)

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    reindex(old, encoder=NEW)
    new = open_kit(NEW)
    found = len(new.search("passage number 7", rerank=False, top_k=3))
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert found == 3
    assert set(counts) == {3}


def test_the_old_collection_stays_until_it_is_dropped_and_the_name_goes_on_working(old, open_kit):
    reindex(old, encoder=NEW)
    old.close()
    new = open_kit(NEW)
    wider = SearchKitConfig(windows=WindowConfig(max_tokens=60, overlap_tokens=4))
    assert reindex(new, config=wider).built == "handbook-3"
    new.close()
    newest = open_kit(NEW, config=wider)
    assert drop_previous(newest) == ["handbook-2", "handbook"]
    assert drop_previous(newest) == []
    assert newest.count() == 61
    newest.close()
    again = open_kit(NEW, config=wider)
    assert again.count() == 61
    assert reindex(again, encoder=OLD, config=CONFIG).built == "handbook-2"
    assert open_kit(OLD).count() == 61


@pytest.mark.parametrize("place", ["memory", "wire"], indirect=True)
def test_a_kit_that_still_has_the_dropped_collection_open_fails_instead_of_finding_nothing(old, open_kit):
    reindex(old, encoder=NEW)
    new = open_kit(NEW)
    assert len(old.search("passage number 7", top_k=3)) == 3
    drop_previous(new)
    uses = [
        lambda: old.search("passage number 7"),
        lambda: old.scoped(tenant="acme").search("passage number 7"),
        lambda: old.add([{"id": "late", "text": "came too late"}]),
        lambda: old.get([7]),
        lambda: old.delete([7]),
        lambda: old.delete(filter={"n": 7}),
        old.count,
        lambda: old.count(filter=models.Filter()),
    ]
    for use in uses:
        with pytest.raises(CollectionError, match=r"dropped after 'handbook-2' took its place.*open 'handbook' again"):
            use()
    assert new.count() == 61
    assert reindex(new, encoder=FakeEncoder(24, max_tokens=40)).built == "handbook-3"
    with pytest.raises(CollectionError, match="dropped after 'handbook-3' took its place"):
        old.search("passage number 7")


@pytest.mark.parametrize("place", ["memory", "wire"], indirect=True)
def test_a_kit_whose_collection_was_deleted_says_so(place, old, open_kit):
    reindex(old, encoder=NEW)
    second = open_kit(NEW)
    reindex(second, encoder=FakeEncoder(24, max_tokens=40))
    drop_previous(open_kit(FakeEncoder(24, max_tokens=40)))
    with pytest.raises(CollectionError, match=r"'handbook-2' .* was deleted since .*; open 'handbook' again"):
        second.add(["too late"])


def test_an_interrupted_reindexing_is_finished_by_the_same_call_and_encodes_nothing_twice(old, open_kit):
    config = CONFIG.model_copy(update={"ingest": CONFIG.ingest.model_copy(update={"batch_size": 16})})

    def stops(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reindex(old, encoder=NEW, config=config, on_progress=stops)
    with pytest.raises(CollectionError, match="unfinished: the reindexing of 'handbook'"):
        open_kit(NEW, name="handbook-2")
    report = reindex(old, encoder=NEW, config=config)
    assert (report.built, report.passages) == ("handbook-2", 61)
    assert report.encoded == 61 - 16


def test_a_switch_can_wait_until_the_new_collection_was_looked_at(old, open_kit):
    first = reindex(old, encoder=NEW, switch=False)
    assert not first.is_switched
    assert open_kit(OLD).count() == 61
    old.add([{"id": "late", "text": "came in between"}])
    old.delete([3])
    second = reindex(old, encoder=NEW)
    assert (second.built, second.encoded, second.passages) == ("handbook-2", 1, 61)
    new = open_kit(NEW)
    assert [one.id for one in new.get(["late", 3])] == ["late"]


def test_beside_a_trial_that_was_rejected_another_is_built(old, open_kit, caplog):
    reindex(old, encoder=NEW, switch=False)
    other = FakeEncoder(24, max_tokens=40, name="other")
    with caplog.at_level(logging.INFO, logger="searchkit"):
        report = reindex(old, encoder=other, switch=False)
    assert (report.built, report.encoded, report.passages) == ("handbook-3", 61, 61)
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("left alone, as")]
    assert len(said) == 1
    assert "was made with encoder dimension 48, but is opened with 24" in said[0]
    assert reindex(old, encoder=NEW, switch=False).encoded == 0  # the first is whole, as before
    assert reindex(old, encoder=other).encoded == 0
    assert open_kit(other).count() == 61


def test_a_whole_collection_that_nothing_leads_to_is_not_deleted_for_another(old, open_kit, monkeypatch):
    def stops(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(old.parts.collection.backend), "switch_to", stops)
    with pytest.raises(KeyboardInterrupt):
        reindex(old, encoder=NEW)
    monkeypatch.undo()
    other = FakeEncoder(24, max_tokens=40, name="other")
    assert reindex(old, encoder=other).built == "handbook-3"
    assert open_kit(other).count() == 61
    assert open_kit(NEW, name="handbook-2").count() == 61


def test_a_kit_from_before_a_switch_cannot_start_another(old):
    reindex(old, encoder=NEW)
    with pytest.raises(CollectionError, match=r"leads to 'handbook-2' since this kit was opened"):
        reindex(old, encoder=NEW)


def test_old_and_new_are_measured_on_judged_queries(old):
    pytest.importorskip("ir_measures")
    queries = tuple(JudgedQuery(id=str(n), text=f"passage number {n}") for n in range(1, 9))
    judged = JudgedQueries(name="numbers", queries=queries, qrels={str(n): {str(n): 1} for n in range(1, 9)})
    report = reindex(old, encoder=NEW, judged=judged, switch=False)
    assert [system.name for system in report.comparison.systems] == ["old", "new"]
    assert all("nDCG@10" in system.measures for system in report.comparison.systems)


def test_views_and_missing_collections_are_refused(old, open_kit):
    with pytest.raises(ConfigError, match="attached or scoped"):
        reindex(old.scoped(tenant="acme"), encoder=NEW)
    with pytest.raises(CollectionError, match="does not exist yet"):
        reindex(open_kit(OLD, name="missing"), encoder=NEW)
    old.delete(range(60))
    old.scoped(tenant="acme").delete([1])
    with pytest.raises(CollectionError, match="holds no passages"):
        reindex(old, encoder=NEW)


@pytest.mark.parametrize("place", ["memory", "wire"], indirect=True)
def test_an_alias_is_switched_and_a_kit_that_was_opened_by_it_stays(place, open_kit):
    made = open_kit(OLD, name="handbook-1")
    made.add(PASSAGES)
    client = place.get("client") or QdrantClient(url=place["url"], check_compatibility=False)
    client.update_collection_aliases(
        [
            models.CreateAliasOperation(
                create_alias=models.CreateAlias(collection_name="handbook-1", alias_name="handbook")
            )
        ]
    )
    by_alias = open_kit(OLD)
    assert by_alias.count() == 60
    assert reindex(by_alias, encoder=NEW).built == "handbook-2"
    assert [(one.alias_name, one.collection_name) for one in client.get_aliases().aliases] == [
        ("handbook", "handbook-2")
    ]
    assert len(by_alias.search("passage number 7", top_k=3)) == 3
    new = open_kit(NEW)
    assert new.count() == 60
    assert drop_previous(new) == ["handbook-1"]
    assert not client.collection_exists("handbook-1")
    if "client" not in place:
        client.close()
