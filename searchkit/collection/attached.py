"""A collection that another tool owns, searched as it is: not indexed again, and written to only if asked."""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, TypeVar

from qdrant_client import QdrantClient, models

from searchkit.collection.attached_answers import DENSE, SPARSE, Answers, Attachment, canonical_id, plain_id
from searchkit.collection.attached_filters import native_filter, rendered, unseen_beside
from searchkit.collection.attached_writing import AttachedWriter
from searchkit.collection.backends.base import SCAN_PAGE
from searchkit.collection.backends.client_calls import ClientCalls
from searchkit.collection.backends.client_connection import is_local
from searchkit.collection.backends.client_requests import rarity_within
from searchkit.collection.passages import RecordStream, check_selection, checked_ids
from searchkit.collection.retrieval import MOST_DOUBLINGS
from searchkit.collection.scope import EVERYTHING, Scope
from searchkit.config import SearchKitConfig
from searchkit.errors import CollectionError, RetrievalError
from searchkit.stages import Candidate, RetrievalRequest
from searchkit.types import AddReport, Passage, PassageId

T = TypeVar("T")


class AttachedCollection:
    """Another tool's collection through qdrant-client, one passage a point. Safe to use from several threads.

    Args:
        client: The client.
        calls: Makes its calls.
        name: Name of the collection.
        attachment: What was found out about it.
        config: Settings of fusion and search.
        writer: What writes into it; ``None`` refuses to.
        owns_client: Whether `close` closes the client.
    """

    def __init__(
        self,
        client: QdrantClient,
        calls: ClientCalls,
        name: str,
        attachment: Attachment,
        config: SearchKitConfig,
        writer: AttachedWriter | None,
        *,
        owns_client: bool,
    ) -> None:
        self._client = client
        self._calls = calls
        self._name = name
        self._found = attachment
        self._config = config
        self._owns_client = owns_client
        self._writer = writer
        self._answers = Answers(name, attachment, config.fusion)
        # The local mode searches exactly, and warns about parameters that mean nothing to it.
        self._params = None if is_local(client) else models.SearchParams(hnsw_ef=config.hnsw.ef_search)
        self._scope = EVERYTHING
        self._closed = threading.Event()  # an object, because the views of scopes share it

    @property
    def name(self) -> str:
        """Name of the collection."""
        return self._name

    @property
    def location(self) -> str:
        """Which vectors of which layout are searched, for messages."""
        dense, sparse = self._found.dense.name, self._found.sparse_name
        legs = f"dense vector {dense!r}" + ("" if sparse is None else f" and sparse vector {sparse!r}")
        return f"attached to a {self._found.layout.name} layout, {legs}"

    @property
    def exists(self) -> bool:
        """Whether there is something to search."""
        return True

    @property
    def is_read_only(self) -> bool:
        """Whether writing is refused."""
        return self._writer is None

    @property
    def has_sparse(self) -> bool:
        """Whether there is a BM25 leg."""
        return self._found.sparse_name is not None

    def scoped(self, scope: Scope) -> AttachedCollection:
        """Return a view that reads what lies within ``scope`` alone, and writes nothing.

        Ids are the other tool's, so one scope could overwrite another's passage, or find out that there is one.
        """
        view = copy.copy(self)
        view._scope = scope
        view._writer = None
        return view

    def close(self) -> None:
        """Take no more calls, and close the client if it was made here; safe to call twice."""
        self._closed.set()
        if self._owns_client:
            self._client.close()

    def add(
        self,
        passages: Iterable[str | Mapping[str, Any] | Passage],
        *,
        on_progress: Callable[[int], None] | None = None,
    ) -> AddReport:
        """Write passages as the tool that owns the collection writes them, and report what happened to each.

        Raises:
            CollectionError: The collection is only read.
            PayloadError: A passage is unusable, or its id or metadata cannot lie in this layout.
            EncodingError: An encoder returned unusable vectors.
        """
        writer = self._writable("add to")
        return writer.write(RecordStream(passages, self._config.ingest.max_passage_chars), on_progress)

    def delete(self, ids: Sequence[PassageId] | None = None, filter: Any = None) -> int:  # noqa: A002
        """Delete passages by id or by filter, exactly one of the two, and return how many there were.

        Raises:
            ConfigError: Both or neither are given, or the filter is empty or unusable.
            CollectionError: The collection is only read.
        """
        writer = self._writable("delete from")
        check_selection(ids, filter)
        points = self._matching(filter) if ids is None else self._points_of(checked_ids(ids))
        for start in range(0, len(points), SCAN_PAGE):
            writer.delete(points[start : start + SCAN_PAGE])
        return len(points)

    def optimize(self, *, wait: bool = True) -> bool:  # noqa: ARG002
        """Nothing to do: a server optimizes by itself, and the local mode has no index."""
        return False

    @property
    def is_optimizing(self) -> bool:
        """Never in this process."""
        return False

    def get(self, ids: Sequence[PassageId]) -> list[Passage]:
        """Return the passages with these ids, in the order asked; unknown ids and points without text are left out.

        Raises:
            PayloadError: ``ids`` is not a list of ids.
        """
        asked = checked_ids(ids)
        records = self._records(asked)
        read = {plain_id(record.id): record.payload or {} for record in records}
        readable, textless = self._answers.readable(read, self._scope)
        self._answers.warn_of(textless)
        known = {passage.id: passage for passage in readable.values()}
        wanted = asked if self._found.layout.id_key is not None else [canonical_id(one) for one in asked]
        return [known[one] for one in wanted if one in known]

    def whole_texts(self, candidates: Sequence[Candidate]) -> dict[PassageId, str]:
        """Return the texts of candidates by `Candidate.passage`; a point is a whole passage here."""
        return {candidate.passage: candidate.text for candidate in candidates}

    def count(self, filter: Any = None) -> int:  # noqa: A002
        """Return the number of points, or of those that match ``filter``."""
        condition = self._native(filter)
        return self._run("count", lambda: int(self._client.count(self._name, count_filter=condition, exact=True).count))

    def retrieve(self, requests: Sequence[RetrievalRequest]) -> list[list[Candidate]]:
        """Return each request's candidates, best first; the legs of all requests are one batch query.

        Where points without text crowd out the others, the legs are fetched again, twice as deep.
        """
        found: list[list[Candidate]] = [[] for _ in requests]
        textless: list[list[PassageId]] = [[] for _ in requests]
        legs = {number: self._legs(request) for number, request in enumerate(requests)}
        for _ in range(MOST_DOUBLINGS + 1):
            crowded = {}
            for (number, queries), answers in zip(legs.items(), self._answered(list(legs.values())), strict=True):
                depth = requests[number].depth
                found[number], textless[number] = self._answers.candidates(depth, answers, self._scope)
                is_full = any(len(answers[leg]) >= (query.limit or 0) for leg, query in queries.items())
                if is_full and len(found[number]) < depth:
                    crowded[number] = {leg: _deeper(query) for leg, query in queries.items()}
            legs = crowded
            if not legs:
                break
        self._answers.warn_of(chain.from_iterable(textless))
        return found

    def _answered(self, legs: Sequence[Mapping[str, models.QueryRequest]]) -> list[dict[str, list[models.ScoredPoint]]]:
        """Return the points that each leg of each request finds."""
        queries = [query for per_request in legs for query in per_request.values()]
        if not queries:
            return [{} for _ in legs]
        found = self._run("search", lambda: self._client.query_batch_points(self._name, requests=queries))
        if len(found) != len(queries):
            raise RetrievalError(f"cannot search {self._name}: {len(found)} answers came for {len(queries)} searches")
        answers = iter(found)
        return [{leg: next(answers).points for leg in per_request} for per_request in legs]

    def _run(self, action: str, call: Callable[[], T]) -> T:
        if self._closed.is_set():
            raise CollectionError(f"{self._name!r} is closed; attach to it again with SearchKit.attach")
        return self._calls.run(action, call)

    def _native(self, raw: object) -> models.Filter | None:
        given = native_filter(raw, self._found.layout)
        if self._scope.condition is None:
            return given
        bound = rendered(self._scope.condition, self._found.layout)
        return bound if given is None else models.Filter(must=[bound, given])

    def _legs(self, request: RetrievalRequest) -> dict[str, models.QueryRequest]:
        condition = self._native(request.filter)
        limit = math.ceil(request.depth * self._config.fusion.leg_depth_factor)
        shared: dict[str, Any] = {"filter": condition, "limit": limit, "with_payload": True}
        legs = {}
        if request.dense is not None:
            legs[DENSE] = models.QueryRequest(
                query=request.dense.tolist(),
                using=self._found.dense.name or None,
                params=self._params,
                **shared,
            )
        if request.sparse is not None and request.sparse.indices and self._found.sparse_name is not None:
            words = models.SparseVector(indices=request.sparse.indices, values=request.sparse.values)
            corpus = self._scope.condition and rendered(self._scope.condition, self._found.layout)
            params = rarity_within(corpus)
            legs[SPARSE] = models.QueryRequest(query=words, using=self._found.sparse_name, params=params, **shared)
        return legs

    def _records(self, ids: Sequence[PassageId]) -> list[models.Record]:
        key = self._found.layout.id_key
        if key is None:
            points = [one for one in map(canonical_id, ids) if one is not None]
            if not points:
                return []
            return self._run("read", lambda: self._client.retrieve(self._name, points, with_payload=True))
        names = [one for one in ids if isinstance(one, str)]
        condition = models.FieldCondition(key=key, match=models.MatchAny(any=names))
        chosen = models.Filter(must=[condition])
        return self._run(
            "read", lambda: self._client.scroll(self._name, scroll_filter=chosen, limit=max(1, len(names)))
        )[0]

    def _points_of(self, ids: Sequence[PassageId]) -> list[PassageId]:
        return list(dict.fromkeys(plain_id(record.id) for record in self._records(ids)))

    def _matching(self, condition: Any) -> list[PassageId]:
        """Return the points that a filter matches, to be deleted.

        Raises:
            CollectionError: One has a key of the filter where the filter did not look, so that "not" proves nothing.
        """
        native = self._native(condition)
        unseen = unseen_beside(condition, self._found.layout)
        read = models.PayloadSelectorExclude(exclude=[self._found.layout.text_key]) if unseen else False
        points: list[PassageId] = []
        offset: Any = None

        def page() -> tuple[list[models.Record], Any]:
            return self._client.scroll(self._name, native, limit=SCAN_PAGE, offset=offset, with_payload=read)

        while True:
            records, offset = self._run("read", page)
            for record in records:
                for key in unseen.intersection(record.payload or {}):
                    raise CollectionError(
                        f"nothing was deleted: point {record.id!r} keeps {key!r} beside its metadata, where the "
                        "filter did not look, because no point sampled while attaching had it there; delete by ids, or "
                        "make a payload index on it and attach again"
                    )
            points += [plain_id(record.id) for record in records]
            if offset is None:
                return points

    def _writable(self, what: str) -> AttachedWriter:
        if self._scope.fields:
            raise CollectionError(
                f"cannot {what} {self._name!r} through a scope: it is attached, and its ids are those of another tool; "
                "write without the scope, or add the passages to a SearchKit of your own"
            )
        if self._writer is None:
            raise CollectionError(
                f"cannot {what} {self._name!r}: it is attached, and its {self._found.layout.name} layout is only read;"
                " attach it with read_only=False, or add the passages to a SearchKit of your own"
            )
        return self._writer


def _deeper(query: models.QueryRequest) -> models.QueryRequest:
    return query.model_copy(update={"limit": 2 * (query.limit or 0)})
