"""A large embedded collection: ingested, optimized beside running searches, searched, closed and opened again.

    python benchmarks/million.py --passages 1000000

    python benchmarks/million.py --folder /data/million --until optimize  # the same in parts, for a machine that is
    python benchmarks/million.py --folder /data/million                   # quiet only while searches are timed

Vectors are drawn around cluster centres, by a seed, block by block: none is kept, and the brute force that recall is
measured against draws them again. Their spectrum falls as that of sentence embeddings does: with ``--decay`` 0.4 about
as many directions matter (participation ratio 72) as in all-MiniLM's vectors of the standard library's documentation
(76) and of Wikipedia (113), and the neighbourhood of a point among a million has at least as many dimensions
(29; 12 and 28 there). With a flat spectrum, which no encoder gives, all points are about equally far from each other.

What is measured is the collection (validation, BM25, the engine with its log and its index, the payloads of the
candidates), without a neural network. The queries are vectors of the same kind that are not stored.

``growth_mb`` is what the process itself holds (``RssAnon``), after the first tenth of the passages and after all of
them: flat memory means that the two are alike. Pages of the engine's mapped files are counted apart, since the system
takes them back when it needs them. ``stall_ms`` is the longest time that a thread which does nothing but look at the
clock did not get to run while the index was built: the engine holds the interpreter's lock while it loads.

``ef_search`` may be given several times; the index is built once and searched with each.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
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
PROGRESS = 50_000


class ClusteredVectors:
    """Unit vectors around random centres; block ``n`` is the same whenever it is asked for."""

    def __init__(self, dimension: int, clusters: int, spread: float, decay: float) -> None:
        self.dimension = dimension
        scales = (1 + np.arange(dimension, dtype=np.float32)) ** -decay
        self._scales = scales / np.linalg.norm(scales)
        self._spread = spread
        self._centres = _unit(self._noise(np.random.default_rng(1), clusters))
        self._last: tuple[int, Vectors] | None = None

    def block(self, number: int) -> Vectors:
        """Return ``BLOCK`` vectors."""
        if self._last is None or self._last[0] != number:  # a batch of passages is a part of a block
            self._last = number, self._around(np.random.default_rng((2, number)), BLOCK)
        return self._last[1]

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
        return _unit(centres + self._spread * self._noise(rng, count))

    def _noise(self, rng: np.random.Generator, count: int) -> Vectors:
        return rng.standard_normal((count, self.dimension), dtype=np.float32) * self._scales


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


def progress(text: str) -> None:
    """Say on standard error where we are."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def ingest(collection: Collection, count: int) -> dict[str, Any]:
    """Write all passages."""
    anonymous: list[tuple[int, float]] = []
    done = 0

    def note(number: int) -> None:
        nonlocal done
        if done // PROGRESS != (done + number) // PROGRESS:
            progress(f"{done + number} passages written, {memory_mb('RssAnon'):.0f} MB")
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
    """Build the index while one thread searches, a fifth of the time, so that it leaves the machine to the builder."""
    took: list[float] = []
    started = time.perf_counter()
    with Clock() as clock:
        collection.optimize(wait=False)
        while collection.is_optimizing:
            took += search(collection, queries[len(took) % len(queries) :][:1])[1]
            time.sleep(took[-1] / 1000 * 4)
    seconds = time.perf_counter() - started
    progress(f"index built in {seconds:.0f} s, {len(took)} searches meanwhile")
    return {
        "seconds": round(seconds, 1),
        "nothing_left_to_do": not collection.optimize(),
        "stall_ms": round(clock.longest_s * 1000, 1),
        "searches_meanwhile": len(took),
        "slowest_search_ms": round(max(took, default=0), 1),
        "peak_rss_mb": round(memory_mb("VmHWM"), 1),
        **(percentiles(took) if took else {}),
    }


