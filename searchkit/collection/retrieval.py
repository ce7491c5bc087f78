"""Stage 1: both legs of all requests in one batch, windows grouped to passages, passages fused."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from searchkit.collection.backends.base import Backend, LegQuery
from searchkit.collection.fusion import Fused, Leg, fuse, rank_leg
from searchkit.collection.manifest import Manifest
from searchkit.collection.schema import ID, METADATA, TEXT, TOKENS, uuid_text, window_from
from searchkit.collection.scope import EVERYTHING, Scope
from searchkit.collection.vectors import checked_vectors
from searchkit.config import SearchKitConfig
from searchkit.errors import ConfigError, PayloadError
from searchkit.stages import Candidate, RetrievalRequest, SparseVector
from searchkit.types import PassageId, RetrievalEvidence

MOST_DOUBLINGS = 6
"""How often a leg is fetched again, twice as deep, when windows of few passages crowd out the others."""


@dataclass(slots=True)
class _Search:
    """One request on its way.

    Attributes:
        vectors: Dense and sparse vector; ``None`` for a leg that does not run.
        filter: The backend's filter.
        corpus: Another one: the points over which BM25 counts how rare a word is; ``None`` means all.
        depth: Passages wanted.
        limit: Windows to fetch in each leg.
        legs: What the legs returned, parallel to ``vectors``.
    """

    vectors: tuple[list[float] | None, SparseVector | None]
    filter: Any
    corpus: Any
    depth: int
    limit: int
    legs: list[Leg | None] = field(default_factory=lambda: [None, None])

    @property
    def queries(self) -> list[tuple[int, LegQuery]]:
        """The legs to send, each with its place."""
        return [
            (place, LegQuery(vector, self.limit, self.filter, self.corpus))
            for place, vector in enumerate(self.vectors)
            if vector is not None and (place == 0 or vector.indices)  # type: ignore[union-attr]
        ]

    @property
    def is_crowded(self) -> bool:
        """Whether there may be more passages than these legs show."""
        keys: set[int] = set()
        is_full = False
        for leg in self.legs:
            if leg is not None:
                keys.update(leg.ranks)
                is_full = is_full or len(leg.window_ranks) >= self.limit
        return is_full and len(keys) < self.depth


def retrieve(
    backend: Backend,
    manifest: Manifest,
    config: SearchKitConfig,
    requests: Sequence[tuple[RetrievalRequest, Any]],
    scope: Scope = EVERYTHING,
) -> list[list[Candidate]]:
    """Return each request's candidates, best first.

    Args:
        backend: The opened collection.
        manifest: What it was made with.
        config: Fusion and the number of windows a passage.
        requests: Each request with its filter in the backend's form, the scope's included.
        scope: What may be returned.
    """
    corpus = None if scope.condition is None else backend.render(scope.condition)
    searches = [_search(request, native, corpus, manifest, config) for request, native in requests]
    weights = (config.fusion.dense_weight, config.fusion.sparse_weight)
    pending = searches
    for _ in range(MOST_DOUBLINGS + 1):
        _run(backend, pending, weights)
        pending = [search for search in pending if search.is_crowded]
        if not pending:
            break
        for search in pending:
            search.limit *= 2
    fused = [_fused(search, config) for search in searches]
    points = {point: None for passages in fused for passage in passages for point in passage.windows}
    # The engine has filtered, but a passage may have changed since: what is handed out is what is looked at here.
    payloads = {point: one for point, one in backend.fetch(list(points)).items() if scope.admits(one.get(METADATA))}
    return [_candidates(search, passages, payloads) for search, passages in zip(searches, fused, strict=True)]


def _search(
    request: RetrievalRequest, native: Any, corpus: Any, manifest: Manifest, config: SearchKitConfig
) -> _Search:
    if type(request.depth) is not int or request.depth < 1:
        raise ConfigError(f"a request's depth is an integer of at least 1, not {request.depth!r}")
    dense = None
    if request.dense is not None:
        dense = checked_vectors([request.dense], 1, manifest.encoder)[0].tolist()
    limit = math.ceil(request.depth * config.fusion.leg_depth_factor)
    return _Search((dense, request.sparse), native, corpus, request.depth, limit)


def _run(backend: Backend, searches: Sequence[_Search], weights: tuple[float, float]) -> None:
    queries = [(search, place, query) for search in searches for place, query in search.queries]
    if not queries:
        return
    answers = backend.query([query for _, _, query in queries])
    for (search, place, _), points in zip(queries, answers, strict=True):
        # An engine may pad the BM25 leg with points that share no term with the query.
        kept = points if place == 0 else [scored for scored in points if scored[1] > 0]
        search.legs[place] = rank_leg(kept, weights[place])


def _fused(search: _Search, config: SearchKitConfig) -> list[Fused]:
    legs = [leg or Leg(0.0) for leg, vector in zip(search.legs, search.vectors, strict=True) if vector is not None]
    return fuse(legs, config.fusion.k, search.depth, config.windows_per_passage) if legs else []


def _candidates(
    search: _Search, passages: Sequence[Fused], payloads: Mapping[int, Mapping[str, Any]]
) -> list[Candidate]:
    present = []
    for passage in passages:
        stored = [(point, payloads[point]) for point in passage.windows if point in payloads]
        if stored:  # else it was deleted between the two calls
            present.append((passage, stored, _field(stored[0], ID)))
    # Passages were cut at `depth` by score and best rank; only now are the ids known that order what is still equal.
    ordered = []
    for _, equals in groupby(present, key=lambda entry: (entry[0].score, entry[0].best_rank)):
        ordered.extend(sorted(equals, key=lambda entry: id_order(entry[2])))
    candidates: list[Candidate] = []
    for rank, (passage, stored, passage_id) in enumerate(ordered, start=1):
        evidence = _evidence(search, passage, rank)
        candidates.extend(_candidate(passage_id, passage.key, entry, evidence) for entry in stored)
    return candidates


def id_order(passage_id: PassageId) -> tuple[bool, PassageId]:
    """Return a sort key for ids of both kinds: integers first, then strings."""
    return isinstance(passage_id, str), passage_id


def _evidence(search: _Search, passage: Fused, rank: int) -> RetrievalEvidence:
    dense, sparse = search.legs
    key = passage.key
    # The values are known to be right: validation would cost more than the fusion.
    return RetrievalEvidence.model_construct(
        rank=rank,
        fused_score=passage.score,
        dense_score=None if dense is None else dense.scores.get(key),
        dense_rank=None if dense is None else dense.ranks.get(key),
        sparse_score=None if sparse is None else sparse.scores.get(key),
        sparse_rank=None if sparse is None else sparse.ranks.get(key),
    )


def _candidate(
    passage_id: PassageId, key: int, stored: tuple[int, Mapping[str, Any]], evidence: RetrievalEvidence
) -> Candidate:
    payload = stored[1]
    return Candidate(
        id=passage_id,
        text=_field(stored, TEXT),
        metadata=payload.get(METADATA) or {},
        window=window_from(payload),
        evidence=evidence,
        token_ids=payload.get(TOKENS),
        key=key,
    )


def _field(stored: tuple[int, Mapping[str, Any]], name: str) -> Any:
    point, payload = stored
    try:
        return payload[name]
    except KeyError:
        raise PayloadError(
            f"point {uuid_text(point)} has no {name!r} in its payload: it was not written by searchkit, or was "
            "changed; delete it, or add its passage again"
        ) from None
