"""The embedded engine's folder: what is ours, who has it, what is damaged, what can be resumed."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import qdrant_edge

from searchkit import SearchKit
from searchkit.collection.backends import shard as shard_module
from searchkit.collection.backends.checked_json import load_checked, replace_checked
from searchkit.collection.backends.folder import CollectionFolder, collection_folder
from searchkit.collection.backends.journal import Journal
from searchkit.collection.schema import passage_key, point_id
from searchkit.errors import CollectionError, ConfigError
from searchkit.testing import FakeEncoder, FakeReranker
from tests.unit.collection.things import open_things

LONG = " ".join(f"word{n}" for n in range(200))
PASSAGES = [{"id": n, "text": f"text {n} {LONG if n % 10 == 0 else ''}"} for n in range(100)]


@pytest.fixture
def filled(tmp_path):
    collection = open_things(tmp_path)
    collection.add(PASSAGES)
    collection.close()
    return tmp_path / "things"


def snapshot(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def lose_points(folder, *points):
    """Take points out of the shard behind the ledger's back."""
    engine = qdrant_edge.EdgeShard.load(str(folder / "engine"))
    engine.update(qdrant_edge.UpdateOperation.delete_points([f"{point:032x}" for point in points]))
    engine.flush()
    engine.close()


def interrupt(folder):
    """Leave what a writer leaves whose last write failed in the engine."""
    (folder / "seal.json").unlink(missing_ok=True)
    journal = Journal(folder / "writing")
    journal.unknown()
    journal.close(is_finished=False)


def test_opening_what_does_not_exist_makes_no_folder(tmp_path):
    collection = open_things(tmp_path / "deep" / "er")
    with pytest.raises(CollectionError, match="add passages first"):
        collection.count()
    collection.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_ours_is_refused_and_untouched(tmp_path):
    foreign = tmp_path / "things"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("years of work")
    before = snapshot(foreign)
    with pytest.raises(CollectionError, match=r"not a searchkit collection.*thesis\.txt.*nothing was changed"):
        open_things(tmp_path)
    assert snapshot(foreign) == before


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "things").write_text("a file")
    with pytest.raises(CollectionError, match="not a folder"):
        open_things(tmp_path)


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "things").mkdir()
    collection = open_things(tmp_path)
    assert collection.add(["text"]).added == 1
    collection.close()


@pytest.mark.parametrize(
    "name", ["..", ".", "a/b", "a\\b", "/etc", "a\0b", "a:b", " a", "a ", "", "a\u202eb", "x" * 201]
)
def test_a_name_that_leads_out_or_astray_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="cannot name a collection"):
        collection_folder(tmp_path, name)


def test_memory_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r'no folder; .* pass client=QdrantClient\(":memory:"\)'):
        SearchKit("things", path=":memory:", encoder=FakeEncoder(), reranker=FakeReranker())
    assert not list(tmp_path.iterdir())


def test_unicode_names_are_fine(tmp_path):
    assert collection_folder(tmp_path, "Handbücher 日本").path == tmp_path / "Handbücher 日本"


def test_a_path_that_cannot_be_written_is_a_collection_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CollectionError, match="cannot be used"):
        open_things(tmp_path / "file" / "below").add(["text"])


HOLDER = """
import sys, time
from searchkit import SearchKit
from searchkit.collection import open_collection
from searchkit.config import SearchKitConfig
from searchkit.testing import FakeEncoder, FakeReranker, FakeSparseEncoder
collection = open_collection("things", path=sys.argv[1], encoder=FakeEncoder(16, max_tokens=34),
    sparse_encoder=FakeSparseEncoder(), config=SearchKitConfig.model_validate({"windows": {"overlap_tokens": 4}}))
collection.add(["held text"])
print("ready", flush=True)
sys.stdin.readline()
collection.close()
"""


