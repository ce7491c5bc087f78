"""Hard negatives from the first stage: what it ranks high and is not relevant. Pure and deterministic."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

from pydantic import Field, model_validator
from typing_extensions import Self

from searchkit.errors import ConfigError
from searchkit.settings import Settings
from searchkit.training.pairs import LabelledPair, normalised
from searchkit.types import Frozen


class RankedPassage(Frozen):
    """One passage of a first-stage ranking.

    Attributes:
        text: The passage.
        score: The first stage's score, higher is better; only compared within one ranking.
    """

    text: Annotated[str, Field(min_length=1)]
    score: float


class MiningConfig(Settings):
    """Which passages of a ranking become negatives.

    Unjudged passages near the top are often relevant. Two rules skip them: the first ``skip_ranks`` are never taken,
    and neither is a passage that scores above ``max_score_ratio`` times the best positive in the ranking.

    Attributes:
        negatives_per_query: Negatives for each query; the seed's data set has thirty.
        skip_ranks: Passages at the top that are left alone, known positives not counted.
        max_score_ratio: Share of the best positive's score that a negative may reach; ``None`` switches this off. It
            needs scores above zero and is not applied where the positive was not retrieved.
        hard_share: Share of the negatives taken from the first half of what is left, the rest from the second half:
            a mix of ranks teaches both the fine and the coarse difference.
        min_negatives: Queries with fewer negatives are left out.
        seed: Decides the draw; each query has its own, so adding a query does not change the others.
    """

    negatives_per_query: int = Field(default=30, ge=1)
    skip_ranks: int = Field(default=2, ge=0)
    max_score_ratio: float | None = Field(default=0.95, gt=0)
    hard_share: float = Field(default=0.7, ge=0, le=1)
    min_negatives: int = Field(default=1, ge=1)
    seed: int = 42

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        if self.min_negatives > self.negatives_per_query:
            raise ValueError(f"min_negatives={self.min_negatives} exceeds {self.negatives_per_query=}")
        return self


def mine_pairs(
    positives: Mapping[str, Sequence[str]],
    rankings: Mapping[str, Sequence[RankedPassage]],
    config: MiningConfig | None = None,
    *,
    criteria: Mapping[str, str] | None = None,
) -> list[LabelledPair]:
    """Return pairs for training: every query's positives, and negatives mined from its ranking.

    Args:
        positives: The relevant passages of each query. Queries that differ only in case or final punctuation share
            theirs: what is relevant to one is no negative of the other.
        rankings: What the first stage found for each query, best first.
        config: Which passages become negatives.
        criteria: Criteria of some queries, appended to the query as stage 2 reads it.

    Raises:
        ConfigError: A query without positives or without a ranking.
    """
    config = config or MiningConfig()
    known: dict[str, set[str]] = {}
    for query, texts in positives.items():
        if not texts:
            raise ConfigError(f"The query {query[:80]!r} has no positive passage.")
        known.setdefault(normalised(query), set()).update(_key(text) for text in texts)
    pairs: list[LabelledPair] = []
    for query, texts in positives.items():
        if query not in rankings:
            raise ConfigError(f"The query {query[:80]!r} has no ranking to mine from.")
        negatives = mine_negatives(query, known[normalised(query)], rankings[query], config)
        if len(negatives) < config.min_negatives:
            continue
        asked = f"{query} {criteria[query]}" if criteria and query in criteria else query
        pairs += [LabelledPair(sentence_0=asked, sentence_1=text, label=1.0) for text in dict.fromkeys(texts)]
        pairs += [LabelledPair(sentence_0=asked, sentence_1=text, label=0.0) for text in negatives]
    return pairs


def mine_negatives(
    query: str, positive_keys: set[str], ranking: Sequence[RankedPassage], config: MiningConfig
) -> list[str]:
    """Return the negatives of one query, hardest first, at most ``config.negatives_per_query``."""
    best = max((item.score for item in ranking if _key(item.text) in positive_keys), default=None)
    ceiling = None
    if config.max_score_ratio is not None and best is not None and best > 0:
        ceiling = config.max_score_ratio * best
    eligible = list(_eligible(ranking, positive_keys, config.skip_ranks, ceiling))
    if len(eligible) <= config.negatives_per_query:
        return eligible
    # A hash, not hash(): strings hash differently in every process.
    seed = int.from_bytes(hashlib.sha256(f"{config.seed}\n{query}".encode()).digest()[:8], "big")
    draw = random.Random(seed)  # a draw of examples, not a secret
    middle = max(len(eligible) // 2, 1)
    hard_count = min(round(config.negatives_per_query * config.hard_share), middle)
    easy_count = min(config.negatives_per_query - hard_count, len(eligible) - middle)
    hard_count = min(config.negatives_per_query - easy_count, middle)
    places = draw.sample(range(middle), hard_count) + draw.sample(range(middle, len(eligible)), easy_count)
    return [eligible[place] for place in sorted(places)]


def _eligible(
    ranking: Sequence[RankedPassage], positive_keys: set[str], skip_ranks: int, ceiling: float | None
) -> Iterator[str]:
    seen = set(positive_keys)
    rank = 0
    for item in ranking:
        key = _key(item.text)
        if key in seen:
            continue
        seen.add(key)
        rank += 1
        if rank > skip_ranks and (ceiling is None or item.score <= ceiling):
            yield item.text


def _key(text: str) -> str:
    """Two passages that differ in spacing or case only are one."""
    return " ".join(text.lower().split())
