"""Host time of one query with 100 candidates before the model runs, with stored token ids and without.

    python benchmarks/packing.py

From texts (and what was stored with them) to one packed batch. The two ways take turns; compare their ratio.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

from results import write

from searchkit import CrossEncoderReranker
from searchkit.models.sample_texts import TextSource
from searchkit.models.tokenizer import load_tokenizer
from searchkit.reranking.packing import pack
from searchkit.reranking.pairing import PairTokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=300)
    options = parser.parse_args()
    reranker = CrossEncoderReranker()
    pairing = PairTokenizer(load_tokenizer(reranker.model_path), reranker.max_length)
    pairs = TextSource(seed=3).pairs(options.candidates)
    texts = [text for _, text in pairs]
    writer = reranker.token_writer()
    assert writer is not None
    stored = writer.encode(texts)
    known = pairing.stored_ids(texts, stored)
    assert len(known) == len(texts)
    ways: dict[str, Callable[[], object]] = {
        "tokenized": lambda: pack(pairing.encode(pairs)),
        "stored": lambda: pack(pairing.encode(pairs, pairing.stored_ids(texts, stored))),
        "reading_alone": lambda: pairing.stored_ids(texts, stored),
        "composing_alone": lambda: pack(pairing.encode(pairs, known)),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(values) * 1e6 for name, values in times.items()}
    write(
        "packing",
        {
            "candidates": len(pairs),
            "tokens": int(pack(pairing.encode(pairs)).starts[-1]),
            "bytes_stored_mean": round(statistics.mean(map(len, stored))),
            **{f"{name}_us": round(median) for name, median in medians.items()},
            "ratio": round(medians["tokenized"] / medians["stored"], 1),
        },
    )


if __name__ == "__main__":
    main()
