"""How well models rank the judged passages of written queries that training never saw.

python -m benchmarks.default_model.written_check POOLS OUT.json MODEL [MODEL ...] [--more FOLDER] [--precision bf16]

Each query has six related passages: right ones gain 1, ones that are right in part 0.4. The bi-encoder's order of the
same passages stands beside the models'.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.default_model.half import reranker_of
from benchmarks.default_model.pools import read_pools
from benchmarks.default_model.written import FOLDER, PARTIAL_LABEL, WrittenQuery, read_written, with_criteria
from searchkit import CrossEncoderReranker, SentenceEncoder

Scorer = Callable[[Sequence[WrittenQuery]], list[np.ndarray]]


def passages_of(query: WrittenQuery) -> tuple[str, ...]:
    """Return the judged passages of a query, right ones first."""
    return (*query.right, *query.partial, *query.wrong)


def ndcg(query: WrittenQuery, scores: np.ndarray) -> float:
    """Return the nDCG of one query's passages in the order of ``scores``; of equal ones the wrong one counts first."""
    gains = np.array([1.0] * len(query.right) + [PARTIAL_LABEL] * len(query.partial) + [0.0] * len(query.wrong))
    discounts = 1 / np.log2(np.arange(len(gains)) + 2)
    order = np.lexsort((gains, -scores))
    return float((gains[order] * discounts).sum() / (np.sort(gains)[::-1] * discounts).sum())


def by_bi_encoder(queries: Sequence[WrittenQuery]) -> list[np.ndarray]:
    """Return the cosines of each query's passages."""
    encoder = SentenceEncoder()
    asked = encoder.encode_queries([query.text for query in queries])
    return [encoder.encode_passages(passages_of(query)) @ vector for query, vector in zip(queries, asked, strict=True)]


def by_reranker(reranker: CrossEncoderReranker) -> Scorer:
    """Return what scores each query's passages with a reranker."""

    def scores(queries: Sequence[WrittenQuery]) -> list[np.ndarray]:
        pairs = [(with_criteria(query.text, query.criteria), text) for query in queries for text in passages_of(query)]
        ends = np.cumsum([len(passages_of(query)) for query in queries])
        return np.split(np.asarray(reranker.predict(pairs)), ends[:-1])

    return scores


def measured(queries: Sequence[WrittenQuery], scorer: Scorer) -> dict[str, Any]:
    """Return the mean nDCG of all queries, of those with and without criteria, and of each pool."""
    values: defaultdict[str, list[float]] = defaultdict(list)
    for query, scores in zip(queries, scorer(queries), strict=True):
        for name in ("all", "with criteria" if query.criteria else "without criteria", query.pool):
            values[name].append(ndcg(query, scores))
    return {name: {"queries": len(found), "nDCG": round(float(np.mean(found)), 4)} for name, found in values.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pools", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--more", type=Path, help="a folder of further pools")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    options = parser.parse_args()
    queries = read_written(read_pools(options.pools, options.more), FOLDER / "held_out")
    scorers = {"bi-encoder": by_bi_encoder}
    scorers |= {name: by_reranker(reranker_of(name, options.precision)) for name in options.models}
    found = {name: measured(queries, scorer) for name, scorer in scorers.items()}
    options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
