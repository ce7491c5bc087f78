"""The index is built in another process, on a copy, while this one searches and writes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path

import pytest
import qdrant_edge as edge

from searchkit.collection import open_collection
from searchkit.collection.backends import child, optimizing, store
from searchkit.config import SearchKitConfig
from searchkit.errors import CollectionError, RetrievalError
from searchkit.stages import RetrievalRequest
from searchkit.testing import FakeEncoder, FakeSparseEncoder

LONG = " ".join(f"word{n}" for n in range(100))
_shard_config = store._shard_config


@pytest.fixture(autouse=True)
def small_index(monkeypatch):
    """An index from the first kilobyte on: else only large stores have one."""

    def config(manifest, settings):
        plain = _shard_config(manifest, settings)
        optimizers = edge.EdgeOptimizersConfig(indexing_threshold=1, vacuum_min_vector_number=10)
        return edge.EdgeConfig(vectors=plain.vectors, sparse_vectors=plain.sparse_vectors, optimizers=optimizers)

    monkeypatch.setattr(store, "_shard_config", config)


def open_things(root, after_points=None, **config):
    settings = {"windows": {"overlap_tokens": 4}, "optimize": {"after_points": after_points}} | config
    return open_collection(
        "things",
        path=root,
        encoder=FakeEncoder(16, max_tokens=34),
        sparse_encoder=FakeSparseEncoder(),
        config=SearchKitConfig.model_validate(settings),
    )


def passages(count, version=0):
    return [{"id": n, "text": f"version{version} text {n} {LONG if n % 10 == 0 else ''}"} for n in range(count)]


@pytest.fixture
def collection(tmp_path):
    opened = open_things(tmp_path)
    opened.add(passages(300))
    yield opened
    opened.close()


def index_files(root):
    return list((root / "things").glob("engine*/segments/*/vector_index-dense/graph.bin"))


def engines(root):
    return sorted(path.name for path in (root / "things").glob("engine*"))


def texts(collection, count=300):
    return {passage.id: passage.text for passage in collection.get(list(range(count)))}


def find(collection, words, depth=10):
    dense, sparse = FakeEncoder(16).encode_queries([words])[0], FakeSparseEncoder().encode_queries([words])[0]
    return [hit.id for hit in collection.retrieve([RetrievalRequest(depth=depth, dense=dense, sparse=sparse)])[0]]


def test_the_index_is_built_and_everything_is_still_there(collection, tmp_path):
    before = texts(collection)
    assert not index_files(tmp_path)
    assert collection.optimize()
    assert not collection.is_optimizing
    assert len(index_files(tmp_path)) >= 1
    assert len(engines(tmp_path)) == 1
    assert engines(tmp_path) != ["engine"]
    assert texts(collection) == before
    assert 7 in find(collection, "text 7")
    collection.close()
    again = open_things(tmp_path)
    assert texts(again) == before
    again.close()


def test_a_second_time_there_is_nothing_to_do(collection, tmp_path):
    collection.optimize()
    there = engines(tmp_path)
    assert not collection.optimize()
    assert engines(tmp_path) == there


def test_what_is_written_and_deleted_meanwhile_is_not_lost(collection, tmp_path):
    chance = random.Random(3)
    expected = texts(collection)
    assert collection.optimize(wait=False)
    version = 0
    while collection.is_optimizing:
        version += 1
        changed = chance.sample(range(300), 20)
        gone = chance.sample(range(300), 5)
        added = [passages(300, version)[key] for key in changed]
        collection.add(added)
        collection.delete(gone)
        expected.update({passage["id"]: passage["text"] for passage in added})
        for key in gone:
            expected.pop(key, None)
        assert texts(collection) == expected
    collection.optimize()
    assert version
    assert texts(collection) == expected
    assert collection.count() == len(expected)
    collection.close()
    again = open_things(tmp_path)
    assert texts(again) == expected
    again.close()


@pytest.mark.soak
def test_searches_go_on_meanwhile_and_see_every_passage(collection, soak_count):
    failures, searches = [], 0

    def search():
        nonlocal searches
        while collection.is_optimizing:
            key = random.randrange(300)
            if key not in find(collection, f"version0 text {key}", depth=300) or not collection.get([key]):
                failures.append(key)
            searches += 1
            time.sleep(0.002)

    for _ in range(soak_count(full=30, reduced=1)):
        collection.optimize(wait=False)
        threads = [threading.Thread(target=search) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        collection.optimize()
        collection.add(passages(300, random.random()))
        collection.add(passages(300))
    assert searches
    assert failures == []


def test_too_many_points_without_an_index_start_it_by_themselves(tmp_path):
    collection = open_things(tmp_path, after_points=200)
    collection.add(passages(100))
    assert not collection.is_optimizing
    collection.add(passages(250))
    assert collection.is_optimizing
    collection.optimize()
    assert index_files(tmp_path)
    collection.add([{"id": 1, "text": "changed"}])
    assert not collection.is_optimizing
    assert collection.count() == 250
    collection.close()


def test_closing_ends_it_and_leaves_nothing_behind(collection, tmp_path):
    collection.optimize(wait=False)
    result = collection._backend._opened.optimizer._run.result
    collection.close()
    assert "was closed while its index was built" in str(result.exception(timeout=30))
    assert engines(tmp_path) == ["engine"]
    with pytest.raises(CollectionError, match="closed"):
        collection.optimize()
    again = open_things(tmp_path)
    assert again.count() == 300
    again.close()


def child_of(collection):
    """Return the process that optimizes, once it has been started."""
    run = collection._backend._opened.optimizer._run
    while run._child is None:
        time.sleep(0.001)
    return run._child.process


@pytest.mark.parametrize("wait_s", [0.0, 0.3, 0.5, 0.7])
def test_a_child_that_is_killed_leaves_the_collection_as_it_was(collection, tmp_path, wait_s):
    before = texts(collection)
    collection.optimize(wait=False)
    process = child_of(collection)
    time.sleep(wait_s)
    process.send_signal(signal.SIGKILL)
    error = collection._backend._opened.optimizer._run.result.exception(timeout=60)
    assert error is None or "is as it was" in str(error)  # it may have been too late to kill it
    assert len(engines(tmp_path)) == 1
    assert texts(collection) == before
    collection.add([{"id": 1, "text": "after"}])
    collection.optimize()
    assert index_files(tmp_path)
    assert texts(collection) == before | {1: "after"}


def test_a_child_that_cannot_start_is_an_error_of_ours(collection, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(RetrievalError, match=r"no second process of .*no-python"):
        collection.optimize()
    assert collection.count() == 300


def test_a_child_that_fails_says_why_and_is_not_started_by_itself_again(tmp_path, monkeypatch, caplog):
    collection = open_things(tmp_path, after_points=50)
    monkeypatch.setattr(child, "_BOOT", "import sys; sys.stdin.readline(); sys.exit(7)")
    collection.add(passages(100))
    with pytest.raises(RetrievalError, match="exit code 7"):
        collection.optimize()
    waiting_until = time.monotonic() + 30
    while "not rebuilt by itself any more" not in caplog.text:  # said by the thread that waited for the child
        assert time.monotonic() < waiting_until
        time.sleep(0.01)
    collection.add(passages(120))
    assert not collection.is_optimizing
    collection.close()


def test_who_waited_for_a_failure_and_writes_at_once_does_not_start_another(collection, monkeypatch):
    started = []

    class WritingAtOnce(Future):
        """Gives its result to a thread that ends a write before anything else hears of it."""

        def __init__(self):
            super().__init__()
            started.append(self)
            if len(started) == 1:
                self.add_done_callback(lambda _: optimizer.consider(11))

    def fail(self, target):
        raise RetrievalError("no room")

    optimizer = optimizing.Optimizer(collection.backend._opened, after_points=10)
    monkeypatch.setattr(optimizing, "Future", WritingAtOnce)
    monkeypatch.setattr(optimizing._Run, "_optimize", fail)
    optimizer.consider(11)
    with pytest.raises(RetrievalError, match="no room"):
        started[0].result(timeout=10)
    for thread in threading.enumerate():
        if thread.name == "searchkit-optimize":
            thread.join()
    assert len(started) == 1


def test_a_copy_that_does_not_hold_the_same_points_is_not_used(collection, tmp_path, monkeypatch):
    monkeypatch.setattr(optimizing, "read_ledger", lambda answer: None)
    with pytest.raises(RetrievalError, match="does not hold the same points"):
        collection.optimize()
    assert engines(tmp_path) == ["engine"]
    assert collection.count() == 300


def test_what_an_interrupted_one_left_behind_is_removed_at_open(collection, tmp_path):
    collection.close()
    (tmp_path / "things" / "engine-0123abcd").mkdir()
    (tmp_path / "things" / "engine-0123abcd" / "half").write_bytes(b"x")
    again = open_things(tmp_path)
    assert engines(tmp_path) == ["engine"]
    assert again.count() == 300
    again.close()


def test_other_engines_have_nothing_to_optimize():
    from qdrant_client import QdrantClient

    client = QdrantClient(":memory:")
    collection = open_collection(
        "c", client=client, encoder=FakeEncoder(), sparse_encoder=FakeSparseEncoder(), config=SearchKitConfig()
    )
    with pytest.raises(CollectionError, match="does not exist yet"):
        collection.optimize()
    collection.add(["text"])
    assert not collection.optimize()
    assert not collection.is_optimizing
    client.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_the_child_ends_with_its_parent(tmp_path):
    """Killed in the middle of an optimization, the parent takes the child with it."""
    script = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
import crash_child
from searchkit.collection.backends import store
store._shard_config = crash_child.with_small_index
collection = crash_child.open_things({str(tmp_path)!r})
collection.add([{{"id": n, "text": f"text {{n}}"}} for n in range(3000)])
collection.optimize(wait=False)
run = collection._backend._opened.optimizer._run
while run._child is None: pass
print(run._child.process.pid, flush=True)
sys.stdin.read()
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with parent.stdin, parent.stdout:
        pid = int(parent.stdout.readline())
        time.sleep(0.5)
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(pid)


def is_alive(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
