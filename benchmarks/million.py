"""A large embedded collection: ingested, optimized beside running searches, searched, closed and opened again.

    python benchmarks/million.py --passages 1000000

Vectors are drawn around cluster centres, by a seed, block by block: none is kept, and the brute force that recall is
measured against draws them again. What is measured is the collection (validation, BM25, the engine with its log and
its index, the payloads of the candidates), without a neural network. The queries are noisy copies of stored vectors.

``growth_mb`` is what the process itself holds (``RssAnon``), after the first tenth of the passages and after all of
them: flat memory means that the two are alike. Pages of the engine's mapped files are counted apart, since the system
takes them back when it needs them. ``stall_ms`` is the longest time that a thread which does nothing but look at the
clock did not get to run while the index was built: the engine holds the interpreter's lock while it loads.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ingest import memory_mb
from results import write

from searchkit.collection import Collection, open_collection
from searchkit.config import SearchKitConfig
from searchkit.encoding import Bm25Encoder
from searchkit.stages import EncoderFingerprint, RetrievalRequest, Span, Vectors

BLOCK = 1024
CUTOFF = 100
BRUTE_FORCE_ROWS = 64 * BLOCK


class ClusteredVectors:
    """Unit vectors around random centres; block ``n`` is the same whenever it is asked for."""

    def __init__(self, dimension: int, clusters: int, spread: float) -> None:
        self.dimension = dimension
        self._spread = spread / np.sqrt(dimension)
        self._centres = _unit(np.random.default_rng(1).normal(size=(clusters, dimension)).astype(np.float32))

    def block(self, number: int) -> Vectors:
        """Return ``BLOCK`` vectors."""
        return self._around(np.random.default_rng((2, number)), BLOCK)

    def rows(self, numbers: Sequence[int]) -> Vectors:
        """Return the vectors with these numbers."""
        wanted = np.asarray(numbers)
        rows = np.empty((len(wanted), self.dimension), dtype=np.float32)
        for block in np.unique(wanted // BLOCK):
            here = wanted // BLOCK == block
            rows[here] = self.block(int(block))[wanted[here] % BLOCK]
        return rows

    def queries(self, count: int) -> Vectors:
        """Return vectors of the same kind that are not stored."""
        return self._around(np.random.default_rng(3), count)

    def _around(self, rng: np.random.Generator, count: int) -> Vectors:
        centres = self._centres[rng.integers(0, len(self._centres), count)]
        noise = rng.standard_normal((count, self.dimension), dtype=np.float32)
        return _unit(centres + self._spread * noise)


def _unit(vectors: Vectors) -> Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


class NumberEncoder:
    """The vector of a text is that of the number it begins with."""

    def __init__(self, vectors: ClusteredVectors) -> None:
        self._vectors = vectors
        self.dimension = vectors.dimension
        self.max_tokens = 256

    def fingerprint(self) -> EncoderFingerprint:
        """Return a fingerprint of the dimension."""
        digest = hashlib.sha256(str(self.dimension).encode()).hexdigest()
        return EncoderFingerprint(
            kind="numbers", model="numbers", weight_hash=digest, dimension=self.dimension, max_tokens=self.max_tokens
        )

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Return a vector a text."""
        return self._vectors.rows([int(text.split(maxsplit=1)[0]) for text in texts])

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return a vector a text."""
        return self.encode_passages(texts)

    def token_spans(self, text: str) -> list[Span]:
        """Return no more than the length allows: all texts are short."""
        return [(0, len(text))]


def passages(count: int) -> Iterator[dict[str, object]]:
    """Yield short texts of words that follow Zipf's law, with two metadata fields."""
    for start in range(0, count, BLOCK):
        rng = np.random.default_rng((4, start))
        words = rng.zipf(1.3, (min(BLOCK, count - start), 12)) % 50_000
        for row, ranks in enumerate(words.tolist(), start=start):
            yield {
                "id": row,
                "text": f"{row} " + " ".join(f"w{rank}" for rank in ranks),
                "lang": "en",
                "year": row % 25,
            }


def nearest(vectors: ClusteredVectors, queries: Vectors, count: int) -> list[set[int]]:
    """Return the numbers of the ``CUTOFF`` vectors nearest to each query, by comparing it with all of them."""
    scores = np.full((len(queries), 0), 0.0, dtype=np.float32)
    numbers = np.zeros((len(queries), 0), dtype=np.int64)
    for start in range(0, count, BRUTE_FORCE_ROWS):
        block = vectors.rows(range(start, min(count, start + BRUTE_FORCE_ROWS)))
        scores = np.concatenate([scores, queries @ block.T], axis=1)
        numbers = np.concatenate([numbers, np.tile(np.arange(start, start + len(block)), (len(queries), 1))], axis=1)
        best = np.argpartition(-scores, CUTOFF, axis=1)[:, :CUTOFF] if scores.shape[1] > CUTOFF else None
        if best is not None:
            scores, numbers = np.take_along_axis(scores, best, 1), np.take_along_axis(numbers, best, 1)
    return [set(row.tolist()) for row in numbers]


