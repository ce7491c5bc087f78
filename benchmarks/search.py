"""`search()` end to end beside the same models wired by hand: python benchmarks/search.py.

By hand means what most people write: sentence-transformers' bi-encoder and cross-encoder around qdrant-client's
``:memory:`` mode. Both sides have the same weights in single precision, the same vectors, the same 10,000 passages and
the same number of candidates; the hits are compared. Where OpenVINO is installed, static int8 is a side of its own: not
the same arithmetic, and only for those who ask for it. Every query goes through every side before the next one, so that
a busy machine slows all of them alike: the ratio holds where the milliseconds do not. The score cache is off.

``--vectors FILE`` keeps the passages' vectors for the next run.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from results import write

from searchkit import CrossEncoderReranker, SearchKit, SearchKitConfig, SentenceEncoder
from searchkit.models.sample_texts import TextSource
from searchkit.stages import Vectors

TARGET = 2.5
BY_HAND, OURS = "by hand", "searchkit, dense"


@dataclass
class Side:
    """One way to search, and what its searches took.

    Attributes:
        name: As the result shows it.
        search: Returns the ids and logits of the hits, best first.
        wall_ms: Wall-clock milliseconds of each query.
        cpu_ms: Processor milliseconds of each query, all threads of the process together.
        hits: What it found for each query.
    """

    name: str
    search: Callable[[str], list[tuple[int, float]]]
    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    hits: list[list[tuple[int, float]]] = field(default_factory=list)

    def ask(self, query: str, *, is_counted: bool) -> None:
        """Search, and keep what it took and found if it counts."""
        wall, cpu = time.perf_counter(), time.process_time()
        found = self.search(query)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        if is_counted:
            self.wall_ms.append(wall * 1e3)
            self.cpu_ms.append(cpu * 1e3)
            self.hits.append(found)


class PreparedEncoder(SentenceEncoder):
    """Our encoder, whose passages were encoded before; what it has not seen (windows of long ones) is encoded now."""

    def __init__(self, texts: Sequence[str], vectors: Vectors) -> None:
        super().__init__()
        self._rows = {text: row for row, text in enumerate(texts)}
        self._vectors = vectors

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Return the prepared vectors, and new ones in between."""
        fresh = iter(super().encode_passages([text for text in texts if text not in self._rows]))
        return np.stack([self._vectors[self._rows[text]] if text in self._rows else next(fresh) for text in texts])


def distinct_texts(count: int) -> list[str]:
    source = TextSource(seed=5)
    found: dict[str, None] = {}
    while len(found) < count:
        found[source.passage()] = None
    return list(found)


def vectors_of(texts: Sequence[str], kept: Path | None) -> Vectors:
    """Return the texts' vectors, from ``kept`` if they are there."""
    if kept is not None and kept.is_file():
        vectors = np.load(kept, allow_pickle=False)
        if len(vectors) == len(texts):
            return np.asarray(vectors, dtype=np.float32)
    vectors = SentenceEncoder().encode_passages(texts)
    if kept is not None:
        np.save(kept, vectors, allow_pickle=False)
    return vectors


def by_hand(texts: Sequence[str], vectors: Vectors, depth: int, top_k: int) -> Side:
    """Return the search that people write, over models in single precision."""
    import torch
    from qdrant_client import QdrantClient, models
    from sentence_transformers import CrossEncoder, SentenceTransformer

    from searchkit.models import DEFAULT_ENCODER, find_model

    encoder = SentenceTransformer(str(find_model(DEFAULT_ENCODER).path), device="cpu", local_files_only=True)
    kwargs = {"dtype": torch.float32}
    reranker = CrossEncoder(str(CrossEncoderReranker().model_path), device="cpu", model_kwargs=kwargs)
    client = QdrantClient(":memory:")
    params = models.VectorParams(size=vectors.shape[1], distance=models.Distance.COSINE)
    client.create_collection("bench", vectors_config=params)
    client.upload_collection(
        "bench", vectors=vectors, payload=[{"text": text} for text in texts], ids=range(len(texts))
    )

    def search(query: str) -> list[tuple[int, float]]:
        vector = encoder.encode(query, show_progress_bar=False)
        points = client.query_points("bench", query=vector, limit=depth, with_payload=True).points
        scores: Any = reranker.predict(
            [(query, point.payload["text"]) for point in points if point.payload],
            activation_fn=torch.nn.Identity(),
            show_progress_bar=False,
        )
        order = np.argsort(-scores, kind="stable")[:top_k]
        return [(int(points[row].id), float(scores[row])) for row in order]

    return Side(BY_HAND, search)


