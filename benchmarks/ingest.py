"""How fast passages go into the embedded engine, and how flat memory stays.

    python benchmarks/ingest.py --passages 100000

The encoder is a stub (a lookup of prepared unit vectors), so what is measured is everything of ingest but the
neural network: validation, hashing, windowing, look-up of what is there, BM25, and the engine with its log.

The reranker's token ids are stored in a run of its own, ``with_tokens_...``: tokenizing 40 words costs about as much as
the rest of ingest.

Making the passages is not counted. On a busy machine look at ``passages_per_cpu_s``, which waits for nobody.
``peak_rss_growth_mb`` counts the pages of the engine's memory-mapped files too, which the system takes back when it
needs them; ``peak_anonymous_growth_mb`` is what the process itself holds.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from results import write

from searchkit.collection import open_collection
from searchkit.config import OptimizeConfig, SearchKitConfig
from searchkit.encoding import Bm25Encoder
from searchkit.reranking import CrossEncoderReranker
from searchkit.stages import EncoderFingerprint, Span, Vectors

WORDS_PER_PASSAGE = 40
VOCABULARY = 20_000
_WORD = re.compile(r"\S+")


class StubEncoder:
    """Unit vectors that cost nothing: the same thousand for every batch."""

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self.max_tokens = 256
        vectors = np.random.default_rng(7).normal(size=(1024, dimension)).astype(np.float32)
        self._vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def fingerprint(self) -> EncoderFingerprint:
        """Return a fingerprint of the dimension."""
        digest = hashlib.sha256(str(self.dimension).encode()).hexdigest()
        return EncoderFingerprint(
            kind="stub", model="stub", weight_hash=digest, dimension=self.dimension, max_tokens=self.max_tokens
        )

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return a vector a text."""
        return self._vectors[: len(texts)]

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Return a vector a text."""
        return self._vectors[: len(texts)]

    def token_spans(self, text: str) -> list[Span]:
        """Return the offsets of the words."""
        return [match.span() for match in _WORD.finditer(text)]


def passages(count: int) -> Iterator[dict[str, object]]:
    """Yield passages of 40 words that follow Zipf's law, with three metadata fields."""
    rng = np.random.default_rng(11)
    words = np.asarray([f"word{rank}" for rank in range(VOCABULARY)])
    for number in range(count):
        ranks = rng.zipf(1.3, WORDS_PER_PASSAGE) % VOCABULARY
        yield {"id": f"doc-{number}", "text": " ".join(words[ranks]), "lang": "en", "year": 2000 + number % 25}


def memory_mb(kind: str) -> float:
    """Return a line of Linux's ``/proc/self/status``: "VmRSS", "RssAnon" or "VmHWM" (the peak of the first)."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == kind:
            return int(value.split()[0]) / 1024
    raise LookupError(kind)


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return the wall-clock and the processor seconds that ``work`` took."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(count: int, dimension: int, folder: Path) -> dict[str, object]:
    """Ingest ``count`` passages twice, the second time unchanged, and return what it took."""
    encoder, sparse = StubEncoder(dimension), Bm25Encoder()
    generating_s, generating_cpu_s = _timed(lambda: sum(1 for _ in passages(count)))
    warm_up = open_collection("warm-up", path=folder, encoder=encoder, sparse_encoder=sparse, config=SearchKitConfig())
    warm_up.add(passages(1000))
    warm_up.close()
    before, anonymous_before = memory_mb("VmRSS"), memory_mb("RssAnon")
    anonymous = []
    config = SearchKitConfig(optimize=OptimizeConfig(after_points=None))  # its process would compete with the ingest
    collection = open_collection("bench", path=folder, encoder=encoder, sparse_encoder=sparse, config=config)
    adding_s, adding_cpu_s = _timed(
        lambda: collection.add(passages(count), on_progress=lambda _: anonymous.append(memory_mb("RssAnon")))
    )
    grown = memory_mb("VmHWM") - before
    again_s, _ = _timed(lambda: collection.add(passages(count)))
    stored = collection.count()
    collection.close()
    with_tokens = open_collection(
        "tokens",
        path=folder,
        encoder=encoder,
        sparse_encoder=sparse,
        config=SearchKitConfig(),
        token_reader=CrossEncoderReranker(),
    )
    with_tokens.add(passages(1000))
    tokens_s, tokens_cpu_s = _timed(lambda: with_tokens.add(passages(count)))
    with_tokens.close()
    return {
        "passages": stored,
        "dimension": dimension,
        "passages_per_s": round(count / (adding_s - generating_s)),
        "passages_per_cpu_s": round(count / (adding_cpu_s - generating_cpu_s)),
        "with_tokens_passages_per_s": round((count - 1000) / (tokens_s - generating_s)),
        "with_tokens_passages_per_cpu_s": round((count - 1000) / (tokens_cpu_s - generating_cpu_s)),
        "unchanged_per_s": round(count / (again_s - generating_s)),
        "peak_rss_growth_mb": round(grown, 1),
        "peak_anonymous_growth_mb": round(max(anonymous) - anonymous_before, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=384)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(arguments.passages, arguments.dimension, Path(folder))
    write("ingest", result)


if __name__ == "__main__":
    main()
