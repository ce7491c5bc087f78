"""One query's candidates on their way through the model: what is still to be scored, and the scores so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from searchkit.request import SearchRequest
from searchkit.stages import Candidate, PairScores, TokenUse


@dataclass(slots=True)
class RerankTask:
    """One query's candidates on their way through the model.

    Attributes:
        query: What the model reads as the query.
        request: The caller's arguments.
        candidates: Windows in first-stage order.
        stretches: Rows still to be scored, in the order they are sent; cut where adaptive depth may stop.
        scores: What is known so far.
        is_settled: Whether the rows that are left need no score.
        queue_s: Seconds that its pairs waited for the model, if that is known.
    """

    query: str
    request: SearchRequest
    candidates: Sequence[Candidate]
    stretches: list[list[int]]
    scores: PairScores = field(init=False)
    is_settled: bool = False
    queue_s: float | None = None

    def __post_init__(self) -> None:
        count = len(self.candidates)
        self.scores = PairScores(
            np.full(count, np.nan, dtype=np.float32),
            np.zeros(count, dtype=np.int64),
            "",
            np.zeros(count, dtype=np.bool_),
            np.zeros(count, dtype=np.int8),
            query_truncated_tokens=np.zeros(count, dtype=np.int64),
        )

    @property
    def left(self) -> int:
        """Windows that have no score."""
        return int(np.isnan(self.scores.logits).sum())

    def record(self, row: int, scores: PairScores, place: int) -> None:
        """Copy the score at ``place`` of a shared call to ``row``."""
        self.scores.logits[row] = scores.logits[place]
        self.scores.truncated_tokens[row] = scores.truncated_tokens[place]
        if self.scores.cached is not None and scores.cached is not None:
            self.scores.cached[row] = scores.cached[place]
        if self.scores.token_use is not None and scores.token_use is not None:
            self.scores.token_use[row] = scores.token_use[place]
        if self.scores.query_truncated_tokens is not None and scores.query_truncated_tokens is not None:
            self.scores.query_truncated_tokens[row] = scores.query_truncated_tokens[place]

    @property
    def unread_query_tokens(self) -> int:
        """Tokens of the query that the model could not see beside some window."""
        unread = self.scores.query_truncated_tokens
        return 0 if unread is None else int(unread.max(initial=0))

    def uses(self, kind: TokenUse) -> int:
        """Return of how many windows the stored token ids had this fate."""
        return 0 if self.scores.token_use is None else int((self.scores.token_use == kind).sum())
