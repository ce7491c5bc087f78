"""What adaptive depth saves and what it costs, on judged collections: python benchmarks/adaptive_depth.py [FOLDER ...].

Every candidate is scored once, at depth 100, and kept in a file (``--cache``, by default in the system's temporary
folder); then the library's own second stage runs over the kept scores, so that trying another setting takes seconds.
Without a folder the collection is the standard library's documentation with the judgments in tests/data.

    python benchmarks/adaptive_depth.py data/cacm data/vaswani --queries 40 --max-missed 0.03 0.1 0.3

``--candidates FILE`` (repeat) takes candidates that `benchmarks.default_model.measure` has kept instead; give
``--profile`` as well if that was not the shipped model. Without both, folders and the shipped model are measured anew.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from results import write

from searchkit import CrossEncoderReranker, SearchKit, SearchKitConfig
from searchkit.bounded import BoundedThreads
from searchkit.cli.stdlib import standard_library_passages
from searchkit.config import AdaptiveDepthConfig, RerankerProfile
from searchkit.deadline import Deadline
from searchkit.evaluation import JudgedQueries, Run, ScoredPassage, evaluate, read_corpus, read_judged
from searchkit.evaluation.folders import has_corpus
from searchkit.models.hashing import weight_hash
from searchkit.request import SearchRequest
from searchkit.second_stage import SecondStage
from searchkit.stages import Candidate, PairScores
from searchkit.types import RetrievalEvidence

DEPTH, TOP_K = 100, 10
TARGET_SHARE, TARGET_LOSS = 0.45, 0.003
STDLIB = Path(__file__).resolve().parents[1] / "tests" / "data" / "stdlib"
FIELDS = ("rank", "fused_score", "dense_score", "dense_rank", "sparse_score", "sparse_rank")
RANKS = {"rank", "dense_rank", "sparse_rank"}


@dataclass(frozen=True)
class Scored:
    """All candidates of a collection's queries, query after query, in first-stage order.

    Attributes:
        queries: Query of each candidate.
        passages: Its passage.
        logits: What the model said of it.
        evidence: Columns of `FIELDS`; NaN where a leg did not find it.
    """

    queries: NDArray[np.str_]
    passages: NDArray[np.str_]
    logits: NDArray[np.float32]
    evidence: NDArray[np.float64]

    def by_query(self) -> Iterator[tuple[str, NDArray[np.int64]]]:
        """Yield each query with its rows, best first."""
        for query in dict.fromkeys(self.queries.tolist()):
            rows = np.flatnonzero(self.queries == query)
            yield query, rows[np.argsort(self.evidence[rows, 0], kind="stable")]

    def candidate(self, row: int) -> Candidate:
        """Return a row as a candidate whose text is the row's number, by which `Known` finds its score."""
        values = {
            name: value for name, value in zip(FIELDS, self.evidence[row].tolist(), strict=True) if value == value
        }
        evidence = RetrievalEvidence(**{name: int(v) if name in RANKS else v for name, v in values.items()})
        return Candidate(str(self.passages[row]), str(row), evidence=evidence)


class Known:
    """A reranker that looks its scores up."""

    name = "known"

    def __init__(self, logits: NDArray[np.float32], profile: RerankerProfile) -> None:
        self.profile = profile
        self._logits = logits

    def score_pairs(self, pairs: Sequence[tuple[str, str]], *, deadline: Deadline | None = None) -> PairScores:  # noqa: ARG002
        """Return the score of each row whose number is the text."""
        return PairScores(self._logits[[int(text) for _, text in pairs]], np.zeros(len(pairs), dtype=np.int64), "known")


def scored_of(rows: Sequence[tuple[str, str, float, dict[str, Any]]]) -> Scored:
    queries, passages, logits, evidence = zip(*rows, strict=True)
    return Scored(
        np.array(queries),
        np.array(passages),
        np.array(logits, dtype=np.float32),
        np.array([[one.get(name) for name in FIELDS] for one in evidence], dtype=np.float64),
    )


def score_folder(folder: Path, judged: JudgedQueries, reranker: CrossEncoderReranker, cache: Path) -> Scored:
    """Search the judged queries at full depth with the default encoder, or read what an earlier run kept."""
    path = cache / f"{folder.name}-{len(judged)}-{weight_hash(reranker.model_path)[:12]}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as kept:
            return Scored(**{name: kept[name] for name in kept.files})
    config = SearchKitConfig(blend="off", score_cache_bytes=0, on_rerank_error="raise")
    rows = []
    with SearchKit(folder.name, path=cache / "collections", reranker=reranker, config=config) as kit:
        kit.add(read_corpus(folder) if has_corpus(folder) else standard_library_passages())
        for query in judged.queries:
            result = kit.search(query.text, criteria=query.criteria, candidate_depth=DEPTH, top_k=DEPTH)
            rows += [(query.id, str(hit.id), hit.logit or 0.0, hit.retrieval.model_dump()) for hit in result]
    scored = scored_of(rows)
    np.savez(path, **vars(scored), allow_pickle=False)
    return scored


