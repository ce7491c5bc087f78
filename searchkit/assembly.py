"""From candidates and scores to hits: best window per passage, blend, order, group, cut. Pure: no model, no store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searchkit.collection.metadata import values_at
from searchkit.config import RerankerProfile
from searchkit.reranking.calibration import probabilities
from searchkit.stages import Candidate, PairScores
from searchkit.types import Hit, PassageId, Snippet


@dataclass(frozen=True, slots=True)
class Ranked:
    """One passage on its way to becoming a hit.

    Attributes:
        candidate: Its best window; before stage 2 that is the first one stage 1 returned.
        score: What the order is by, higher is better.
        logit: Stage 2's raw output for the window, ``None`` if it was not scored.
        truncated_tokens: Tokens of the window that stage 2 could not see.
    """

    candidate: Candidate
    score: float
    logit: float | None = None
    truncated_tokens: int = 0


def first_stage_order(candidates: Sequence[Candidate]) -> list[Ranked]:
    """Return one entry a passage in first-stage order, scored by the fused score."""
    best: dict[PassageId, Ranked] = {}
    for candidate in candidates:
        best.setdefault(candidate.passage, Ranked(candidate, candidate.evidence.fused_score or 0.0))
    return list(best.values())


def reranked_order(
    candidates: Sequence[Candidate], scores: PairScores, profile: RerankerProfile, *, blend: bool
) -> list[Ranked]:
    """Return one entry a passage, best score first; passages without any scored window follow in first-stage order.

    Equal scores are ordered by logit (a sigmoid saturates before it does), first-stage rank and id.

    Args:
        candidates: Windows, in first-stage order.
        scores: One logit a candidate; NaN marks those left unscored.
        profile: Calibration and blend of the model.
        blend: Whether the profile's blend is used.
    """
    best = _best_windows(candidates, scores)
    scored = [entry for entry in best.values() if entry.logit is not None]
    unscored = [entry for entry in best.values() if entry.logit is None]
    logits: NDArray[np.float32] = np.array([entry.logit for entry in scored], dtype=np.float32)
    evidence = [entry.candidate.evidence for entry in scored]
    values = probabilities(logits, profile, evidence, blend=blend)
    scored = [replace(entry, score=float(value)) for entry, value in zip(scored, values, strict=True)]
    return sorted(scored, key=_by_score) + unscored


def _best_windows(candidates: Sequence[Candidate], scores: PairScores) -> dict[PassageId, Ranked]:
    best: dict[PassageId, Ranked] = {}
    rows = zip(candidates, scores.logits.tolist(), scores.truncated_tokens.tolist(), strict=True)
    for candidate, value, truncated in rows:
        logit = None if np.isnan(value) else value
        entry = Ranked(candidate, candidate.evidence.fused_score or 0.0, logit, truncated)
        known = best.get(candidate.passage)
        if known is None or (logit is not None and (known.logit is None or logit > known.logit)):
            best[candidate.passage] = entry
    return best


def _by_score(entry: Ranked) -> tuple[float, float, int, str, str]:
    rank = entry.candidate.evidence.rank
    logit = -np.inf if entry.logit is None else entry.logit
    identity = entry.candidate.id
    return (-entry.score, -logit, rank if rank is not None else 2**62, type(identity).__name__, str(identity).zfill(20))


def one_per_group(entries: Sequence[Ranked], field: str) -> list[Ranked]:
    """Return the best entry of each value of the metadata ``field``; passages without the field each stand alone."""
    seen: set[str] = set()
    kept = []
    for entry in entries:
        value = group_of(entry, field)
        key = repr(value)
        if value is not None and key in seen:
            continue
        seen.add(key)
        kept.append(entry)
    return kept


def group_of(entry: Ranked, field: str) -> Any:
    """Return the value of the metadata ``field``, a key or a path of keys; ``None`` where there is not one value."""
    values = values_at(entry.candidate.metadata, field)
    return values[0] if len(values) == 1 else None


def make_hits(entries: Sequence[Ranked], whole_texts: Mapping[PassageId, str]) -> tuple[Hit, ...]:
    """Return the hits of ``entries``, ranked from 1.

    Args:
        entries: Best first.
        whole_texts: Text of every passage that has several windows, by `Candidate.passage`.
    """
    return tuple(_hit(rank, entry, whole_texts) for rank, entry in enumerate(entries, 1))


def _hit(rank: int, entry: Ranked, whole_texts: Mapping[PassageId, str]) -> Hit:
    candidate = entry.candidate
    window = candidate.window
    is_whole = window.count == 1
    return Hit(
        id=candidate.id,
        text=candidate.text if is_whole else whole_texts[candidate.passage],
        metadata=candidate.metadata,
        rank=rank,
        score=entry.score,
        logit=entry.logit,
        retrieval=candidate.evidence,
        snippet=None if is_whole else Snippet(text=candidate.text, start=window.start, end=window.end),
        truncated_tokens=entry.truncated_tokens,
    )
