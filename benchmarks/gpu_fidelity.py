"""Whether half precision on a GPU orders as fp32 does, on judged queries: the gate before every other number."""

from __future__ import annotations

import random
import statistics
from pathlib import Path
from typing import Any

import numpy as np

from searchkit.benchmarking import Circumstances
from searchkit.benchmarking.contestants import Pair
from searchkit.benchmarking.fidelity import fidelity
from searchkit.reranking import CrossEncoderReranker

GATE = {"kendall_mean": 0.999, "top10_overlap": 0.995}
GATE_AT_MOST = {"error_over_std": 3e-3, "ndcg10_lost": 5e-4}


def checked(here: Circumstances, judgments: Path, queries: int | None, candidates: int) -> dict[str, Any]:
    """Compare what the user gets with fp32 (TF32 off) on judged queries, the judged passages among the candidates."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    fast = CrossEncoderReranker(here.folder, device=here.device)
    exact = CrossEncoderReranker(here.folder, device=here.device, precision="fp32", engine="torch")
    pools = judged_pools(judgments, fast, queries, candidates)
    scores = [[one.score_pairs(pairs) for pairs, _ in pools] for one in (fast, exact)]
    values = [[score.logits for score in side] for side in scores]
    gate: dict[str, Any] = fidelity(scores[0][0].engine, scores[1][0].engine, values[0], values[1]).model_dump()
    mine, theirs = ([ndcg(side, grades) for side, (_, grades) in zip(each, pools, strict=True)] for each in values)
    gate.update(queries=len(pools), ndcg10_exact=statistics.mean(theirs))
    gate["ndcg10_lost"] = gate["ndcg10_exact"] - statistics.mean(mine)
    passed = [gate[name] >= bound for name, bound in GATE.items()]
    passed += [gate[name] <= bound for name, bound in GATE_AT_MOST.items()]
    return {**gate, "bounds": {**GATE, **GATE_AT_MOST}, "passed": all(passed)}


def judged_pools(
    judgments: Path, reranker: CrossEncoderReranker, queries: int | None, candidates: int
) -> list[tuple[list[Pair], Any]]:
    """Return, for each judged query, its judged passages filled up with others, and their grades."""
    from searchkit.cli.demo_table import read_known
    from searchkit.cli.stdlib import read_standard_library

    library = read_standard_library()
    known, texts = read_known(judgments, library).queries, {str(one.id): one.text for one in library.passages}
    chance, pools = random.Random(0), []
    for query in known.queries[:queries]:
        grades = known.qrels[query.id]
        ids = list(dict.fromkeys([*grades, *chance.sample(sorted(texts), candidates)]))[:candidates]
        composed = reranker.compose(query.text, query.criteria)
        pools.append(([(composed, texts[name]) for name in ids], np.array([grades.get(name, 0) for name in ids])))
    return pools


def ndcg(logits: Any, grades: Any, cutoff: int = 10) -> float:
    """Return nDCG@10 with the grade as gain."""
    discounts = 1 / np.log2(np.arange(2, cutoff + 2))
    order, best = np.argsort(-logits, kind="stable")[:cutoff], np.sort(grades)[::-1][:cutoff]
    discounts = discounts[: len(best)]
    return float((grades[order] * discounts).sum() / max((best * discounts).sum(), 1e-12))