def run_of(
    scored: Scored, profile: RerankerProfile, settings: AdaptiveDepthConfig | None, *, blend: bool
) -> tuple[Run, float]:
    """Return the hits of all queries, and the share of their pairs that was scored."""
    stage = SecondStage(Known(scored.logits, profile), SearchKitConfig(adaptive_depth=settings), BoundedThreads())
    request = SearchRequest(top_k=TOP_K, candidate_depth=DEPTH)
    rankings, shares = {}, []
    for query, rows in scored.by_query():
        found = [scored.candidate(row) for row in rows.tolist()]
        entries = stage.run([query], [request], [found], Deadline(), blend=blend)[0].entries
        shares.append(sum(entry.logit is not None for entry in entries) / len(entries))
        rankings[query] = tuple(
            ScoredPassage(str(entry.candidate.id), -place) for place, entry in enumerate(entries[:TOP_K])
        )
    return Run("run", rankings), statistics.mean(shares)


def measure(
    name: str,
    scored: Scored,
    qrels: Any,
    profile: RerankerProfile,
    settings: Sequence[AdaptiveDepthConfig],
    *,
    blend: bool,
) -> list[dict[str, Any]]:
    """Return a row a setting."""

    def ndcg(run: Run) -> float:
        return evaluate(run, qrels, ["nDCG@10"]).mean("nDCG@10")

    full = ndcg(run_of(scored, profile, None, blend=blend)[0])
    rows = []
    for one in settings:
        run, share = run_of(scored, profile, one, blend=blend)
        row = {"collection": name, "queries": len(run.rankings), "blend": blend, "max_missed": one.max_missed}
        row["share_scored"] = round(share, 3)
        rows.append(row | {"ndcg_at_10_full": round(full, 4), "ndcg_at_10_lost": round(full - ndcg(run), 4)})
    return rows


def means(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the mean over the collections of each setting, and the worst collection's loss."""
    found = []
    for blend, missed in dict.fromkeys((row["blend"], row["max_missed"]) for row in rows):
        same = [row for row in rows if (row["blend"], row["max_missed"]) == (blend, missed)]
        lost = [row["ndcg_at_10_lost"] for row in same]
        share = statistics.mean(row["share_scored"] for row in same)
        mean = {"blend": blend, "max_missed": missed, "share_scored": round(share, 3)}
        found.append(mean | {"ndcg_at_10_lost": round(statistics.mean(lost), 4), "worst_lost": max(lost)})
    return found


def main() -> None:
    options = _options()
    reranker = CrossEncoderReranker() if options.model is None else CrossEncoderReranker(options.model)
    profile = (
        reranker.profile
        if options.profile is None
        else RerankerProfile.model_validate_json(options.profile.read_text(encoding="utf-8"))
    )
    collections: dict[str, tuple[Scored, Any]] = {}
    for path in options.candidates:
        for name, found in json.loads(path.read_text(encoding="utf-8")).items():
            rows = [(q, row["id"], row["logit"], row["evidence"]) for q, rs in found["queries"].items() for row in rs]
            collections[name] = scored_of(rows), found["qrels"]
    folders = options.folders or ([] if options.candidates else [STDLIB])
    options.cache.mkdir(parents=True, exist_ok=True)
    for folder in folders:
        judged = read_judged(folder)
        judged = judged.sample(min(options.queries, len(judged)))
        collections[folder.name] = score_folder(folder, judged, reranker, options.cache), judged.qrels
    settings = [AdaptiveDepthConfig(max_missed=missed) for missed in options.max_missed]
    blends = [False] if profile.blend is None else [False, True]
    rows = [
        row
        for name, (scored, qrels) in collections.items()
        for blend in blends
        for row in measure(name, scored, qrels, profile, settings, blend=blend)
    ]
    write(
        "adaptive_depth",
        {
            "depth": DEPTH,
            "targets": {"share_scored": TARGET_SHARE, "ndcg_at_10_lost": TARGET_LOSS},
            "means": means(rows),
            "rows": rows,
        },
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, help="judged collections in BEIR's layout")
    parser.add_argument("--queries", type=int, default=40, help="of each collection")
    parser.add_argument("--model", help="reranker; default the shipped one")
    parser.add_argument("--profile", type=Path, help="searchkit.json to use instead of the model's own")
    parser.add_argument("--candidates", type=Path, action="append", default=[])
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "searchkit-adaptive-depth")
    parser.add_argument("--max-missed", type=float, nargs="+", default=[AdaptiveDepthConfig().max_missed])
    return parser.parse_args()


if __name__ == "__main__":
    main()
