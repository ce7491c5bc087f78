"""What search() adds to its stages: total minus encode, retrieve and rerank, at 100 candidates, with stub models."""

from __future__ import annotations

import statistics
import tempfile

from results import write

from searchkit import SearchKit
from searchkit.testing import FakeEncoder, FakeReranker

PASSAGES = 10_000
SEARCHES = 300
TARGET_MS = 3.0


def main() -> None:
    words = [f"word{n}" for n in range(997)]
    texts = (
        {"id": n, "text": " ".join(words[(n * k) % 997] for k in range(1, 30)), "topic": n % 7} for n in range(PASSAGES)
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        SearchKit("bench", path=folder, encoder=FakeEncoder(384), reranker=FakeReranker()) as kit,
    ):
        kit.add(texts)
        overheads, retrieves = [], []
        for n in range(SEARCHES):
            result = kit.search(f"word{n} word{2 * n % 997} word{3 * n % 997}", candidate_depth=100, top_k=10)
            assert result.candidate_count == 100, result.candidate_count
            t = result.timings
            overheads.append(t.total - t.encode - t.retrieve - t.rerank)
            retrieves.append(t.retrieve)
    quantiles = statistics.quantiles(overheads, n=100)
    write(
        "overhead",
        {
            "passages": PASSAGES,
            "candidates": 100,
            "searches": SEARCHES,
            "overhead_p50_ms": round(statistics.median(overheads), 3),
            "overhead_p95_ms": round(quantiles[94], 3),
            "retrieve_p50_ms": round(statistics.median(retrieves), 3),
            "target_ms": TARGET_MS,
        },
    )


if __name__ == "__main__":
    main()
