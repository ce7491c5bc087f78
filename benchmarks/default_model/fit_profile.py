"""Fit calibration and blend on what `measure` kept, and say how both do on queries that the fit did not see.

python -m benchmarks.default_model.fit_profile OUT.json --fit HELDOUT.json ... --halves DEV.json ...

Collections after ``--fit`` are fitted on whole; of those after ``--halves`` every other query is fitted on and the
rest is reported. OUT.json holds the profile, the table and the calibration errors.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.default_model.measure import means, ndcg
from searchkit.config import Blend, RerankerProfile
from searchkit.reranking.calibration import blend_features, expected_calibration_error, fit_calibration, probabilities
from searchkit.reranking.profile_fit import JudgedCandidate, fit_profile
from searchkit.types import RetrievalEvidence

Collections = dict[str, dict[str, Any]]
_FACTORS = (0.0, 0.5, 0.7, 1.0, 1.4, 2.0)
_ROUNDS = 3


def read(files: Sequence[Path]) -> Collections:
    """Return the collections of several files."""
    found: Collections = {}
    for file in files:
        found |= json.loads(file.read_text(encoding="utf-8"))
    return found


def part(collections: Collections, *, odd: bool) -> Collections:
    """Return every other query of each collection."""
    return {
        name: found | {"queries": {query: rows for place, (query, rows) in enumerate(found["queries"].items())
                                   if place % 2 == odd}}
        for name, found in collections.items()
    }  # fmt: skip


def candidates(collections: Collections) -> list[JudgedCandidate]:
    """Return all candidates."""
    return [
        JudgedCandidate(
            query=f"{name} {query}",
            logit=row["logit"],
            evidence=RetrievalEvidence(**row["evidence"]),
            relevance=float(row["relevance"] > 0),
        )
        for name, found in collections.items()
        for query, rows in found["queries"].items()
        for row in rows
    ]


def scored(collections: Collections, weights: np.ndarray, k: int) -> dict[str, float]:
    """Return the nDCG@10 of each collection in the order that ``weights`` give."""
    means = {}
    for name, found in collections.items():
        ranked = {}
        for query, rows in found["queries"].items():
            evidence = [RetrievalEvidence(**row["evidence"]) for row in rows]
            values = blend_features([row["logit"] for row in rows], evidence, k) @ weights
            ranked[query] = [rows[place]["id"] for place in np.argsort(-values, kind="stable")]
        means[name] = ndcg({"qrels": {query: found["qrels"][query] for query in ranked}}, ranked)
    return means


def searched(collections: Collections, start: Blend) -> np.ndarray:
    """Return weights whose order is better than that of the likeliest ones: each is varied in turn."""
    weights = np.array([start.logit_weight, start.rank_weight, start.dense_weight, start.sparse_weight])
    weights = np.where(weights > 0, weights, np.array([0.5, 1.0, 3.0, 0.5]))
    best = -1.0
    for _, place in itertools.product(range(_ROUNDS), (1, 2, 3)):
        for factor in _FACTORS:
            trial = weights.copy()
            trial[place] *= factor
            value = float(np.mean(list(scored(collections, trial, start.k).values())))
            if value > best + 1e-4:
                best, kept = value, trial
        weights = kept
    return weights


def fit(collections: Collections, words: str, relative: Sequence[float] | None = None) -> RerankerProfile:
    """Return the profile: calibration by likelihood, the blend's order by nDCG@10, its scale by likelihood.

    ``relative`` are the blend's weights (logit, rank, dense, sparse) up to a factor, in place of a search for them.
    """
    rows = candidates(collections)
    likely = fit_profile(rows, fitted_on=words)
    assert likely.blend is not None
    weights = np.array(relative) if relative else searched(collections, likely.blend)
    values = blend_features([row.logit for row in rows], [row.evidence for row in rows], likely.blend.k) @ weights
    scale = fit_calibration(values, [row.relevance for row in rows])
    logit, rank, dense, sparse = (float(weight) * scale.slope for weight in weights)
    blend = Blend(
        logit_weight=logit, rank_weight=rank, dense_weight=dense, sparse_weight=sparse, intercept=scale.intercept
    )
    return likely.model_copy(update={"blend": blend})


def report(profile: RerankerProfile, collections: Collections) -> dict[str, Any]:
    """Return the quality of each collection and the calibration errors over all of them."""
    table = {}
    for name, found in collections.items():
        table[name] = {"queries": len(found["queries"])} | {way: round(mean, 4) for way, mean in means(found).items()}
    blend = profile.blend
    assert blend is not None
    weights = np.array([blend.logit_weight, blend.rank_weight, blend.dense_weight, blend.sparse_weight])
    for name, value in scored(collections, weights, blend.k).items():
        table[name]["blended"] = round(value, 4)
    rows = candidates(collections)
    labels, logits = [row.relevance for row in rows], [row.logit for row in rows]
    alone = probabilities(logits, profile, blend=False)
    mixed = probabilities(logits, profile, [row.evidence for row in rows], blend=True)
    return {
        "table": table,
        "candidates": len(rows),
        "calibration_error": expected_calibration_error(alone, labels),
        "blend_error": expected_calibration_error(mixed, labels),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--fit", nargs="*", type=Path, default=[])
    parser.add_argument("--halves", nargs="*", type=Path, default=[])
    parser.add_argument("--relative", nargs=4, type=float, help="the blend's weights up to a factor, not searched for")
    parser.add_argument("--words", default="held-out queries", help="what the profile says it was fitted on")
    options = parser.parse_args()
    whole, halves = read(options.fit), read(options.halves)
    profile = fit(whole | part(halves, odd=False), options.words, options.relative)
    seen, unseen = report(profile, part(halves, odd=False)), report(profile, part(halves, odd=True))
    facts = {"profile": profile.model_dump(), "unseen": unseen, "seen": seen}
    if whole:
        facts["held_out"] = report(profile, whole)
    options.out.write_text(json.dumps(facts, indent=2), encoding="utf-8")
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
