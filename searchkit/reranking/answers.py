"""Whether what a reranker returned can be used."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from searchkit.deadline import Deadline
from searchkit.errors import RerankError
from searchkit.stages import PairScores

_SHORT_S = 1.0
"""A reranker that scores nothing though more than this is left has no deadline to blame."""


def check_answer(scores: PairScores, count: int, deadline: Deadline | None) -> None:
    """Refuse an answer of the wrong shape, and values that are no numbers unless the deadline explains them.

    Raises:
        RerankError: It cannot be used.
    """
    if scores.logits.shape != (count,) or scores.truncated_tokens.shape != (count,):
        raise RerankError(
            f"the reranker returned logits of shape {scores.logits.shape} and truncated_tokens of shape"
            f" {scores.truncated_tokens.shape} for {count} pairs: both must be ({count},)"
        )
    if np.isinf(scores.logits).any():
        raise RerankError(f"the reranker returned an infinite logit for one of {count} pairs: its weights are broken")
    missing = np.isnan(scores.logits)
    if missing.any() and not _is_cut_short(missing, deadline):
        raise RerankError(
            f"the reranker returned NaN for {missing.sum()} of {count} pairs: its weights or inputs are broken"
        )


def _is_cut_short(missing: NDArray[np.bool_], deadline: Deadline | None) -> bool:
    """Whether NaN can mean that a deadline stopped the reranker: it leaves the tail, which is asked for again."""
    if deadline is None or not missing[int(missing.argmax()) :].all():
        return False
    return not missing.all() or deadline.remaining_s <= _SHORT_S