def ours(name: str, kit: SearchKit, mode: Any, depth: int, top_k: int) -> Side:
    def search(query: str) -> list[tuple[int, float]]:
        result = kit.search(query, candidate_depth=depth, top_k=top_k, mode=mode)
        assert result.status == "reranked", result.reason
        return [(int(hit.id), float(hit.logit or 0.0)) for hit in result]

    return Side(name, search)


def agreement(one: Side, other: Side) -> dict[str, float]:
    """Return how much of one side's hits the other has, and how far apart their logits are."""
    pairs = list(zip(one.hits, other.hits, strict=True))
    shared = [len({key for key, _ in a} & {key for key, _ in b}) / max(len(a), 1) for a, b in pairs]
    gaps = [abs(dict(a)[key] - dict(b)[key]) for a, b in pairs for key in dict(a).keys() & dict(b).keys()]
    return {"shared_hits": round(statistics.mean(shared), 4), "largest_logit_gap": round(max(gaps, default=0.0), 6)}


def row_of(side: Side, reference: Side) -> dict[str, object]:
    return {
        "side": side.name,
        "p50_ms": round(statistics.median(side.wall_ms), 1),
        "cpu_p50_ms": round(statistics.median(side.cpu_ms), 1),
        "ratio": round(statistics.median(reference.wall_ms) / statistics.median(side.wall_ms), 2),
        "cpu_ratio": round(statistics.median(reference.cpu_ms) / statistics.median(side.cpu_ms), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=40)
    parser.add_argument("--depth", type=int, default=50, help="candidates of each query")
    parser.add_argument("--vectors", type=Path, help="file that keeps the passages' vectors")
    options = parser.parse_args()
    texts = distinct_texts(options.passages)
    vectors = vectors_of(texts, options.vectors)
    # Blending is off, because nobody who wires models by hand has one: the order is the cross-encoder's alone.
    config = SearchKitConfig(score_cache_bytes=0, blend="off")
    source = TextSource(seed=6)
    with (
        tempfile.TemporaryDirectory() as folder,
        SearchKit("bench", path=folder, encoder=PreparedEncoder(texts, vectors), config=config) as kit,
        ExitStack() as stack,
    ):
        kit.add(({"id": row, "text": text} for row, text in enumerate(texts)), show_progress=False)
        hand = by_hand(texts, vectors, options.depth, 10)
        own = ours(OURS, kit, "dense", options.depth, 10)
        sides = [hand, own, ours("searchkit, hybrid (default)", kit, "hybrid", options.depth, 10)]
        if find_spec("openvino"):
            int8 = CrossEncoderReranker(engine="openvino")
            encoder = PreparedEncoder(texts, vectors)
            quick = SearchKit("bench", path=folder, encoder=encoder, reranker=int8, config=config)
            stack.enter_context(quick)
            sides.append(ours("searchkit, dense, int8 (opt-in)", quick, "dense", options.depth, 10))
        for number in range(-3, options.queries):
            query = source.query()
            first = number % len(sides)
            for side in sides[first:] + sides[:first]:
                side.ask(query, is_counted=number >= 0)
    write(
        "search",
        {
            "passages": len(texts),
            "queries": options.queries,
            "candidates": options.depth,
            "rows": [row_of(side, hand) for side in sides],
            "agreement": agreement(hand, own),
            "target_ratio": TARGET,
        },
    )


if __name__ == "__main__":
    main()
