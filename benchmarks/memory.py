"""What 64 callers with 1,000 candidates each need beyond the model itself: python benchmarks/memory.py.

All callers search at once and read their candidates from the collection, so each has texts of its own. Memory peaks
while everybody waits; how long the model then takes does not matter, so each search has a deadline and most come back
"partial". Counted is what the process itself holds (anonymous pages), from the loaded model that has scored once.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from results import write

from searchkit import SearchKit
from searchkit.models.sample_texts import TextSource
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
    parser.add_argument("--deadline", type=float, default=120.0, help="seconds that each search may take")
    options = parser.parse_args()
    source = TextSource(seed=9)
    texts = list(dict.fromkeys(source.passage() for _ in range(2 * options.candidates)))
    queries = [f"{source.query()} ({number})" for number in range(options.callers)]
    with tempfile.TemporaryDirectory() as folder, SearchKit("bench", path=folder, encoder=FakeEncoder(384)) as kit:
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
                    [options.deadline + number / 2 for number in range(options.callers)],  # or all would order at once
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
