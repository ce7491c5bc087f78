"""Several threads that work batches off one queue, each on a core of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from searchkit.threads import ForkSafeThreads

T = TypeVar("T")
R = TypeVar("R")


class Lanes:
    """Does work side by side; whichever thread is free takes the next item.

    Attributes:
        count: How many items are worked on at once.

    Args:
        count: See there.
        name: Of the threads.
    """

    def __init__(self, count: int, name: str) -> None:
        self.count = count
        self._pool = ForkSafeThreads(count, name) if count > 1 else None

    def map(self, work: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Return ``work(item)`` of each item, in order."""
        parts = list(items)
        if self._pool is None or len(parts) < 2:
            return [work(part) for part in parts]
        return list(self._pool.executor.map(work, parts))
