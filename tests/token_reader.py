"""A reranker whose token ids can be stored, without a model: for tests of what carries them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from searchkit.deadline import Deadline
from searchkit.stages import PairScores, TokenUse
from searchkit.testing import FakeReranker


@dataclass
class WordsWriter:
    """Stores a text's words under the name of a tokenizer."""

    tokenizer: str
    encoded: list[str] = field(default_factory=list)

    def encode(self, texts: Sequence[str]) -> list[str]:
        self.encoded.extend(texts)
        return [f"{self.tokenizer}|{'|'.join(text.split())}" for text in texts]

    def is_current(self, stored: object) -> bool:
        return isinstance(stored, str) and stored.startswith(f"{self.tokenizer}|")


class WordsReranker(FakeReranker):
    """Scores like `FakeReranker`; notes the stored tokens that it is given."""

    def __init__(self, tokenizer: str = "words-1", *, has_writer: bool = True) -> None:
        super().__init__()
        self.writer = WordsWriter(tokenizer)
        self.has_writer = has_writer
        self.given: list[str | None] = []

    def token_writer(self) -> WordsWriter | None:
        return self.writer if self.has_writer else None

    def is_right(self, text: str, stored: str | None) -> bool:
        return stored == f"{self.writer.tokenizer}|{'|'.join(text.split())}"

    def token_count(self, text: str, stored: str) -> int | None:
        return len(text.split()) if self.is_right(text, stored) else None

    def score_pairs(
        self,
        pairs: Sequence[tuple[str, str]],
        *,
        deadline: Deadline | None = None,
        tokens: Sequence[str | None] | None = None,
    ) -> PairScores:
        stored = [None] * len(pairs) if tokens is None else list(tokens)
        self.given.extend(stored)
        uses = [
            TokenUse.NONE if one is None else TokenUse.USED if self.is_right(text, one) else TokenUse.REFUSED
            for (_, text), one in zip(pairs, stored, strict=True)
        ]
        scores = super().score_pairs(pairs, deadline=deadline)
        return PairScores(
            scores.logits, scores.truncated_tokens, scores.engine, token_use=np.array(uses, dtype=np.int8)
        )
