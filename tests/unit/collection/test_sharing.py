"""Who may have a collection open: one writer or many readers, and many threads of either."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from searchkit.errors import CollectionError
from searchkit.stages import RetrievalRequest
from searchkit.testing import FakeEncoder, FakeSparseEncoder
from tests.unit.collection.things import open_things

LONG = " ".join(f"word{n}" for n in range(100))


def find(collection, words, depth=10):
    dense, sparse = FakeEncoder(16).encode_queries([words])[0], FakeSparseEncoder().encode_queries([words])[0]
    return [hit.id for hit in collection.retrieve([RetrievalRequest(depth=depth, dense=dense, sparse=sparse)])[0]]


def snapshot(folder):
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    paths = [path for path in paths if ".searchkit-view-" not in str(path)]
    return {path.relative_to(folder): path.read_bytes() for path in paths}


@pytest.fixture
def filled(tmp_path):
    collection = open_things(tmp_path)
    collection.add([{"id": n, "text": f"text {n} {LONG if n % 10 == 0 else ''}"} for n in range(100)])
    collection.delete([5])
    collection.close()
    return tmp_path


READER = """
import sys
from searchkit.collection import open_collection
from searchkit.config import SearchKitConfig
from searchkit.testing import FakeEncoder, FakeSparseEncoder
collection = open_collection("things", path=sys.argv[1], encoder=FakeEncoder(16, max_tokens=34),
    sparse_encoder=FakeSparseEncoder(),
    config=SearchKitConfig.model_validate({"windows": {"overlap_tokens": 4}, "read_only": True}))
