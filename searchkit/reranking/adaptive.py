"""When to stop scoring: how many relevant passages the unscored candidates are expected to hold. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from searchkit.config import RerankerProfile
from searchkit.reranking.calibration import probabilities
from searchkit.types import RetrievalEvidence

RECENT = 8
"""The rate of relevance is read off the last so many passages scored: it falls along the first-stage order."""


def expected_missed(
    scored: Sequence[tuple[float, RetrievalEvidence]],
    rest: Sequence[RetrievalEvidence],
    profile: RerankerProfile,
    *,
    bar: float,
    blend: bool,
) -> float:
    """Return how many passages of ``rest`` are expected to be relevant."""
    logits = [logit for logit, _ in scored]
    chances = probabilities(logits, profile, [item for _, item in scored], blend=blend)
    by_rank = [
        float(chance)
        for chance, (_, item) in sorted(zip(chances, scored, strict=True), key=lambda x: x[1][1].rank or 0)
    ]
    recent = [chance if chance > bar else 0.0 for chance in by_rank[-RECENT:]]
    return len(rest) * sum(recent) / max(1, len(recent))
