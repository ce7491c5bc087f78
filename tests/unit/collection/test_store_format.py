"""Files of another version of searchkit are named as such, and the oldest ones are brought up to date."""

from __future__ import annotations

import json
import pickle
import shutil

import pytest
import qdrant_edge
from qdrant_client import QdrantClient

from searchkit.collection import open_collection
from searchkit.collection.backends.checked_json import load_checked, replace_checked
from searchkit.collection.backends.client_home import MANIFEST_KEY
from searchkit.collection.backends.store_format import STORE_FORMAT
from searchkit.collection.doctor import examine
from searchkit.collection.schema import passage_key, point_id
from searchkit.config import SearchKitConfig
from searchkit.errors import CollectionError, StoreFormatError
from searchkit.testing import FakeEncoder, FakeSparseEncoder
from tests.unit.collection.things import open_things

LONG = " ".join(f"word{n}" for n in range(120))
PASSAGES = [{"id": n, "text": f"text {n} {LONG if n % 9 == 0 else ''}", "flag": n % 2 == 0} for n in range(40)]
SETTINGS = SearchKitConfig.model_validate({"windows": {"overlap_tokens": 4}})


def doctor(root, **arguments):
    return examine("things", path=root, config=SETTINGS, **arguments)


@pytest.fixture
def filled(tmp_path):
    collection = open_things(tmp_path)
    collection.add(PASSAGES)
    collection.close()
    return tmp_path / "things"


@pytest.fixture
def old(filled):
    """The folder as the first version of the embedded store left it: no checksums, no contents, no seal."""
    ledger = load_checked((filled / "ledger.json").read_text())
    (filled / "ledger.json").write_text(json.dumps({"points": ledger["points"], "checksum": ledger["checksum"]}))
    manifest = load_checked((filled / "searchkit.json").read_text())
    (filled / "searchkit.json").write_text(json.dumps(manifest, indent=2))
    (filled / "seal.json").unlink()
    (filled / "lock").write_text("12345")
    return filled


def snapshot(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}


def set_format(folder, number):
    ledger = load_checked((folder / "ledger.json").read_text())
    replace_checked(folder / "ledger.json", ledger | {"format": number})


def test_the_ledger_carries_the_number_of_the_format(filled):
    assert load_checked((filled / "ledger.json").read_text())["format"] == STORE_FORMAT


def test_a_ledger_from_before_formats_were_numbered_is_read(filled):
    ledger = load_checked((filled / "ledger.json").read_text())
    del ledger["format"]
    replace_checked(filled / "ledger.json", ledger)
    collection = open_things(filled.parent)
    assert collection.count() == len(PASSAGES)
    collection.close()
    assert doctor(filled.parent).state == "healthy"


@pytest.mark.parametrize("config", [{}, {"read_only": True}])
def test_the_oldest_format_is_no_damage_but_an_error_of_its_own(old, config):
    (old / "seal.json").write_text('{"files": {}}')  # which a reader asks for
    before = snapshot(old)
    with pytest.raises(StoreFormatError, match="store format 1, which an older searchkit wrote") as caught:
        open_things(old.parent, **config)
    assert "this one reads format 2: let `searchkit doctor things --repair` prove" in str(caught.value)
    assert "delete the folder and add the passages again" in str(caught.value)
    assert "damaged" not in str(caught.value)
    assert snapshot(old) == before


def test_a_repair_brings_the_oldest_format_up_to_date(old):
    before = snapshot(old)
    diagnosis = doctor(old.parent)
    assert diagnosis.state == "repairable"
    assert [finding.subject for finding in diagnosis.findings if finding.severity == "problem"] == ["format"]
    assert snapshot(old) == before
    repaired = doctor(old.parent, repair=True)
    assert (repaired.state, repaired.passages, repaired.lost, repaired.lost_count) == ("healthy", 40, (), 0)
    assert repaired.repaired
    collection = open_things(old.parent)
    assert collection.add(PASSAGES).unchanged == len(PASSAGES)
    assert [passage.text for passage in collection.get([9])] == [PASSAGES[9]["text"]]
    assert collection.count({"flag": True}) == 20
    collection.close()
    assert doctor(old.parent).state == "healthy"


