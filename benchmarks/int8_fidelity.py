"""How near the int8 engine's scores are to the exact ones on judged collections, and what that costs in nDCG@10.

    python benchmarks/int8_fidelity.py COLLECTIONS/*

A collection is a folder with ``corpus.jsonl.gz``, ``queries.jsonl.gz`` and ``qrels/*.tsv``. Candidates are the best by
the default encoder's cosine similarity. They and the exact scores are kept between runs (``--cache``), so that another
engine, or other weights, costs one pass of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from results import write

from searchkit import CrossEncoderReranker, SentenceEncoder
from searchkit.benchmarking.fidelity import fidelity
from searchkit.evaluation import JudgedQueries, Run, ScoredPassage, evaluate, read_corpus, read_judged
from searchkit.models.hashing import weight_hash
from searchkit.reranking.engines.base import EngineName
from searchkit.types import Passage

TARGETS = {"spearman_mean": 0.99, "top10_overlap": 0.95, "ndcg_at_10_lost": 0.003}
MEASURE = "nDCG@10"

Logits = list[np.ndarray]


def main() -> None:
    options = _options()
    options.cache.mkdir(parents=True, exist_ok=True)
    model = () if options.model is None else (options.model,)
    exact, other = (CrossEncoderReranker(*model, engine=name, device="cpu") for name in ("onnx", options.engine))
    rows = []
    for folder in options.collections:
        rows.append(_measured(folder, exact, other, options))
        print(json.dumps(rows[-1]), flush=True)
    numbers = {"engine": options.engine, "model_hash": weight_hash(exact.model_path), "depth": options.depth}
    write("int8_fidelity", {**numbers, "targets": TARGETS, "reaches_targets": all(map(_reaches, rows)), "rows": rows})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", type=Path, nargs="+", help="folders")
    parser.add_argument("--model", help="cross-encoder: a folder or a name; default is the shipped one")
    parser.add_argument("--engine", choices=get_args(EngineName), default="openvino")
    parser.add_argument("--queries", type=int, default=100, help="of each collection at most")
    parser.add_argument("--depth", type=int, default=50, help="candidates a query")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "searchkit-int8-fidelity")
    return parser.parse_args()


def _measured(
    folder: Path, exact: CrossEncoderReranker, other: CrossEncoderReranker, options: argparse.Namespace
) -> dict[str, Any]:
    judged = read_judged(folder).sample(options.queries)
    corpus = {str(passage.id): passage for passage in read_corpus(folder)}
    candidates = _candidates(judged, corpus, options)
    expected = _kept_logits(judged, corpus, candidates, exact, options)
    found = _logits(judged, corpus, candidates, other)
    agreement = fidelity(options.engine, "onnx", found, expected)
    before, after = (_ndcg(judged, candidates, logits) for logits in (expected, found))
    return {
        "collection": folder.name,
        "queries": len(judged.queries),
        "pairs": agreement.pairs,
        "spearman_mean": round(agreement.spearman_mean, 4),
        "spearman_worst_query": round(agreement.spearman_min, 4),
        "top10_overlap": round(agreement.top10_overlap, 4),
        "error_over_std": round(agreement.error_over_std, 4),
        "ndcg_at_10_exact": round(before, 4),
        "ndcg_at_10": round(after, 4),
        "ndcg_at_10_lost": round(before - after, 4),
    }


def _reaches(row: Mapping[str, Any]) -> bool:
    return bool(
        row["spearman_mean"] >= TARGETS["spearman_mean"]
        and row["top10_overlap"] >= TARGETS["top10_overlap"]
        and row["ndcg_at_10_lost"] <= TARGETS["ndcg_at_10_lost"]
    )


def _candidates(
    judged: JudgedQueries, corpus: Mapping[str, Passage], options: argparse.Namespace
) -> dict[str, list[str]]:
    """Return the ids of each query's candidates, best first."""
    encoder = SentenceEncoder(device="cpu")
    texts = [passage.text for passage in corpus.values()]
    name = _digest(judged.name, encoder.fingerprint().weight_hash, *corpus, *texts)
    path = options.cache / f"{name}.vectors.npy"
    if not path.is_file():
        np.save(path, encoder.encode_passages(texts))
    vectors, ids = np.load(path), list(corpus)
    scores = encoder.encode_queries([query.text for query in judged.queries]) @ vectors.T
    best = np.argsort(-scores, axis=1, kind="stable")[:, : options.depth]
    return {query.id: [ids[row] for row in rows] for query, rows in zip(judged.queries, best, strict=True)}


def _kept_logits(
    judged: JudgedQueries,
    corpus: Mapping[str, Passage],
    candidates: Mapping[str, Sequence[str]],
    exact: CrossEncoderReranker,
    options: argparse.Namespace,
) -> Logits:
    name = _digest(weight_hash(exact.model_path), judged.name, json.dumps(candidates))
    path = options.cache / f"{name}.logits.npz"
    if not path.is_file():
        np.savez(path, *_logits(judged, corpus, candidates, exact))
    with np.load(path) as kept:
        return [kept[key] for key in kept.files]


def _logits(
    judged: JudgedQueries,
    corpus: Mapping[str, Passage],
    candidates: Mapping[str, Sequence[str]],
    reranker: CrossEncoderReranker,
) -> Logits:
    found = []
    for query in judged.queries:
        composed = reranker.compose(query.text, query.criteria)
        found.append(reranker.score_pairs([(composed, corpus[one].text) for one in candidates[query.id]]).logits)
    return found


def _ndcg(judged: JudgedQueries, candidates: Mapping[str, Sequence[str]], logits: Logits) -> float:
    rankings = {
        query.id: tuple(
            ScoredPassage(candidates[query.id][row], float(scores[row])) for row in np.argsort(-scores, kind="stable")
        )
        for query, scores in zip(judged.queries, logits, strict=True)
    }
    return evaluate(Run("int8", rankings), judged.qrels, [MEASURE]).mean(MEASURE)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:24]


if __name__ == "__main__":
    main()
