"""What the tests of the adapters share: passages, a question, a reranker that counts, a stall watch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from searchkit import SearchKit
from searchkit.deadline import Deadline
from searchkit.errors import RerankError
from searchkit.stages import PairScores
from searchkit.testing import FakeReranker

MakeKit = Callable[..., SearchKit]

PASSAGES = [
    {"id": 1, "text": "Hairdressers earn 35,000 dollars a year in this town.", "lang": "en", "year": 2021},
    {"id": 2, "text": "Hairdressers are paid by the hour or by the cut.", "lang": "en", "year": 2019},
    {"id": "b3", "text": "The barber shop opens at nine and closes at six.", "lang": "en", "year": 2023},
    {"id": "b4", "text": "Friseure verdienen im Jahr weniger als Köche.", "lang": "de", "year": 2022},
    {"id": "b5", "text": "A cook is paid more than a hairdresser.", "lang": "en", "year": 2018},
    {"id": "b6", "text": "Wages are paid on the last day of the month.", "lang": "en"},
    {"id": "b7", "text": "Scissors, combs and razors must be cleaned daily.", "lang": "en", "year": 2024},
]
QUESTION = "how are hairdressers paid"


class CountingReranker(FakeReranker):
    """Knows how often it was called, and can take its time or fail."""

    def __init__(self, *, delay_s: float = 0.0, fails: bool = False) -> None:
        super().__init__()
        self.call_count = 0
        self.queries: list[str] = []
        self._delay_s = delay_s
        self._fails = fails

    def score_pairs(self, pairs: Sequence[tuple[str, str]], *, deadline: Deadline | None = None) -> PairScores:
        self.call_count += 1
        self.queries += [query for query, _ in pairs]
        time.sleep(self._delay_s)
        if self._fails:
            raise RerankError("the model is gone")
        return super().score_pairs(pairs, deadline=deadline)


async def longest_stall_s(work: Callable[[], Awaitable[object]]) -> float:
    """Return the longest time that the loop did not run while ``work`` did, in the calmest of five tries.

    A busy machine can stall any try; code that blocks the loop stalls all of them.
    """
    calmest = float("inf")
    for _ in range(5):
        gaps = [0.0]
        task = asyncio.ensure_future(work())
        last = time.perf_counter()
        while not task.done():
            await asyncio.sleep(0.002)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now
        await task
        calmest = min(calmest, max(gaps))
    return calmest