def lose(folder, point):
    engine = qdrant_edge.EdgeShard.load(str(folder / "engine"))
    engine.update(qdrant_edge.UpdateOperation.delete_points([f"{point:032x}"]))
    engine.flush()
    engine.close()


def test_points_that_an_old_store_lost_are_counted_by_the_repair(old):
    lose(old, point_id(passage_key(4)))
    diagnosis = doctor(old.parent, repair=True)
    assert (diagnosis.state, diagnosis.passages, diagnosis.lost_count) == ("healthy", 39, 1)


def test_an_old_store_whose_writer_was_interrupted_is_taken_as_it_is(old):
    lose(old, point_id(passage_key(4)))
    (old / "writing").touch()
    diagnosis = doctor(old.parent, repair=True)
    assert (diagnosis.state, diagnosis.passages, diagnosis.lost_count) == ("healthy", 39, 0)


def test_a_newer_format_is_left_alone_by_everything(filled):
    set_format(filled, STORE_FORMAT + 1)
    before = snapshot(filled)
    with pytest.raises(StoreFormatError, match="store format 3, which a newer searchkit wrote; this one") as caught:
        open_things(filled.parent)
    assert "doctor" not in str(caught.value)
    diagnosis = doctor(filled.parent, repair=True)
    assert (diagnosis.state, diagnosis.repaired) == ("other format", ())
    assert diagnosis.findings[0].text == str(caught.value)
    assert snapshot(filled) == before


def test_a_manifest_of_another_layout_is_not_written_anew(filled):
    manifest = load_checked((filled / "searchkit.json").read_text())
    replace_checked(filled / "searchkit.json", manifest | {"schema_version": 99})
    before = snapshot(filled)
    with pytest.raises(StoreFormatError, match="layout version 99, this searchkit reads 1"):
        open_things(filled.parent)
    encoders = (FakeEncoder(16, max_tokens=34), FakeSparseEncoder())
    diagnosis = doctor(filled.parent, repair=True, encoders=lambda: encoders)
    assert (diagnosis.state, diagnosis.repaired) == ("other format", ())
    assert "layout version 99" in diagnosis.findings[0].text
    assert snapshot(filled) == before


def test_a_server_collection_of_another_layout_is_no_damage():
    client = QdrantClient(":memory:")
    collection = open_collection(
        "things",
        client=client,
        encoder=FakeEncoder(16, max_tokens=34),
        sparse_encoder=FakeSparseEncoder(),
        config=SETTINGS,
    )
    collection.add(PASSAGES)
    manifest = collection.backend.find_manifest()
    assert manifest is not None
    client.update_collection("things", metadata={MANIFEST_KEY: manifest.model_dump() | {"schema_version": 99}})
    diagnosis = examine("things", client=client, repair=True)
    assert (diagnosis.state, diagnosis.repaired) == ("other format", ())
    collection.close()


@pytest.mark.parametrize("number", ["3", 0, -1, 2.5, True, [], {}])
def test_a_number_that_is_none_is_damage(filled, number):
    set_format(filled, number)
    with pytest.raises(CollectionError, match=r"ledger\.json is damaged") as caught:
        open_things(filled.parent)
    assert not isinstance(caught.value, StoreFormatError)


def test_the_error_survives_pickling():
    error = pickle.loads(pickle.dumps(StoreFormatError("format 1", is_upgradable=True)))
    assert (str(error), error.is_upgradable) == ("format 1", True)


def test_an_old_store_that_cannot_be_read_stays_as_it_is(old):
    shutil.rmtree(old / "engine")
    diagnosis = doctor(old.parent, repair=True)
    assert (diagnosis.state, diagnosis.repaired) == ("damaged", ())
