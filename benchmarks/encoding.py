"""How fast documents are encoded at ingest, beside sentence-transformers on the same weights, in turns on one thread.

    python benchmarks/encoding.py

Three ways to use sentence-transformers are measured: one ``encode`` call with all texts, which it sorts by length, in
its default batches of 32; the same in the batch size that is fastest here; and calls of 64 texts in default batches,
as langchain-qdrant's ``add_documents`` makes them. CPU time is reported beside wall-clock time, because machines are
shared; vectors are compared. The share of peak says what is left to win: it counts the model's own arithmetic, without
padding.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from results import write

from searchkit import SentenceEncoder
from searchkit.benchmarking.gemm import MatrixProduct, arithmetic_of
from searchkit.benchmarking.machine import describe, held_to
from searchkit.benchmarking.summary import spread
from searchkit.models.lookup import DEFAULT_ENCODER, find_model
from searchkit.models.sample_texts import TextSource
from searchkit.models.tokenizer import load_tokenizer

TARGET = 2.5
MEAN_WORDS, SPREAD, LIMITS = 80.0, 0.6, (8, 240)  # of a passage; the spread is of the logarithm
CALL = 64
DEFAULT_BATCH, BATCH_SIZES = 32, (4, 8, 16, 64)

Encode = Callable[[Sequence[str]], np.ndarray]


def main() -> None:
    options = _options()
    texts = _texts(options.passages)
    folder = find_model(DEFAULT_ENCODER).path
    with held_to(options.threads) as is_pinned:
        machine = describe("cpu", options.threads, is_pinned=is_pinned)
        encoder = SentenceEncoder(device="cpu", threads=options.threads)
        theirs, batch_size = _sentence_transformers(str(folder), texts)
        ways: dict[str, Encode] = {
            "searchkit": encoder.encode_passages,
            "sentence-transformers": lambda batch: theirs(batch, DEFAULT_BATCH),
            f"sentence-transformers, batches of {batch_size}": lambda batch: theirs(batch, batch_size),
            f"sentence-transformers, calls of {CALL}": lambda batch: np.concatenate(
                [theirs(batch[start : start + CALL], DEFAULT_BATCH) for start in range(0, len(batch), CALL)]
            ),
        }
        vectors = {name: encode(texts) for name, encode in ways.items()}  # also the warm-up
        peak = MatrixProduct("cpu")
        rounds = [_round(ways, texts, peak, number) for number in range(options.rounds)]
    lengths = _lengths(folder, texts, encoder.max_tokens)
    write("encoding", _numbers(ways, rounds, vectors, lengths, folder, machine.model_dump()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=512, help="the ingest's own batch is 512")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def _texts(count: int) -> list[str]:
    source, chance = TextSource(11), random.Random(11)
    drawn = (round(chance.lognormvariate(math.log(MEAN_WORDS) - SPREAD**2 / 2, SPREAD)) for _ in range(count))
    return [source.prose(min(max(words, LIMITS[0]), LIMITS[1])) for words in drawn]


def _sentence_transformers(folder: str, texts: Sequence[str]) -> tuple[Callable[[Sequence[str], int], np.ndarray], int]:
    """Return its ``encode`` in float32, and the batch size at which it is fastest on a part of the texts."""
    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device="cpu", model_kwargs={"dtype": torch.float32})

    def encode(batch: Sequence[str], batch_size: int) -> np.ndarray:
        found: np.ndarray = model.encode(
            list(batch), batch_size=batch_size, normalize_embeddings=True, show_progress_bar=False
        )
        return found

    sample = texts[: 2 * CALL]
    encode(sample[:8], 8)
    costs = {size: _cost(lambda size=size: encode(sample, size))[1] for size in BATCH_SIZES}
    best = min(costs, key=lambda size: costs[size])
    return encode, best


def _round(ways: dict[str, Encode], texts: Sequence[str], peak: MatrixProduct, number: int) -> dict[str, Any]:
    """Let each way encode all texts once; who starts changes with the round."""
    names = list(ways)
    first = number % len(names)
    reached = peak.measure().per_cpu_s
    costs = {name: _cost(lambda name=name: ways[name](texts)) for name in (*names[first:], *names[:first])}
    return {"peak": reached, **costs}


def _cost(work: Callable[[], object]) -> tuple[float, float]:
    """Return wall-clock and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def _lengths(folder: Any, texts: Sequence[str], longest: int) -> list[int]:
    tokenizer = load_tokenizer(folder)
    tokenizer.enable_truncation(longest)
    return [len(encoding.ids) for encoding in tokenizer.encode_batch_fast(list(texts))]


def _numbers(
    ways: dict[str, Encode],
    rounds: Sequence[dict[str, Any]],
    vectors: dict[str, np.ndarray],
    lengths: Sequence[int],
    folder: Any,
    machine: dict[str, Any],
) -> dict[str, Any]:
    arithmetic = arithmetic_of(folder)
    operations = arithmetic.flops(lengths) if arithmetic is not None else math.nan
    ours, *others = ways
    rows = []
    for name in ways:
        wall, cpu = (spread([one[name][place] for one in rounds]) for place in (0, 1))
        share = spread([operations / one[name][1] / one["peak"] for one in rounds])
        rows.append(
            {
                "way": name,
                "passages_per_s": round(len(lengths) / wall.median, 1),
                "passages_per_cpu_s": round(len(lengths) / cpu.median, 1),
                "peak_share": round(share.median, 3),
                "largest_difference": float(np.abs(vectors[name] - vectors[ours]).max()),
            }
        )
    ratios = {
        name: {
            kind: {end: round(value, 3) for end, value in spread([r[name][p] / r[ours][p] for r in rounds])}
            for p, kind in enumerate(("wall", "cpu"))
        }
        for name in others
    }
    quartiles = [int(value) for value in np.quantile(lengths, (0, 0.25, 0.5, 0.75, 1))]
    return {
        "passages": len(lengths),
        "tokens": sum(lengths),
        "token_quartiles": quartiles,
        "rounds": len(rounds),
        "peak_gflops": round(spread([one["peak"] for one in rounds]).median / 1e9, 1),
        "rows": rows,
        "times_faster": ratios,
        "target": TARGET,
        "conditions": machine,
    }


if __name__ == "__main__":
    main()
