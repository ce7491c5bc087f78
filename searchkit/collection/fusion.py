"""Reciprocal rank fusion of passages: pure and deterministic.

An engine's own fusion is not: equal scores come back in a different order each time (qdrant/qdrant issue 6814).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from searchkit.collection.schema import WINDOW_BITS, key_of

ScoredPoint = tuple[int, float]
"""Point id and score of one window, as a leg returned it."""


@dataclass(slots=True)
class Leg:
    """One leg's verdict on passages.

    Attributes:
        weight: Its weight in the fusion.
        scores: Score of each passage's best window, by passage key.
        ranks: 1-based rank of each passage, by passage key. Passages of equal score share a rank, so that what an
            engine does with ties cannot change the fused order.
        window_ranks: 1-based rank of each window, by point id.
    """

    weight: float
    scores: dict[int, float] = field(default_factory=dict)
    ranks: dict[int, int] = field(default_factory=dict)
    window_ranks: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fused:
    """One passage after fusion.

    Attributes:
        key: Passage key.
        score: Fused score; the leg's own where there is only one leg.
        best_rank: Best rank in any leg.
        windows: Point ids of its retrieved windows, best first.
    """

    key: int
    score: float
    best_rank: int
    windows: tuple[int, ...]


def rank_leg(points: Sequence[ScoredPoint], weight: float) -> Leg:
    """Group a leg's windows into passages: the best window decides a passage's score and rank."""
    leg = Leg(weight)
    rank = passage_rank = 0
    last = last_passage = None
    for place, (point, score) in enumerate(sorted(points, key=lambda scored: (-scored[1], scored[0])), start=1):
        if score != last:
            rank, last = place, score
        leg.window_ranks[point] = rank
        key = key_of(point)
        if key not in leg.ranks:
            if score != last_passage:
                passage_rank, last_passage = len(leg.ranks) + 1, score
            leg.ranks[key] = passage_rank
            leg.scores[key] = score
    return leg


def fuse(legs: Sequence[Leg], k: int, depth: int, windows_per_passage: int) -> list[Fused]:
    """Return the best ``depth`` passages of all legs, sorted by score, best rank, key.

    The score is the sum over legs of ``weight / (k + rank)``; a single leg keeps its own scores.

    Args:
        legs: The ranked legs.
        k: Constant of reciprocal rank fusion.
        depth: Passages to return at most.
        windows_per_passage: Windows to keep of each at most.
    """
    best_ranks = _best_ranks(leg.ranks for leg in legs)
    scores = legs[0].scores if len(legs) == 1 else _reciprocal(((leg.weight, leg.ranks) for leg in legs), k)
    keys = sorted(best_ranks, key=lambda key: (-scores[key], best_ranks[key], key))[:depth]
    windows = _windows_by_passage(legs, k, set(keys))
    return [Fused(key, scores[key], best_ranks[key], tuple(windows[key][:windows_per_passage])) for key in keys]


def _windows_by_passage(legs: Sequence[Leg], k: int, keys: set[int]) -> dict[int, list[int]]:
    windows: dict[int, list[int]] = {}
    for leg in legs:
        for point in leg.window_ranks:
            key = point >> WINDOW_BITS
            if key in keys:
                members = windows.setdefault(key, [])
                if point not in members:
                    members.append(point)
    crowded = {point for members in windows.values() if len(members) > 1 for point in members}
    if crowded:  # most passages are one window, and need no order
        ranks = [{point: rank for point, rank in leg.window_ranks.items() if point in crowded} for leg in legs]
        scores = _reciprocal(zip((leg.weight for leg in legs), ranks, strict=True), k)
        best_ranks = _best_ranks(ranks)
        for members in windows.values():
            if len(members) > 1:
                members.sort(key=lambda point: (-scores[point], best_ranks[point], point))
    return windows


def _reciprocal(ranked: Iterable[tuple[float, Mapping[int, int]]], k: int) -> dict[int, float]:
    scores: dict[int, float] = {}
    for weight, ranks in ranked:
        for item, rank in ranks.items():
            scores[item] = scores.get(item, 0.0) + weight / (k + rank)
    return scores


def _best_ranks(all_ranks: Iterable[Mapping[int, int]]) -> dict[int, int]:
    best: dict[int, int] = {}
    for ranks in all_ranks:
        for item, rank in ranks.items():
            if rank < best.get(item, rank + 1):
                best[item] = rank
    return best
