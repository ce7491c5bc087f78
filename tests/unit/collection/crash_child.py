"""A process that writes until it is killed, and says on its standard output what was acknowledged.

Started by `test_crashes.py` with a folder, a seed and a number of operations. Each line is one JSON object: an
operation is printed before it starts and acknowledged after it returned.
"""

from __future__ import annotations

import json
import random
import sys

import qdrant_edge as edge

from searchkit.collection import open_collection
from searchkit.collection.backends import store
from searchkit.config import SearchKitConfig
from searchkit.testing import FakeEncoder, FakeSparseEncoder

IDS = 400
SETTINGS = {"windows": {"overlap_tokens": 4}, "ingest": {"batch_size": 16}, "optimize": {"after_points": None}}


_shard_config = store._shard_config


def with_small_index(manifest, config):
    """Return the engine's settings, but with an index from the first kilobyte on: else only large stores have one."""
    plain = _shard_config(manifest, config)
    optimizers = edge.EdgeOptimizersConfig(indexing_threshold=1, vacuum_min_vector_number=10)
    return edge.EdgeConfig(vectors=plain.vectors, sparse_vectors=plain.sparse_vectors, optimizers=optimizers)


def open_things(root, **config):
    """Open the collection that parent and child share."""
    return open_collection(
        "things",
        path=root,
        encoder=FakeEncoder(16, max_tokens=34),
        sparse_encoder=FakeSparseEncoder(),
        config=SearchKitConfig.model_validate(SETTINGS | config),
    )


def text_of(key, version):
    """The text of a passage: every third one has many windows, and a version may have more or fewer."""
    words = [f"v{version}", f"key{key}"]
    if (key + version) % 3 == 0:
        words += [f"word{n}x{version}" for n in range(40 + (key * 7 + version * 31) % 120)]
    return " ".join(words)


def operation(chance, version):
    """Return what to do next: a name and the passages or ids that it is about."""
    kind = chance.choices(["add", "update", "delete", "filter", "optimize"], [5, 4, 3, 1, 2])[0]
    if kind == "add":
        first = chance.randrange(IDS)
        return kind, [(first + n) % IDS for n in range(chance.randrange(1, 60))], version
    if kind == "update":
        return kind, chance.sample(range(IDS), chance.randrange(1, 40)), version
    if kind == "delete":
        return kind, chance.sample(range(IDS), chance.randrange(1, 30)), version
    return kind, [chance.randrange(7)], version


def run(collection, kind, keys, version):
    """Do one operation."""
    if kind in {"add", "update"}:
        collection.add([{"id": key, "text": text_of(key, version), "group": key % 7} for key in keys])
    elif kind == "delete":
        collection.delete(keys)
    elif kind == "filter":
        collection.delete(filter={"group": keys[0]})
    else:
        collection.optimize()


def main():
    root, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(seed)
    store._shard_config = with_small_index
    collection = open_things(root)
    for number in range(count):
        kind, keys, version = operation(chance, seed * 1000 + number)
        if not collection.exists:
            kind, keys = "add", list(range(IDS))
        say("begin", kind, keys, version)
        run(collection, kind, keys, version)
        say("done")
    collection.close()


def say(*words):
    """Write one line."""
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