class Steps:
    """The parts of the benchmark on one folder; one that was done there before is not done again.

    Args:
        arguments: Those of the command line.
        folder: Where the collection lies.
    """

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self._arguments = arguments
        self._folder = folder
        self._notes = folder / "steps.json"
        self._vectors = ClusteredVectors(arguments.dimension, arguments.clusters, arguments.spread, arguments.decay)
        self._queries = self._vectors.queries(arguments.queries)
        self.result: dict[str, Any] = json.loads(self._notes.read_text()) if self._notes.exists() else self._head()

    def _head(self) -> dict[str, Any]:
        arguments = self._arguments
        names = ("passages", "dimension", "clusters", "spread", "decay", "m", "ef_construct")
        return {name: getattr(arguments, name) for name in names}

    def _opened(self, ef_search: int, **changes: Any) -> Collection:
        index = {"m": self._arguments.m, "ef_construct": self._arguments.ef_construct, "ef_search": ef_search}
        config = SearchKitConfig.model_validate(
            {"optimize": {"after_points": None}, "fusion": {"leg_depth_factor": 1.0}, "hnsw": index} | changes
        )
        encoder = NumberEncoder(self._vectors)
        sparse_encoder = Bm25Encoder()
        return open_collection(
            "million", path=self._folder, encoder=encoder, sparse_encoder=sparse_encoder, config=config
        )

    def run(self, until: str | None) -> None:
        """Do what is left, up to the step ``until``."""
        head = self._head()
        if {name: self.result[name] for name in head} != head:
            raise SystemExit(f"{self._folder} was filled with other settings; give another folder")
        for name, step in self._steps().items():
            if name not in self.result:
                progress(name)
                self.result[name] = step()
                self._notes.write_text(json.dumps(self.result))
            if name == until:
                return

    def _steps(self) -> dict[str, Callable[[], dict[str, Any]]]:
        return {
            "ingest": lambda: self._with_collection(lambda one: ingest(one, self._arguments.passages)),
            "unindexed_search": lambda: self._with_collection(
                lambda one: percentiles(search(one, self._queries[:20])[1])
            ),
            "optimize": lambda: self._with_collection(lambda one: optimize(one, self._queries)),
            "search": self._search,
            "reopen": self._reopen,
        }

    def _with_collection(self, step: Callable[[Collection], dict[str, Any]]) -> dict[str, Any]:
        collection = self._opened(self._arguments.ef_search[0])
        try:
            return step(collection)
        finally:
            collection.close()

    def _search(self) -> dict[str, Any]:
        """Compare what is found with brute force, with each width of the search."""
        truth = nearest(self._vectors, self._queries, self._arguments.passages)
        progress("nearest vectors known")
        rows = []
        for ef_search in self._arguments.ef_search:
            collection = self._opened(ef_search, read_only=True)
            search(collection, self._queries)  # once for the page cache
            found, took = search(collection, self._queries)
            collection.close()
            recall = float(np.mean([len(one & other) / CUTOFF for one, other in zip(found, truth, strict=True)]))
            rows.append({"ef_search": ef_search, "recall_at_100": round(recall, 4), **percentiles(took)})
            progress(json.dumps(rows[-1]))
        return {"queries": len(self._queries), "rows": rows}

    def _reopen(self) -> dict[str, Any]:
        """Time closing, which reads every file, and opening, which does so again."""
        ef_search = self._arguments.ef_search[0]
        collection = self._opened(ef_search)
        collection.add([{"id": 0, "text": "0 changed"}])  # so that the seal has to be taken anew
        close_s = _timed(collection.close)
        started = time.perf_counter()
        collection = self._opened(ef_search)
        open_s = time.perf_counter() - started
        stored = collection.count()
        collection.close()
        started = time.perf_counter()
        self._opened(ef_search, read_only=True).close()
        return {
            "close_and_seal_s": round(close_s, 2),
            "open_and_verify_s": round(open_s, 2),
            "open_read_only_s": round(time.perf_counter() - started, 2),
            "stored": stored,
            "disk_mb": round(sum(path.stat().st_blocks * 512 for path in self._folder.rglob("*")) / 2**20),
        }


def _timed(call: Callable[[], None]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--clusters", type=int, default=2000)
    parser.add_argument("--spread", type=float, default=0.8, help="length of the noise around a centre of length 1")
    parser.add_argument("--decay", type=float, default=0.4, help="how fast the spectrum falls, as a power of the rank")
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--m", type=int, default=None)
    parser.add_argument("--ef-construct", type=int, default=None)
    parser.add_argument("--ef-search", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--folder", type=Path, help="where to keep the collection; default: a temporary folder")
    parser.add_argument("--until", choices=["ingest", "unindexed_search", "optimize", "search"], help="last step to do")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        steps = Steps(arguments, folder)
        steps.run(arguments.until)
    if arguments.until is None:
        write("million", steps.result)


if __name__ == "__main__":
    main()
