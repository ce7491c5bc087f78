"""Collections copied between engines: everything arrives, nothing twice, and no part is taken for the whole."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

from searchkit.collection import open_collection
from searchkit.collection.scope import scope_of
from searchkit.config import SearchKitConfig
from searchkit.errors import CollectionError, ConfigError
from searchkit.moving import Location, copy_collection
from searchkit.moving.copying import _Copy
from searchkit.stages import SparseVector
from searchkit.testing import FakeEncoder, FakeSparseEncoder

LONG = " ".join(f"word{number}" for number in range(100))
CONFIG = SearchKitConfig.model_validate({"windows": {"overlap_tokens": 4}})


@pytest.fixture
def filled(place):
    collection = place.open()
    collection.add(
        [
            {
                "id": n,
                "text": f"text {n} {LONG if n % 50 == 0 else ''}",
                "n": n,
                "day": "2024-01-02",
                "open": True,
            }
            for n in range(600)
        ]
    )
    collection.add([{"id": "odd", "text": "ä 你好 \U0001f600 the", "nested": {"a": [1, 2.5, None, "x"]}}])
    collection.scoped(scope_of({"tenant": "acme"})).add([{"id": 1, "text": "of a tenant"}])
    return collection


@pytest.fixture(params=["embedded", "memory", "wire"])
def target(request, tmp_path):
    """Another engine, and how to open what was copied there."""
    if request.param == "embedded":
        yield {"path": tmp_path / "target"}
    elif request.param == "memory":
        client = QdrantClient(":memory:")
        yield {"client": client}
        client.close()
    else:
        url = request.getfixturevalue("wire_server").url
        yield {"url": url}
        client = QdrantClient(url=url, check_compatibility=False)
        client.delete_collection("copied")
        client.close()


def source_of(place, collection) -> Location:
    return Location(collection.name, **place.arguments)


def opened(target, encoder=None):
    return open_collection(
        "copied",
        **target,
        encoder=encoder or FakeEncoder(64, max_tokens=34),
        sparse_encoder=FakeSparseEncoder(),
        config=CONFIG,
    )


def contents(collection):
    found = {}
    for page in collection._backend.read_all():
        for point in page:
            sparse = point.sparse or SparseVector([], [])
            weights = dict(zip(sparse.indices, (round(value, 5) for value in sparse.values), strict=True))
            found[point.id] = point.payload, [round(value, 4) for value in point.dense], weights
    return found


class InterruptedCopyError(Exception):
    pass


class Interrupts:
    """Counts progress and raises after some of it."""

    def __init__(self, after):
        self.left = after

    def __call__(self, count):
        self.left -= count
        if self.left <= 0:
            raise InterruptedCopyError


def test_everything_arrives_and_nothing_is_encoded_again(place, filled, target, search):
    report = copy_collection(source_of(place, filled), Location("copied", **target))
    assert (report.passages, report.kept) == (602, 0)
    assert report.copied == report.points > 602
    encoder = FakeEncoder(64, max_tokens=34)
    copied = opened(target, encoder)
    assert contents(copied) == contents(filled)
    assert copied.add([{"id": 7, "text": "text 7 ", "n": 7, "day": "2024-01-02", "open": True}]).unchanged == 1
    assert encoder.encoded_count == 0
    query = "odd 你好 \U0001f600 the"
    assert search(copied, query)[0].id == search(filled, query)[0].id == "odd"
    assert [one.text for one in copied.scoped(scope_of({"tenant": "acme"})).get([1])] == ["of a tenant"]
    copied.close()


def test_a_copy_that_was_interrupted_is_finished_by_making_it_again(place, filled, target):
    source = source_of(place, filled)

    for after in (1, 256, 600, 900):
        with pytest.raises(InterruptedCopyError):
            copy_collection(source, Location("copied", **target), on_progress=Interrupts(after))
        with pytest.raises(CollectionError, match=r"is unfinished: the copy of .* was interrupted"):
            opened(target)
    report = copy_collection(source, Location("copied", **target))
    assert report.kept > 0
    assert report.kept + report.copied == report.points
    copied = opened(target)
    assert contents(copied) == contents(filled)
    copied.close()


def test_making_a_complete_copy_again_writes_nothing(place, filled, target):
    source, there = source_of(place, filled), Location("copied", **target)
    first = copy_collection(source, there)
    second = copy_collection(source, there)
    assert (second.copied, second.kept, second.checksum) == (0, first.points, first.checksum)


def test_a_complete_copy_stays_open_to_all_when_making_it_again_is_interrupted(place, filled, target, monkeypatch):
    source, there = source_of(place, filled), Location("copied", **target)
    copy_collection(source, there)
    with pytest.raises(InterruptedCopyError):
        copy_collection(source, there, on_progress=Interrupts(1))
    opened(target).close()
    monkeypatch.setattr("searchkit.moving.copying._is_same", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        copy_collection(source, there)
    copied = opened(target)
    assert copied.count() == filled.count()
    copied.close()


def test_dense_vectors_that_differ_in_a_complete_copy_are_brought_over_again(place, filled, target):
    source, there = source_of(place, filled), Location("copied", **target)
    copy_collection(source, there)
    copied = opened(target)
    point = next(copied.backend.read_all())[0]
    turned = replace(point, dense=[-number for number in point.dense])
    with copied.backend.writing():
        copied.backend.upsert([turned], [])
    assert copy_collection(source, there).copied == 1
    assert contents(copied) == contents(filled)
    copied.close()


def test_what_changed_since_the_interruption_is_replaced_and_deleted(place, filled, target, monkeypatch):
    source, there = source_of(place, filled), Location("copied", **target)
    monkeypatch.setattr(_Copy, "_compare", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        copy_collection(source, there)
    monkeypatch.undo()
    filled.delete([3, 4])
    filled.add([{"id": 5, "text": "another text"}, {"id": "new", "text": "a new one"}])
    report = copy_collection(source, there)
    copied = opened(target)
    assert contents(copied) == contents(filled)
    assert copied.count() == filled.count() == report.passages
    copied.close()


def test_a_target_with_something_else_in_it_is_refused_and_left_alone(place, filled, target):
    other = opened(target)
    other.add(["something else"])
    with pytest.raises(CollectionError, match="holds 1 points and is no earlier part of this copy"):
        copy_collection(source_of(place, filled), Location("copied", **target))
    assert other.count() == 1
    other.close()


def test_a_target_of_another_encoder_is_refused(place, filled, target):
    other = opened(target, FakeEncoder(64, max_tokens=34, name="another"))
    other.add(["something else"])
    with pytest.raises(CollectionError, match=r"holds another collection .* made with the encoder 'another"):
        copy_collection(source_of(place, filled), Location("copied", **target))
    other.close()


def test_a_write_to_the_source_during_the_copy_is_noticed_and_brought_over_by_the_next(place, filled, target):
    source, there = source_of(place, filled), Location("copied", **target)

    numbers = itertools.count()

    def writes(_):
        filled.add([{"id": 3, "text": f"changed meanwhile, version {next(numbers)}"}])

    with pytest.raises(CollectionError, match=r"not equal to .* after the copy"):
        copy_collection(source, there, on_progress=writes)
    copy_collection(source, there)
    copied = opened(target)
    assert contents(copied) == contents(filled)
    copied.close()


def test_a_source_that_is_missing_or_the_target_itself_is_an_error(place, filled, target):
    with pytest.raises(CollectionError, match="does not exist"):
        copy_collection(Location("missing", **place.arguments), Location("copied", **target))
    with pytest.raises(ConfigError, match="both"):
        copy_collection(source_of(place, filled), source_of(place, filled))


def test_two_clients_are_two_places_whatever_the_names():
    one, other = QdrantClient(":memory:"), QdrantClient(":memory:")
    opened({"client": one}).add(["a text"])
    assert copy_collection(Location("copied", client=one), Location("copied", client=other)).copied == 1
    assert opened({"client": other}).count() == 1


def test_a_folder_by_another_spelling_is_the_same_place(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    made = opened({"path": tmp_path / "real"})
    made.add(["a text"])
    made.close()
    with pytest.raises(ConfigError, match="source and target are both"):
        copy_collection(Location("copied", path=tmp_path / "real"), Location("copied", path=tmp_path / "link"))
    opened({"path": tmp_path / "real"}).close()


def test_a_server_by_its_address_and_by_a_client_is_the_same_place(wire_server):
    made = opened({"url": wire_server.url})
    made.add(["a text"])
    client = QdrantClient(url=wire_server.url + "/", check_compatibility=False)
    with pytest.raises(ConfigError, match="source and target are both"):
        copy_collection(Location("copied", url=wire_server.url), Location("copied", client=client))
    client.delete_collection("copied")
    client.close()
    made.close()


@pytest.mark.parametrize("place", ["handbook", Path("handbook"), None])
def test_what_is_no_location_is_refused_by_name(tmp_path, place):
    with pytest.raises(ConfigError, match="a place is a Location, not"):
        copy_collection(place, Location("copied", path=tmp_path))
