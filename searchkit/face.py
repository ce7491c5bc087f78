"""The calls of a kit: search, rerank, add, delete, get, count; sync and async edges over pure steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Sized
from functools import partial
from typing import TYPE_CHECKING, Any

from searchkit.awaited import in_thread
from searchkit.deadline import arrived
from searchkit.errors import ConfigError
from searchkit.foreign import candidates_from
from searchkit.parts import Parts
from searchkit.progress import progress_bar
from searchkit.request import MAX_DEPTH, check_sequence, checked_request, checked_text
from searchkit.types import AddReport, Passage, PassageId, SearchMode, SearchResult

if TYPE_CHECKING:
    from searchkit.stages import Reranker


class KitFace:
    """The calls that `searchkit.SearchKit` and what is derived from one have in common.

    Args:
        parts: What the calls work on.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @property
    def parts(self) -> Parts:
        """What the calls work on."""
        return self._parts

    @property
    def name(self) -> str:
        """Name of the collection."""
        return self._parts.collection.name

    @property
    def reranker(self) -> Reranker:
        """The cross-encoder of stage 2."""
        return self._parts.reranker

    def add(
        self, passages: Iterable[str | Mapping[str, Any] | Passage], *, show_progress: bool | None = None
    ) -> AddReport:
        """Index passages and return what happened to each.

        Idempotent: a passage that is there with the same text and metadata is not encoded again. An interrupted call
        is resumed by making it again. A sequence is checked completely before anything is written; of an iterator,
        the batches before a bad passage stay.

        A scoped kit writes the fields of its scope itself.

        Args:
            passages: Strings, dicts (``id``, ``text``, everything else is metadata) or `Passage` objects. Any
                iterable; it is streamed.
            show_progress: Whether to show a progress bar; ``None`` shows it when standard error is a terminal.

        Raises:
            PayloadError: A passage cannot be indexed; the message says which and why.
            CollectionError: The collection was made with other settings, or is locked or damaged.
            EncodingError: The encoder returned unusable vectors.
        """
        total = len(passages) if isinstance(passages, Sized) else None
        with progress_bar(total, "passages", show=show_progress) as advance:
            return self._parts.collection.add(passages, on_progress=advance)

    def delete(self, ids: Sequence[PassageId] | None = None, *, filter: Any = None) -> int:  # noqa: A002
        """Delete passages by id or by filter (exactly one of the two) and return how many there were."""
        return self._parts.collection.delete(ids, filter=filter)

    def get(self, ids: Sequence[PassageId]) -> list[Passage]:
        """Return the passages with these ids, whole, in the order asked; unknown ids are left out."""
        return self._parts.collection.get(ids)

    def count(self, filter: Any = None) -> int:  # noqa: A002
        """Return the number of passages, or of those that match ``filter``."""
        return self._parts.collection.count(filter)

    def search(
        self,
        query: str,
        *,
        top_k: int = 10,
        candidate_depth: int = 50,
        criteria: str | None = None,
        filter: Any = None,  # noqa: A002
        min_score: float | None = None,
        deadline_s: float | None = None,
        mode: SearchMode = "hybrid",
        rerank: bool = True,
        group_by: str | None = None,
    ) -> SearchResult:
        """Return the best passages for ``query``.

        Args:
            query: What both stages read.
            top_k: Hits wanted at most.
            candidate_depth: Passages that stage 1 hands to stage 2; at least ``top_k``.
            criteria: What makes a passage relevant, in words; stage 2 alone reads it, beside the query.
            filter: Condition on the metadata: ``{"lang": "en"}`` (equal), ``{"lang": ["en", "de"]}`` (any of),
                ``{"year": {"gte": 2020, "lt": 2024}}``, ``{"lang": {"not": "en"}}``, ``{"isbn": {"exists": True}}``.
                All fields must match; ``{"$or": [{...}, {...}]}``, ``"$and"`` and ``{"$not": {...}}`` combine filters.
                A ``qdrant_client.models.Filter`` is taken as it is.
            min_score: Least probability of a hit, 0..1; fewer hits or none may come back.
            deadline_s: Seconds that the whole search may take; the result says what was left undone.
            mode: "hybrid", or one leg of stage 1 alone.
            rerank: Whether stage 2 runs.
            group_by: Metadata field; of each of its values only the best hit is kept.

        Raises:
            ConfigError: An argument has a value that cannot work.
            RetrievalError: Stage 1 failed.
            ModelLoadError: The model of stage 2 cannot be found or loaded.
            RerankError: Stage 2 failed and ``config.on_rerank_error`` is "raise".
        """
        if criteria is not None and not isinstance(criteria, str):
            raise ConfigError(f"criteria must be a string, got {type(criteria).__name__}: pass words, or None")
        return self.search_batch(
            [query],
            top_k=top_k,
            candidate_depth=candidate_depth,
            criteria=criteria,
            filter=filter,
            min_score=min_score,
            deadline_s=deadline_s,
            mode=mode,
            rerank=rerank,
            group_by=group_by,
        )[0]

    def search_batch(
        self,
        queries: Sequence[str],
        *,
        top_k: int = 10,
        candidate_depth: int = 50,
        criteria: str | Sequence[str | None] | None = None,
        filter: Any = None,  # noqa: A002
        min_score: float | None = None,
        deadline_s: float | None = None,
        mode: SearchMode = "hybrid",
        rerank: bool = True,
        group_by: str | None = None,
    ) -> list[SearchResult]:
        """Search for several queries in the shared batches of both stages; one result a query, in order.

        Arguments are those of `search`; ``criteria`` may also be one entry a query.
        """
        if isinstance(queries, str):
            raise ConfigError("queries is one string: pass a list of strings, or call search()")
        check_sequence(queries, "queries")
        arguments = {
            "top_k": top_k,
            "candidate_depth": candidate_depth,
            "filter": filter,
            "min_score": min_score,
            "deadline_s": deadline_s,
            "mode": self._possible(mode),
            "rerank": rerank,
            "group_by": group_by,
        }
        texts = [checked_text(query) for query in queries]
        requests = [checked_request({**arguments, "criteria": one}) for one in _one_each(criteria, len(texts))]
        if not texts:
            checked_request(arguments)  # a mistake is one without a query too
            return []
        return self._parts.pipeline.search(texts, requests)

    async def asearch(
        self,
        query: str,
        *,
        top_k: int = 10,
        candidate_depth: int = 50,
        criteria: str | None = None,
        filter: Any = None,  # noqa: A002
        min_score: float | None = None,
        deadline_s: float | None = None,
        mode: SearchMode = "hybrid",
        rerank: bool = True,
        group_by: str | None = None,
    ) -> SearchResult:
        """Do what `search` does without blocking the event loop."""
        return await in_thread(
            self._parts.threads,
            partial(
                self.search,
                query,
                top_k=top_k,
                candidate_depth=candidate_depth,
                criteria=criteria,
                filter=filter,
                min_score=min_score,
                deadline_s=deadline_s,
                mode=mode,
                rerank=rerank,
                group_by=group_by,
            ),
            deadline_s,
        )

    async def asearch_batch(
        self,
        queries: Sequence[str],
        *,
        top_k: int = 10,
        candidate_depth: int = 50,
        criteria: str | Sequence[str | None] | None = None,
        filter: Any = None,  # noqa: A002
        min_score: float | None = None,
        deadline_s: float | None = None,
        mode: SearchMode = "hybrid",
        rerank: bool = True,
        group_by: str | None = None,
    ) -> list[SearchResult]:
        """Do what `search_batch` does without blocking the event loop."""
        return await in_thread(
            self._parts.threads,
            partial(
                self.search_batch,
                queries,
                top_k=top_k,
                candidate_depth=candidate_depth,
                criteria=criteria,
                filter=filter,
                min_score=min_score,
                deadline_s=deadline_s,
                mode=mode,
                rerank=rerank,
                group_by=group_by,
            ),
            deadline_s,
        )

    def rerank(
        self,
        query: str,
        passages: Sequence[str | Mapping[str, Any] | Passage],
        *,
        scores: Sequence[float] | None = None,
        top_k: int | None = None,
        criteria: str | None = None,
        deadline_s: float | None = None,
    ) -> SearchResult:
        """Do stage 2 alone, on candidates found elsewhere. Nothing is stored.

        Args:
            query: What the cross-encoder reads.
            passages: The candidates, at most 10,000; one without an id gets its position.
            scores: Their first-stage scores, higher is better; kept on the hits, and they break ties.
            top_k: Hits wanted at most; ``None`` keeps all.
            criteria: What makes a passage relevant, in words.
            deadline_s: Seconds that the call may take.

        Raises:
            ConfigError: An argument has a value that cannot work.
            PayloadError: A passage is unusable.
            RerankError: Stage 2 failed and ``config.on_rerank_error`` is "raise".
        """
        with arrived():  # checking thousands of passages takes its time too
            check_sequence(passages, "passages")
            if len(passages) > MAX_DEPTH:
                raise ConfigError(f"{len(passages):,} passages are more than {MAX_DEPTH:,}: rerank them in parts")
            depth = max(1, len(passages))
            request = checked_request(
                {"top_k": depth if top_k is None else top_k, "criteria": criteria, "deadline_s": deadline_s}
                | {"candidate_depth": max(depth, top_k) if isinstance(top_k, int) else depth}
            )
            candidates = candidates_from(passages, scores, self._parts.max_passage_chars)
            return self._parts.pipeline.rerank(checked_text(query), request, candidates)

    def _possible(self, mode: SearchMode) -> SearchMode:
        if mode == "sparse" and not self._parts.has_sparse:
            raise ConfigError(f'mode="sparse" cannot be used: {self._parts.collection.location}; pass mode="dense"')
        return "dense" if mode == "hybrid" and not self._parts.has_sparse else mode


def _one_each(criteria: str | Sequence[str | None] | None, count: int) -> Sequence[str | None]:
    if criteria is None or isinstance(criteria, str):
        return [criteria] * count
    check_sequence(criteria, "criteria")
    if len(criteria) != count:
        raise ConfigError(
            f"{len(criteria)} criteria for {count} queries: pass one string for all, or one entry a query"
        )
    return criteria
