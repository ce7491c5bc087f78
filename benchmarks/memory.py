"""What 64 callers with 1,000 candidates each need beyond the model itself: python benchmarks/memory.py.

All callers search at once and read their candidates from the collection, so each has texts of its own. Every pair is
scored, which takes the exact engine about ten minutes on two cores; ``--deadline`` ends each search earlier, and
``--engine openvino`` is done in a third of the time. Counted is what the process itself holds (anonymous pages), from
the loaded model that has scored once.
"""

from __future__ import annotations

import argparse
import math
import re
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

from results import write

from searchkit import CrossEncoderReranker, SearchKit
from searchkit.models.sample_texts import TextSource
from searchkit.reranking.engines.base import EngineName
from searchkit.testing import FakeEncoder

TARGET_MB = 500.0


def anonymous_mb() -> float:
    """Return the memory that belongs to this process alone (Linux)."""
    found = re.search(r"^RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise LookupError("RssAnon")
    return int(found[1]) / 1024


class Peak:
    """The largest `anonymous_mb` seen while the context is open, looked at every 10 ms."""

    def __enter__(self) -> Peak:
        self.mb = anonymous_mb()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(0.01):
            self.mb = max(self.mb, anonymous_mb())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--engine", choices=get_args(EngineName), default="auto")
    parser.add_argument("--deadline", type=float, help="seconds that each search may take", default=math.inf)
    options = parser.parse_args()
    source = TextSource(seed=9)
    texts = list(dict.fromkeys(source.passage() for _ in range(2 * options.candidates)))
    queries = [f"{source.query()} ({number})" for number in range(options.callers)]
    reranker = CrossEncoderReranker(engine=options.engine, device="cpu")
    with (
        tempfile.TemporaryDirectory() as folder,
        SearchKit("bench", path=folder, encoder=FakeEncoder(384), reranker=reranker) as kit,
    ):
        kit.add(texts, show_progress=False)
        kit.search("warm up", candidate_depth=50, mode="dense")
        before = anonymous_mb()
        started = time.perf_counter()
        with Peak() as peak, ThreadPoolExecutor(options.callers) as callers:
            results = list(
                callers.map(
                    lambda query, wait: kit.search(
                        query, candidate_depth=options.candidates, mode="dense", deadline_s=wait
                    ),
                    queries,
                    # Spread, or all would order what they have at once.
                    [
                        options.deadline + number / 2 if options.deadline < math.inf else None
                        for number in range(options.callers)
                    ],
                )
            )
        seconds = time.perf_counter() - started
    assert all(result.candidate_count == options.candidates for result in results)
    write(
        "memory",
        {
            "callers": options.callers,
            "candidates": options.candidates,
            "engine": next((result.engine for result in results if result.engine), None),
            "statuses": dict(Counter(result.status for result in results)),
            "pairs": options.callers * options.candidates,
            "pairs_scored": sum(result.scored_count for result in results),
            "tokens_used": sum(result.tokens_used_count for result in results),
            "seconds": round(seconds, 1),
            "with_model_mb": round(before, 1),
            "growth_mb": round(peak.mb - before, 1),
            "target_mb": TARGET_MB,
        },
    )


if __name__ == "__main__":
    main()
