"""Batches by padded-token budget: texts of like length together, so that little is computed on padding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def token_budget_batches(lengths: Sequence[int] | NDArray[np.int64], budget: int) -> list[NDArray[np.int64]]:
    """Split items into batches of at most ``budget`` padded tokens, longest first.

    A batch costs its longest length times its size. An item longer than the budget gets a batch of its own.

    Args:
        lengths: Length of each item in tokens, shape ``(n,)``.
        budget: Largest padded size of a batch in tokens, >= 1.

    Returns:
        Index arrays into ``lengths``; together they hold every index once. Equal lengths keep their order, so the
        same input always gives the same batches.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-sizes, kind="stable")
    batches: list[NDArray[np.int64]] = []
    start = 0
    while start < len(order):
        longest = max(int(sizes[order[start]]), 1)
        count = max(budget // longest, 1)
        batches.append(order[start : start + count])
        start += count
    return batches
