"""A writer killed at any moment: what was acknowledged is there, what was under way is whole or can be repeated."""

from __future__ import annotations

import importlib.util
import json
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from searchkit.collection.backends import store
from searchkit.collection.schema import passage_key, point_ids
from searchkit.collection.windows import WindowPlan, split
from searchkit.errors import CollectionError

CHILD = Path(__file__).with_name("crash_child.py")


def load_child():
    spec = importlib.util.spec_from_file_location("crash_child", CHILD)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


child = load_child()


@pytest.fixture(autouse=True)
def small_index(monkeypatch):
    monkeypatch.setattr(store, "_shard_config", child.with_small_index)


class Model:
    """What the collection must hold: a dict, and the operation that the kill came into."""

    def __init__(self):
        self.texts = {}
        self.pending = None

    def hear(self, line):
        word, *rest = json.loads(line)
        if word == "begin":
            self.pending = tuple(rest)
        else:
            self.texts = self.after(self.texts, *self.pending)
            self.pending = None

    @staticmethod
    def after(texts, kind, keys, version):
        if kind in {"add", "update"}:
            return texts | {key: child.text_of(key, version) for key in keys}
        gone = set(keys) if kind == "delete" else {key for key in texts if kind == "filter" and key % 7 == keys[0]}
        return {key: text for key, text in texts.items() if key not in gone}


def killed(root, seed, wait_s):
    """Run the child, kill it after so many seconds since its first operation, and return what it said."""
    process = subprocess.Popen(
        [sys.executable, str(CHILD), str(root), str(seed), "1000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with process.stdout, process.stderr:
        first = process.stdout.readline()
        assert first, process.stderr.read().decode()
        time.sleep(wait_s)
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read()
        process.wait()
        errors = process.stderr.read().decode()
    assert not errors, errors
    return [line for line in (first + rest).splitlines(keepends=True) if line.endswith(b"\n")]


def stored_texts(collection):
    """Return the text of every passage by id; the killed operation may have left some incomplete ones, left out."""
    texts = {}
    for key in range(child.IDS if collection.exists else 0):
        with whole_or(texts, key):
            texts |= {passage.id: passage.text for passage in collection.get([key])}
    return texts


@contextmanager
def whole_or(texts, key):
    """Note an incomplete passage as ``None``."""
    try:
        yield
    except CollectionError as error:
        if "incomplete" not in str(error):
            raise
        texts[key] = None


def check(collection, model):
    """Compare what is stored with the model, then finish the operation that was under way and compare exactly."""
    found = stored_texts(collection)
    assert not found or collection.count() == len(found)
    if model.pending is not None:
        kind, keys, version = model.pending
        after = model.after(model.texts, kind, keys, version)
        for key in range(child.IDS):
            # A long passage whose new windows were being written may be incomplete until the write is repeated.
            allowed = [model.texts.get(key), after.get(key)]
            is_torn = key in found and found[key] is None and kind in {"add", "update"} and key in keys
            assert is_torn or found.get(key) in allowed, (kind, key, found.get(key), allowed)
        child.run(collection, kind, keys, version)
        model.texts, model.pending = after, None
        found = stored_texts(collection)
    assert found == model.texts
    expected = {point for key, text in model.texts.items() for point in windows_of(key, text)}
    assert {point for page in collection._backend.scan(None) for point in page} == expected


def windows_of(key, text):
    windows = split(text, child.FakeEncoder(16, max_tokens=34).token_spans, WindowPlan(32, 4))
    return point_ids(passage_key(key), len(windows))


@pytest.mark.soak
def test_a_store_killed_at_any_moment_equals_a_dict(tmp_path, soak_count, record_property):
    chance = random.Random(4)
    model = Model()
    interrupted = {}
    for seed in range(soak_count(full=200, reduced=5)):
        for line in killed(tmp_path, seed, chance.random() ** 2 * 1.5):
            model.hear(line)
        if model.pending is not None:
            interrupted[model.pending[0]] = interrupted.get(model.pending[0], 0) + 1
        collection = child.open_things(tmp_path)
        check(collection, model)
        collection.close()
    assert interrupted
    record_property("killed in the middle of", interrupted)


@pytest.mark.soak
def test_a_store_killed_twice_without_being_opened_in_between_equals_a_dict(tmp_path, soak_count):
    """The second writer recovers from the first one's end and is killed itself, perhaps while it recovers."""
    chance = random.Random(5)
    model = Model()
    for seed in range(soak_count(full=50, reduced=2)):
        for line in killed(tmp_path, 1000 + seed, chance.random() * 0.5):
            model.hear(line)
        process = subprocess.Popen(
            [sys.executable, str(CHILD), str(tmp_path), "1", "0"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(0.3 + chance.random())
        process.kill()
        process.wait()
        collection = child.open_things(tmp_path)
        check(collection, model)
        collection.close()
