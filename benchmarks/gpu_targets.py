"""What reranking on a GPU is to reach, and whether it did. Ratios are the claim; times depend on the card."""

from __future__ import annotations

import dataclasses
import statistics
from typing import Any

import numpy as np

from searchkit.benchmarking.stock import StockGraphed
from searchkit.benchmarking.summary import spread
from searchkit.benchmarking.timing import Timings
from searchkit.benchmarking.tokens import EngineAlone, TokensIn

TEXT, TOKENS, ALONE = "searchkit", TokensIn.name, EngineAlone.name
PEER, STOCK = "sentence-transformers", StockGraphed.name
FEW, MANY = 10, 80  # tokens of a query, without and with criteria


@dataclasses.dataclass(frozen=True)
class Target:
    """What is to be reached in one workload: at most ``p50_ms`` (and ``p99_ms``) or at least ``pairs_per_s``."""

    name: str
    workload: str
    ours: str
    against: str
    ratio: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    pairs_per_s: float | None = None


TARGETS = (
    Target("1 x 100, short query", f"call, query of {FEW}", TOKENS, PEER, 12, p50_ms=1.6, p99_ms=2.0),
    Target("bulk, tokens in", f"bulk, query of {FEW}", TOKENS, PEER, 20, pairs_per_s=85_000),
    Target("bulk, text in", f"bulk, query of {FEW}", TEXT, PEER, 8, pairs_per_s=40_000),
    Target("bulk, criteria query", f"bulk, query of {MANY}", TOKENS, PEER, 18, pairs_per_s=50_000),
    Target("1 x 100, criteria query", f"call, query of {MANY}", TOKENS, PEER, 18, p50_ms=2.3),
    Target("GPU only", f"bulk, query of {FEW}", ALONE, STOCK, 1.7),
)


def judged(workload: str, timings: Timings, pair_count: int) -> list[dict[str, Any]]:
    """Return what became of each target of a workload; those whose two sides did not both run are left out."""
    targets = (target for target in TARGETS if target.workload == workload)
    return [verdict for target in targets for verdict in _judge(target, timings, pair_count)]


def _judge(target: Target, timings: Timings, pair_count: int) -> list[dict[str, Any]]:
    mine, theirs = ([one for one in timings.samples if one.contestant == who] for who in (target.ours, target.against))
    if not mine or not theirs:
        return []
    is_call = target.p50_ms is not None
    times = [[statistics.median(one.calls_s) if is_call else one.wall_s for one in side] for side in (mine, theirs)]
    ratio = spread([theirs_s / mine_s for mine_s, theirs_s in zip(*times, strict=True)])
    calls_ms = np.array([seconds for one in mine for seconds in one.calls_s]) * 1e3
    found = {
        "p50_ms": float(np.median(calls_ms)),
        "p99_ms": float(np.quantile(calls_ms, 0.99)),
        "pairs_per_s": pair_count / statistics.median(one.wall_s for one in mine),
    }
    limits = (("p50_ms", target.p50_ms), ("p99_ms", target.p99_ms))
    is_reached = all(limit is None or found[name] <= limit for name, limit in limits)
    is_reached &= target.pairs_per_s is None or found["pairs_per_s"] >= target.pairs_per_s
    verdict = {"ratio_reached": ratio.median >= target.ratio, "commitment_reached": is_reached}
    return [{"target": dataclasses.asdict(target), "ratio": ratio.model_dump(), "found": found, **verdict}]