class Clock:
    """A thread that looks at the clock, and remembers the longest time in which it could not."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Clock:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        last = time.perf_counter()
        while not self._stop.is_set():
            time.sleep(0.0005)
            now = time.perf_counter()
            self.longest_s = max(self.longest_s, now - last)
            last = now


def search(collection: Collection, queries: Vectors) -> tuple[list[set[int]], list[float]]:
    """Return the ids found for each query, and the milliseconds that each search took."""
    found, took = [], []
    for query in queries:
        started = time.perf_counter()
        candidates = collection.retrieve([RetrievalRequest(depth=CUTOFF, dense=query, sparse=None)])[0]
        took.append((time.perf_counter() - started) * 1000)
        found.append({int(candidate.id) for candidate in candidates})
    return found, took


def percentiles(took: Sequence[float]) -> dict[str, float]:
    """Return the median and the tail of some milliseconds."""
    return {f"p{share}_ms": round(float(np.percentile(took, share)), 2) for share in (50, 95, 99)}


def ingest(collection: Collection, count: int) -> dict[str, Any]:
    """Write all passages."""
    anonymous: list[tuple[int, float]] = []
    done = 0

    def note(number: int) -> None:
        nonlocal done
        done += number
        anonymous.append((done, memory_mb("RssAnon")))

    before = memory_mb("RssAnon")
    started = time.perf_counter()
    collection.add(passages(count), on_progress=note)
    took = time.perf_counter() - started
    early = max(mb for number, mb in anonymous if number <= max(count // 10, anonymous[0][0])) - before
    late = max(mb for _, mb in anonymous) - before
    return {
        "seconds": round(took, 1),
        "passages_per_s": round(count / took),
        "growth_mb": {"first_tenth": round(early, 1), "all": round(late, 1)},
        "peak_rss_mb": round(memory_mb("VmHWM"), 1),
    }


def optimize(collection: Collection, queries: Vectors) -> dict[str, Any]:
    """Build the index while one thread searches."""
    took: list[float] = []
    started = time.perf_counter()
    with Clock() as clock:
        collection.optimize(wait=False)
        while collection.is_optimizing:
            took += search(collection, queries[len(took) % len(queries) :][:1])[1]
        is_settled = not collection.optimize()
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "nothing_left_to_do": is_settled,
        "stall_ms": round(clock.longest_s * 1000, 1),
        "searches_meanwhile": len(took),
        "slowest_search_ms": round(max(took), 1),
        **percentiles(took),
    }


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run all parts on one collection."""
    count = arguments.passages
    vectors = ClusteredVectors(arguments.dimension, arguments.clusters, arguments.spread)
    queries = vectors.queries(arguments.queries)
    settings: dict[str, Any] = {
        "optimize": {"after_points": None},
        "fusion": {"leg_depth_factor": 1.0},
        "hnsw": {"m": arguments.m, "ef_construct": arguments.ef_construct, "ef_search": arguments.ef_search},
    }

    def opened(**changes: Any) -> Collection:
        config = SearchKitConfig.model_validate(settings | changes)
        encoder = NumberEncoder(vectors)
        return open_collection("million", path=folder, encoder=encoder, sparse_encoder=Bm25Encoder(), config=config)

    collection = opened()
    result: dict[str, Any] = {"passages": count, "dimension": arguments.dimension, "hnsw": settings["hnsw"]}
    result["ingest"] = ingest(collection, count)
    result["unindexed_search"] = percentiles(search(collection, queries[:20])[1])
    result["optimize"] = optimize(collection, queries)
    truth = nearest(vectors, queries, count)
    search(collection, queries)  # once for the page cache
    found, took = search(collection, queries)
    recall = float(np.mean([len(one & other) / CUTOFF for one, other in zip(found, truth, strict=True)]))
    result["search"] = {"recall_at_100": round(recall, 4), "queries": len(queries), **percentiles(took)}
    started = time.perf_counter()
    collection.close()
    result["close_and_seal_s"] = round(time.perf_counter() - started, 2)
    started = time.perf_counter()
    collection = opened()
    result["open_and_verify_s"] = round(time.perf_counter() - started, 2)
    result["stored"] = collection.count()
    collection.close()
    started = time.perf_counter()
    reader = opened(read_only=True)
    result["open_read_only_s"] = round(time.perf_counter() - started, 2)
    reader.close()
    result["disk_mb"] = round(sum(path.stat().st_blocks * 512 for path in folder.rglob("*")) / 2**20)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--clusters", type=int, default=2000)
    parser.add_argument("--spread", type=float, default=1.0, help="length of the noise around a centre of length 1")
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--m", type=int, default=None)
    parser.add_argument("--ef-construct", type=int, default=None)
    parser.add_argument("--ef-search", type=int, default=128)
    parser.add_argument("--folder", type=Path, help="where to make the collection; default: a temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        result = measure(arguments, Path(folder))
    write("million", result)


if __name__ == "__main__":
    main()
