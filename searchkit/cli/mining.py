"""Training pairs from a collection and judged queries: the relevant passages, and what stage 1 finds beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from searchkit.training import LabelledPair, MiningConfig, RankedPassage, mine_pairs
from searchkit.training.pairs import normalised
from searchkit.types import Hit, PassageId, SearchResult

if TYPE_CHECKING:
    from searchkit.evaluation import JudgedQueries, JudgedQuery
    from searchkit.kit import SearchKit

_BATCH = 32


@dataclass(slots=True)
class Mined:
    """What came of mining.

    Attributes:
        pairs: The training pairs.
        without_positive: Ids of queries none of whose relevant passages is in the collection; left out.
        without_negative: Ids of queries beside whose relevant passages stage 1 found too little; left out.
    """

    pairs: list[LabelledPair] = field(default_factory=list)
    without_positive: list[str] = field(default_factory=list)
    without_negative: list[str] = field(default_factory=list)


def mine_collection(
    kit: SearchKit,
    judged: JudgedQueries,
    config: MiningConfig,
    *,
    depth: int = 100,
    on_progress: Callable[[int], None] | None = None,
) -> Mined:
    """Return pairs for the judged queries, with negatives from the first stage of ``kit``.

    A query that occurs several times with the same criteria, as in a log of clicks, is asked once: what is relevant in
    one place is no negative in another. Criteria keep queries apart: a passage that is relevant to a query under other
    criteria is the best of negatives.

    Args:
        kit: The collection; its reranker is not used.
        judged: Queries, criteria and relevant passages.
        config: Which of the passages found become negatives.
        depth: How deep stage 1 looks.
        on_progress: Gets the number of queries finished since its last call.
    """
    mined = Mined()
    relevant = _relevant(judged)
    for start in range(0, len(judged.queries), _BATCH):
        batch = judged.queries[start : start + _BATCH]
        results = kit.search_batch([query.text for query in batch], top_k=depth, candidate_depth=depth, rerank=False)
        for query, result in zip(batch, results, strict=True):
            _mine_one(mined, query, _positives(kit, relevant[_asked(query)], result), result, config)
        if on_progress is not None:
            on_progress(len(batch))
    mined.pairs = list(dict.fromkeys(mined.pairs))
    return mined


def _asked(query: JudgedQuery) -> tuple[str, str]:
    return normalised(query.text), normalised(query.criteria or "")


def _relevant(judged: JudgedQueries) -> dict[tuple[str, str], list[str]]:
    """Return the ids of what is relevant to each query, wherever and however it is spelled among the queries."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for query in judged.queries:
        grades = judged.qrels[query.id]
        found.setdefault(_asked(query), {}).update(dict.fromkeys(key for key, grade in grades.items() if grade > 0))
    return {asked: list(keys) for asked, keys in found.items()}


def _mine_one(
    mined: Mined, query: JudgedQuery, positives: Mapping[str, str], result: SearchResult, config: MiningConfig
) -> None:
    if not positives:
        mined.without_positive.append(query.id)
        return
    # The fused score only counts ranks; how near a passage comes to the relevant one is the cosine similarity.
    ranking = [RankedPassage(text=_read(hit), score=hit.retrieval.dense_score or 0.0) for hit in result]
    pairs = mine_pairs(
        {query.text: list(positives.values())},
        {query.text: ranking},
        config,
        criteria={query.text: query.criteria} if query.criteria else None,
    )
    mined.pairs.extend(pairs)
    if not pairs:
        mined.without_negative.append(query.id)


def _positives(kit: SearchKit, relevant: Sequence[str], result: SearchResult) -> dict[str, str]:
    """Return the relevant passages by id: the window that stage 1 found where it did, else the whole text."""
    found = {str(hit.id): _read(hit) for hit in result if str(hit.id) in relevant}
    absent = [key for key in relevant if key not in found]
    # Qrels name the passage 7 as "7"; the collection may know it under either.
    ids: list[PassageId] = [*absent, *(int(key) for key in absent if key.isascii() and key.isdigit())]
    stored = {str(passage.id): passage.text for passage in kit.get(ids)} if ids else {}
    return {key: found.get(key) or stored[key] for key in relevant if key in found or key in stored}


def _read(hit: Hit) -> str:
    return hit.text if hit.snippet is None else hit.snippet.text
