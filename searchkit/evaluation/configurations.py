"""The ways to search that a comparison tries."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from searchkit.errors import ConfigError
from searchkit.types import Frozen, SearchMode

DEFAULT_DEPTHS = (10, 20, 50, 100)


class Configuration(Frozen):
    """One way to search.

    Attributes:
        mode: Which legs of stage 1 run.
        candidate_depth: Passages that stage 1 returns and stage 2, where it runs, reorders.
        rerank: Whether stage 2 runs.
        blend: Whether first-stage evidence is blended into the second stage's score where the reranker has a blend;
            False orders by the second stage alone. Means nothing without ``rerank``.
        criteria: Whether stage 2 reads the queries' criteria, where they have any. Means nothing without ``rerank``.
        reranker: Which of the rerankers compared runs; ``None`` is the first. Means nothing without ``rerank``.
    """

    mode: SearchMode = "hybrid"
    candidate_depth: int = Field(default=50, ge=1)
    rerank: bool = True
    blend: bool = True
    criteria: bool = True
    reranker: str | None = None

    @property
    def name(self) -> str:
        """Name in tables: "hybrid + rerank, depth 50"; a reranker that is named stands for the word."""
        if not self.rerank:
            return f"{self.mode}, depth {self.candidate_depth}"
        blend, criteria = "" if self.blend else ", no blend", "" if self.criteria else ", no criteria"
        reranker = "rerank" if self.reranker is None else self.reranker
        return f"{self.mode} + {reranker}, depth {self.candidate_depth}{blend}{criteria}"

    @property
    def searches(self) -> tuple[SearchMode, int, bool, bool, str | None]:
        """What decides the searches: configurations that agree in it share them."""
        reranker = self.reranker if self.rerank else None
        return self.mode, self.candidate_depth, self.rerank, self.rerank and self.criteria, reranker


def grid(
    *,
    depths: Sequence[int] = DEFAULT_DEPTHS,
    modes: Sequence[SearchMode] = ("sparse", "dense", "hybrid"),
    reranked_modes: Sequence[SearchMode] = ("hybrid",),
    blends: Sequence[bool] = (True, False),
    criteria: Sequence[bool] = (True,),
    rerankers: Sequence[str | None] = (None,),
) -> tuple[Configuration, ...]:
    """Return the configurations worth comparing.

    Args:
        depths: Candidate depths that reranking is tried at; the first stage alone is tried at the deepest.
        modes: First stages tried without reranking.
        reranked_modes: First stages tried with reranking, at every depth.
        blends: With the reranker's blend, without it, or both.
        criteria: With the queries' criteria, without them, or both.
        rerankers: Names of the rerankers that `compare` is given, or ``None`` for its only one.

    Raises:
        ConfigError: There is no depth.
    """
    if not depths:
        raise ConfigError("depths is empty: give at least one candidate depth")
    alone = [Configuration(mode=mode, candidate_depth=max(depths), rerank=False) for mode in modes]
    reranked = [
        Configuration(mode=mode, candidate_depth=depth, blend=blend, criteria=reads_criteria, reranker=reranker)
        for mode in reranked_modes
        for reranker in rerankers
        for reads_criteria in criteria
        for blend in blends
        for depth in sorted(set(depths))
    ]
    return (*alone, *reranked)