def test_a_second_process_is_refused_with_folder_and_process_id(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "ready\n"
        with pytest.raises(
            CollectionError,
            match=rf"{tmp_path}/things is open in another process \(process id {holder.pid}, since 20\d\d-.*read_only",
        ):
            open_things(tmp_path)
        holder.stdin.write("\n")
        holder.stdin.close()
        assert holder.wait(30) == 0
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    collection = open_things(tmp_path)
    assert collection.count() == 1
    collection.close()


def test_a_collection_that_was_forgotten_is_released(tmp_path):
    open_things(tmp_path).add(["text"])  # nobody holds it: no close needed
    subprocess.run(
        [sys.executable, "-c", HOLDER, str(tmp_path)], input="\n", text=True, check=True, capture_output=True
    )


def test_a_folder_deleted_and_made_again_is_a_new_collection(tmp_path):
    first = open_things(tmp_path)
    first.add(["one", "two"])
    shutil.rmtree(tmp_path / "things")
    second = open_things(tmp_path)
    second.add(["three"])
    assert second.count() == 1
    second.close()


def test_lost_points_are_found_at_open(filled):
    lose_points(filled, point_id(passage_key(3)), point_id(passage_key(0), 2))
    (filled / "seal.json").unlink()
    points = json.loads((filled / "ledger.json").read_text())["points"]
    with pytest.raises(CollectionError, match=rf"holds {points - 2} points .* where {points} .* were written"):
        open_things(filled.parent)
    with pytest.raises(CollectionError, match=r"doctor --repair.*restore it from a backup, or delete the folder"):
        open_things(filled.parent)


def test_points_lost_behind_a_seal_are_found_as_well(filled):
    lose_points(filled, point_id(passage_key(3)))
    with pytest.raises(CollectionError, match=r"damaged since it was closed: engine/segments/.*doctor --repair"):
        open_things(filled.parent)


def test_as_many_other_points_are_found_out_by_the_checksum(filled):
    (filled / "seal.json").unlink()
    ledger = load_checked((filled / "ledger.json").read_text())
    ledger["checksum"] = f"{int(ledger['checksum'], 16) ^ 1:x}"
    replace_checked(filled / "ledger.json", ledger)
    with pytest.raises(CollectionError, match=r"holds 170 points \(checksum .* where 170 .* were written"):
        open_things(filled.parent)


def test_a_store_without_its_engine_is_damaged(filled):
    shutil.rmtree(filled / "engine")
    with pytest.raises(CollectionError, match="damaged"):
        open_things(filled.parent)


@pytest.mark.parametrize("name", ["searchkit.json", "ledger.json", "seal.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "null", '"x"', "[" * 5000])
def test_a_damaged_file_is_named(filled, name, content):
    (filled / name).write_text(content)
    with pytest.raises(CollectionError, match="damaged"):
        open_things(filled.parent)


def test_a_manifest_of_another_layout_version_says_so(filled):
    manifest = load_checked((filled / "searchkit.json").read_text())
    replace_checked(filled / "searchkit.json", manifest | {"schema_version": 99})
    with pytest.raises(CollectionError, match="layout version 99, this searchkit reads 1"):
        open_things(filled.parent)


def test_fields_that_a_later_version_added_to_the_manifest_do_not_matter(filled):
    manifest = load_checked((filled / "searchkit.json").read_text())
    replace_checked(filled / "searchkit.json", manifest | {"colour": "blue"})
    collection = open_things(filled.parent)
    assert collection.count() == 100
    collection.close()


def test_after_an_interrupted_write_points_are_counted_anew(filled):
    lose_points(filled, point_id(passage_key(3)))
    interrupt(filled)
    collection = open_things(filled.parent)
    assert collection.count() == 99
    report = collection.add(PASSAGES)
    assert (report.added, report.unchanged) == (1, 99)
    collection.close()
    again = open_things(filled.parent)
    assert again.count() == 100
    again.close()


def test_windows_without_their_first_one_are_cleared_away_after_an_interruption(filled):
    lose_points(filled, point_id(passage_key(10)))
    interrupt(filled)
    collection = open_things(filled.parent)
    engine_points = collection._backend.count(None)
    assert collection.count() == 99
    assert collection.add(PASSAGES).added == 1
    assert collection._backend.count(None) > engine_points + 1
    assert collection.get([10])[0].text == PASSAGES[10]["text"]
    collection.close()


def test_a_passage_that_lost_windows_says_so_and_heals_when_it_changes(filled):
    lose_points(filled, point_id(passage_key(10), 2))
    interrupt(filled)
    collection = open_things(filled.parent)
    with pytest.raises(CollectionError, match=r"passage 10 .* incomplete.*add it again"):
        collection.get([10])
    collection.add([{"id": 10, "text": f"changed {LONG}"}])
    assert collection.get([10])[0].text == f"changed {LONG}"
    collection.close()


def test_an_interrupted_creation_is_resumed(tmp_path):
    collection = open_things(tmp_path)
    collection.add(["text"])
    collection.close()
    folder = tmp_path / "things"
    (folder / "ledger.json").unlink()
    (folder / "seal.json").unlink()
    shutil.rmtree(folder / "engine" / "segments")
    again = open_things(tmp_path)
    assert again.count() == 0
    assert again.add(["text"]).added == 1
    again.close()


@pytest.mark.parametrize("other", ["seal.json", "none"])
def test_a_lost_ledger_is_damage_and_no_empty_collection(filled, other):
    (filled / "ledger.json").unlink()
    (filled / other).unlink(missing_ok=True)
    before = snapshot(filled / "engine")
    with pytest.raises(CollectionError, match=r"damaged: ledger\.json is missing; .*doctor --repair"):
        open_things(filled.parent)
    assert snapshot(filled / "engine").keys() == before.keys()


def test_nothing_is_marked_when_nothing_changed(filled):
    before = {name: content for name, content in snapshot(filled).items() if name.name in {"ledger.json", "writing"}}
    collection = open_things(filled.parent)
    collection.add(PASSAGES)
    collection.close()
    after = {name: content for name, content in snapshot(filled).items() if name.name in {"ledger.json", "writing"}}
    assert after == before


def test_long_writes_are_flushed_on_the_way(tmp_path, monkeypatch):
    monkeypatch.setattr(shard_module, "_CHECKPOINT_POINTS", 50)
    ledgers = []
    collection = open_things(tmp_path, ingest={"batch_size": 20})

    def note(_):
        ledgers.append(CollectionFolder(tmp_path / "things").read_record().ledger.points)

    collection.add(PASSAGES, on_progress=note)
    collection.close()
    assert 0 < ledgers[-2] < 200
    assert len(set(ledgers)) > 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_does_not_use_its_parents_shard(filled):
    collection = open_things(filled.parent)
    child = os.fork()
    if child == 0:
        try:
            open_things(filled.parent)
        except CollectionError:
            os._exit(3)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 3
    assert collection.count() == 100
    collection.close()


INGEST = """
import sys
from searchkit import SearchKit
from searchkit.collection import open_collection
from searchkit.config import SearchKitConfig
from searchkit.testing import FakeEncoder, FakeReranker, FakeSparseEncoder
version, count = sys.argv[2], int(sys.argv[3])
long = " ".join(f"{version}word{n}" for n in range(200))
def passages():
    for n in range(count):
        size = (n * 7 + len(version)) % 5
        yield {"id": n, "text": f"{version} text {n} " + long[: size * 400]}
collection = open_collection("things", path=sys.argv[1], encoder=FakeEncoder(16, max_tokens=34),
    sparse_encoder=FakeSparseEncoder(),
    config=SearchKitConfig.model_validate({"windows": {"overlap_tokens": 4}, "ingest": {"batch_size": 16}}))
print("started", flush=True)
collection.add(passages(), on_progress=lambda n: print(n, flush=True))
expected = {passage["id"]: passage["text"] for passage in passages()}
stored = {passage.id: passage.text for passage in collection.get(list(expected))}
assert stored == expected, "texts differ"
assert collection.count() == count, collection.count()
points = {point for page in collection._backend.scan(None) for point in page}
print("points", len(points), sum(points) % 2**128, flush=True)
collection.close()
"""


def ingest(root, version, *, kill_after=None):
    """Run an ingest in a process of its own; kill it after so many lines of output."""
    process = subprocess.Popen(
        [sys.executable, "-c", INGEST, str(root), version, "300"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = []
    with process.stdout, process.stderr:
        for line in process.stdout:
            lines.append(line)
            if kill_after is not None and len(lines) > kill_after:
                process.kill()
                break
        code = process.wait()
        assert kill_after is not None or code == 0, process.stderr.read()
    return lines[-1]


@pytest.mark.soak
def test_an_ingest_killed_anywhere_and_run_again_equals_an_unbroken_one(tmp_path, soak_count):
    rounds = soak_count(full=60, reduced=4)
    expected = {version: ingest(tmp_path / f"unbroken-{version}", version) for version in ("a", "bcd")}
    assert expected["a"].startswith("points")
    chance = random.Random(rounds)
    broken = tmp_path / "broken"
    for number in range(rounds):
        version = chance.choice(["a", "bcd"])
        ingest(broken, version, kill_after=chance.randrange(19))
        if number % 2:
            version = chance.choice(["a", "bcd"])
            assert ingest(broken, version) == expected[version]
    assert ingest(broken, "a") == expected["a"]
    assert not (broken / "things" / "writing").exists()
    assert Path(broken / "things" / "ledger.json").exists()


def test_a_process_may_change_its_folder_while_a_collection_is_open(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    encoder = FakeEncoder()
    with SearchKit("things", path="data", encoder=encoder, reranker=FakeReranker()) as kit:
        kit.add(["a text"])
        monkeypatch.chdir(tmp_path / "elsewhere")
        kit.add(["another text"])
    monkeypatch.chdir(tmp_path)
    with SearchKit("things", path="data", encoder=encoder, reranker=FakeReranker()) as kit:
        assert kit.count() == 2
    assert not any((tmp_path / "elsewhere").iterdir())


def test_closing_a_collection_whose_folder_was_deleted_is_quiet(tmp_path):
    kit = SearchKit("things", path=tmp_path, encoder=FakeEncoder(), reranker=FakeReranker())
    kit.add(["a text"])
    shutil.rmtree(tmp_path / "things")
    kit.close()