print(collection.count(), collection.get([7])[0].text, flush=True)
sys.stdin.readline()
collection.close()
"""


@pytest.fixture
def reader(filled):
    """Another process that reads."""
    process = subprocess.Popen(
        [sys.executable, "-c", READER, str(filled)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process.stdin, process.stdout:
        assert process.stdout.readline() == "99 text 7 \n"
        yield process
        process.kill()
        process.wait()


def test_several_processes_read_at_once_and_change_no_byte(filled, reader):
    before = snapshot(filled)
    collection = open_things(filled, read_only=True)
    assert collection.is_read_only
    assert collection.count() == 99
    assert 7 in find(collection, "text 7")
    assert collection.get([20])[0].text.startswith("text 20 word0")
    collection.close()
    assert snapshot(filled) == before


def test_a_reader_refuses_to_write_and_says_what_to_change(filled):
    collection = open_things(filled, read_only=True)
    for call in (lambda: collection.add(["text"]), lambda: collection.delete([1]), collection.optimize):
        with pytest.raises(CollectionError, match=r"opened read-only.*read_only=False"):
            call()
    collection.close()


def test_no_writer_beside_a_reader(filled, reader):
    with pytest.raises(CollectionError, match=rf"open in another process \(process id {reader.pid}, .*only reading"):
        open_things(filled)


def test_no_reader_beside_a_writer_of_another_process(filled):
    script = READER.replace(', "read_only": True', "")
    writer = subprocess.Popen(
        [sys.executable, "-c", script, str(filled)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with writer.stdin, writer.stdout:
        writer.stdout.readline()
        with pytest.raises(CollectionError, match=rf"process id {writer.pid}, since 20"):
            open_things(filled, read_only=True)
        writer.kill()
        writer.wait()


def test_a_reader_shares_the_writer_of_its_own_process(filled):
    writer, reader = open_things(filled), open_things(filled, read_only=True)
    writer.add([{"id": "new", "text": "new text"}])
    assert reader.count() == 100
    with pytest.raises(CollectionError, match="read-only"):
        reader.add(["text"])
    writer.close()
    assert reader.count() == 100
    reader.close()


def test_a_writer_beside_a_reader_of_its_own_process_is_told_so(filled):
    reader = open_things(filled, read_only=True)
    with pytest.raises(CollectionError, match=r"this process, since .*only reading"):
        open_things(filled)
    reader.close()
    open_things(filled).close()


def test_a_store_that_was_not_closed_in_good_order_is_not_opened_for_reading(filled):
    (filled / "things" / "seal.json").unlink()
    with pytest.raises(CollectionError, match=r"not closed in good order.*open it once for writing"):
        open_things(filled, read_only=True)
    open_things(filled).close()
    reader = open_things(filled, read_only=True)
    assert reader.count() == 99
    reader.close()


def test_reading_what_does_not_exist_says_so(tmp_path):
    reader = open_things(tmp_path, read_only=True)
    with pytest.raises(CollectionError, match="does not exist yet"):
        reader.count()
    reader.close()


def test_an_owner_on_another_machine_is_named(filled, reader):
    lock = filled / "things" / "lock"
    owner = json.loads(lock.read_text())
    assert (owner["pid"], owner["host"]) == (reader.pid, socket.gethostname())
    lock.write_text(json.dumps(owner | {"host": "elsewhere"}))
    with pytest.raises(CollectionError, match=f"process id {reader.pid} on elsewhere, since 20"):
        open_things(filled)


@pytest.mark.parametrize("content", ["", "4711", "{", "[]", '{"pid": 1}', "\0" * 50])
def test_an_unreadable_owner_is_left_out_of_the_message(filled, reader, content):
    (filled / "things" / "lock").write_text(content)
    with pytest.raises(CollectionError, match="is open in another process; close it there"):
        open_things(filled)


def views(folder):
    return list(folder.glob("*/.searchkit-view-*"))


def test_private_folders_of_readers_are_removed(filled):
    reader = open_things(filled, read_only=True)
    assert len(views(filled)) == 1
    reader.close()
    assert views(filled) == []
    vectors = next((filled / "things").rglob("chunk_0.mmap"))
    vectors.write_bytes(b"\1" + vectors.read_bytes()[1:])
    with pytest.raises(CollectionError, match=r"chunk_0\.mmap was changed"):
        open_things(filled, read_only=True)
    assert views(filled) == []


def test_what_a_killed_reader_left_is_removed_by_the_next_writer(filled, reader):
    reader.kill()
    reader.wait()
    assert len(views(filled)) == 1
    open_things(filled).close()
    assert views(filled) == []


def test_a_folder_that_cannot_be_written_to_is_read_from_a_copy(filled, monkeypatch, tmp_path):
    private = tmp_path / "private"
    private.mkdir()
    make, link = tempfile.mkdtemp, os.link

    def elsewhere(prefix, dir=None):  # noqa: A002
        if dir is not None:
            raise PermissionError(13, "Permission denied")
        return make(prefix=prefix, dir=private)

    def refuse(*paths):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(tempfile, "mkdtemp", elsewhere)
    monkeypatch.setattr(os, "link", refuse)
    before = snapshot(filled)
    reader = open_things(filled, read_only=True)
    assert reader.count() == 99
    assert len(list(private.iterdir())) == 1
    reader.close()
    monkeypatch.setattr(os, "link", link)
    assert list(private.iterdir()) == []
    assert snapshot(filled) == before


def work(collection, number, until, done):
    """Do things with ids that are this thread's alone, and check every answer; return what must be there."""
    chance = random.Random(number)
    mine = {}
    while time.monotonic() < until:
        key = f"{number}-{chance.randrange(6)}"
        kind = chance.choice(["add", "delete", "get", "search", "count"])
        if kind == "add":
            mine[key] = f"text {chance.random()} of {key} {LONG if chance.random() < 0.2 else ''}"
            collection.add([{"id": key, "text": mine[key], "owner": number}])
        elif kind == "delete":
            assert collection.delete([key]) == (1 if mine.pop(key, None) is not None else 0)
        elif kind == "get":
            assert [passage.text for passage in collection.get([key])] == ([mine[key]] if key in mine else [])
        elif kind == "search":
            assert find(collection, mine.get(key, "nothing"), depth=5)
        else:
            assert collection.count({"owner": number}) == len(mine)
        done.append(kind)
    return mine


@pytest.mark.soak
def test_64_threads_read_write_and_optimize_without_an_error(tmp_path, soak_count):
    """Each thread owns some ids; every answer about them must be what it wrote last."""
    collection = open_things(tmp_path, optimize={"after_points": 400})
    collection.add([{"id": "first", "text": "first"}])
    until = time.monotonic() + soak_count(full=60, reduced=3)
    errors, done = [], []

    def guarded(number):
        try:
            owned[number] = work(collection, number, until, done)
        except BaseException as error:  # noqa: BLE001  # shown by the assertion below
            errors.append(error)

    owned = {}
    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert set(done) == {"add", "delete", "get", "search", "count"}
    expected = {"first": "first"} | {key: text for mine in owned.values() for key, text in mine.items()}
    assert {passage.id: passage.text for passage in collection.get(list(expected))} == expected
    collection.close()
    again = open_things(tmp_path)
    assert {passage.id: passage.text for passage in again.get(list(expected))} == expected
    assert again.count() == len(expected)
    again.close()
