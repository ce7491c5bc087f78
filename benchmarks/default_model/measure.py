"""Search judged collections with a model and keep every candidate with what both stages say of it.

python -m benchmarks.default_model.measure MODEL STORE OUT.json FOLDER [FOLDER ...] [--queries 60] [--precision bf16]

STORE keeps the indexed collections, so that the next model need not wait for the encoder. OUT.json is what
`benchmarks.default_model.fit_profile` fits calibration and blend on; the table goes to the screen.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.default_model.half import reranker_of
from searchkit import CrossEncoderReranker, SearchKit, SearchKitConfig, SentenceEncoder
from searchkit.cli.stdlib import standard_library_passages
from searchkit.evaluation import JudgedQueries, Run, ScoredPassage, evaluate, read_corpus, read_judged
from searchkit.evaluation.folders import has_corpus
from searchkit.types import Hit

DEPTH = 100
_BATCH = 8


class RememberingEncoder(SentenceEncoder):
    """The default encoder; passages whose vectors are known already are looked up."""

    def __init__(self, files: Sequence[str]) -> None:
        super().__init__()
        self._known: dict[str, np.ndarray] = {}
        for file in files:
            corpus, vectors = file.split("=")
            texts = (" ".join(str(passage.text).split()) for passage in read_corpus(corpus))
            self._known |= dict(zip(texts, np.load(vectors), strict=True))

    def encode_passages(self, texts: Sequence[str]) -> Any:
        """Return one unit vector a text."""
        keys = [" ".join(text.split()) for text in texts]
        missing = [text for text, key in zip(texts, keys, strict=True) if key not in self._known]
        fresh = iter(super().encode_passages(missing))
        return np.stack([self._known[key] if key in self._known else next(fresh) for key in keys])


def rows_of(hits: Sequence[Hit], grades: dict[str, int]) -> list[dict[str, Any]]:
    """Return the candidates of one query as JSON objects, best first."""
    return [
        {
            "id": str(hit.id),
            "logit": hit.logit,
            "score": hit.score,
            "relevance": grades.get(str(hit.id), 0),
            "evidence": hit.retrieval.model_dump(),
        }
        for hit in hits
    ]


def measure(folder: Path, store: Path, reranker: CrossEncoderReranker, options: argparse.Namespace) -> dict[str, Any]:
    """Return the candidates of the folder's judged queries, searched with the kit's own defaults at depth 100."""
    judged = read_judged(folder)
    encoder = RememberingEncoder([one for one in options.vectors if Path(one.split("=")[0]) == folder])
    config = SearchKitConfig(blend="off", score_cache_bytes=0, on_rerank_error="raise")
    with SearchKit(folder.name, path=store, encoder=encoder, reranker=reranker, config=config) as kit:
        kit.add(read_corpus(folder) if has_corpus(folder) else standard_library_passages(), show_progress=False)
        present = JudgedQueries.model_validate(judged).sample(min(options.queries, len(judged)))
        started = time.monotonic()
        queries = {}
        for start in range(0, len(present), _BATCH):
            part = present.queries[start : start + _BATCH]
            criteria = [None if options.no_criteria else query.criteria for query in part]
            if options.criteria_file:
                criteria = [options.criteria_file[query.id] for query in part]
            results = kit.search_batch(
                [query.text for query in part], criteria=criteria, top_k=DEPTH, candidate_depth=DEPTH
            )
            for query, result in zip(part, results, strict=True):
                queries[query.id] = rows_of(result.hits, dict(present.qrels[query.id]))
    print(f"{folder.name}: {len(queries)} queries, {time.monotonic() - started:.0f} s", flush=True)
    return {"qrels": {name: dict(present.qrels[name]) for name in queries}, "queries": queries}


def orders(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return the ids of one query's candidates as each stage orders them."""

    def by(key: Any) -> list[str]:
        return [row["id"] for row in sorted(rows, key=key)]

    return {
        "dense": by(lambda row: row["evidence"]["dense_rank"] or 10**6),
        "bm25": by(lambda row: row["evidence"]["sparse_rank"] or 10**6),
        "hybrid": by(lambda row: row["evidence"]["rank"]),
        "reranked": by(lambda row: (-row["logit"], row["evidence"]["rank"])),
    }


def ndcg(found: dict[str, Any], ordered: dict[str, list[str]]) -> float:
    """Return the mean nDCG@10 of one ranking a query."""
    run = Run("run", {name: tuple(ScoredPassage(one, -place) for place, one in enumerate(ids))
                      for name, ids in ordered.items()})  # fmt: skip
    return evaluate(run, found["qrels"], ["nDCG@10"]).mean("nDCG@10")


def means(found: dict[str, Any]) -> dict[str, float]:
    """Return the mean nDCG@10 of each order of ``found``'s queries."""
    each = {query: orders(rows) for query, rows in found["queries"].items()}
    judged = {"qrels": {query: found["qrels"][query] for query in each}}
    return {
        way: ndcg(judged, {query: ways[way] for query, ways in each.items()})
        for way in ("dense", "bm25", "hybrid", "reranked")
    }


def table(collections: dict[str, Any]) -> str:
    """Return the means, a line a collection."""
    return "\n".join(
        f"{name:20} " + " ".join(f"{way} {value:.3f}" for way, value in means(found).items())
        for name, found in collections.items()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("store", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--vectors", action="append", default=[], help="FOLDER=FILE.npy, known vectors of a corpus")
    parser.add_argument("--no-criteria", action="store_true")
    parser.add_argument("--criteria-file", type=lambda path: json.loads(Path(path).read_text(encoding="utf-8")))
    options = parser.parse_args()
    reranker = reranker_of(options.model, options.precision)
    found = {folder.name: measure(folder, options.store, reranker, options) for folder in options.folders}
    options.out.write_text(json.dumps(found), encoding="utf-8")
    print(table(found))


if __name__ == "__main__":
    main()
