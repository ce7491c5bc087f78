"""SearchKit: encode, retrieve, rerank, cut; synchronous and asynchronous edges over pure steps."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from searchkit.collection import open_collection
from searchkit.config import SearchKitConfig
from searchkit.deadline import CANCELLATION
from searchkit.encoding import Bm25Encoder, SentenceEncoder
from searchkit.errors import ConfigError
from searchkit.foreign import candidates_from
from searchkit.pipeline import TwoStagePipeline
from searchkit.progress import progress_bar
from searchkit.request import checked_request, checked_text
from searchkit.reranking import CrossEncoderReranker
from searchkit.reranking.scheduler import ScheduledReranker
from searchkit.stages import Encoder, Reranker, SparseEncoder
from searchkit.types import AddReport, Passage, PassageId, SearchMode, SearchResult

if TYPE_CHECKING:
    from searchkit.collection import Collection
    from searchkit.collection.attached import AttachedCollection

T = TypeVar("T")

DEFAULT_PATH = ".searchkit"


class SearchKit:
    """A collection of passages with a two-stage search.

    Safe to use from several threads. Use it as a context manager, or call `close`.

    Args:
        collection: Name of the collection.
        path: Folder of the embedded engine; the collection lies in ``path/collection``. Default ``.searchkit``.
        url: Address of a Qdrant server; excludes ``path`` and ``client``.
        client: A ``QdrantClient`` of yours, ``":memory:"`` included; it is never closed here.
        api_key: Key for ``url``.
        encoder: Bi-encoder object; default `SentenceEncoder`.
        reranker: Cross-encoder object; default `CrossEncoderReranker` with the shipped model.
        config: All other settings.

    Raises:
        ConfigError: The arguments contradict each other or have the wrong type.
        CollectionError: The collection exists and was made with other settings, is damaged, locked, or not ours.
    """

    def __init__(
        self,
        collection: str,
        *,
        path: str | Path | None = None,
        url: str | None = None,
        client: Any = None,
        api_key: str | None = None,
        encoder: Encoder | None = None,
        reranker: Reranker | None = None,
        config: SearchKitConfig | None = None,
    ) -> None:
        _check_place(path, url, client, api_key)
        _check_objects(encoder, reranker, config)
        settings = config or SearchKitConfig()
        dense, sparse = encoder or SentenceEncoder(), Bm25Encoder()
        opened = open_collection(
            collection,
            path=DEFAULT_PATH if url is None and client is None and path is None else path,
            url=url,
            client=client,
            api_key=api_key,
            encoder=dense,
            sparse_encoder=sparse,
            config=settings,
        )
        self._wire(opened, dense, sparse, reranker, settings)

    @classmethod
    def attach(
        cls,
        collection: str,
        *,
        client: Any = None,
        url: str | None = None,
        api_key: str | None = None,
        text_field: str | None = None,
        vector: str | None = None,
        encoder: Encoder | None = None,
        reranker: Reranker | None = None,
        config: SearchKitConfig | None = None,
        check_encoder: bool = True,
    ) -> SearchKit:
        """Return a kit that searches a collection of another tool's, without indexing anything again; read-only.

        Payload layout and vectors are detected for LangChain, LlamaIndex, Haystack, mcp-server-qdrant and the former
        ``QdrantClient.add``. Filters name metadata keys, wherever the layout keeps them. Where there is no BM25
        vector, ``mode="hybrid"`` searches the dense one, and the result's ``mode`` says so.

        Args:
            collection: Name of the collection.
            client: A ``QdrantClient`` of yours; it is never closed here.
            url: Address of a Qdrant server; excludes ``client``.
            api_key: Key for ``url``.
            text_field: Payload field of the text, where it cannot be detected.
            vector: Name of the dense vector, where it cannot be detected.
            encoder: The bi-encoder that wrote the dense vectors; default `SentenceEncoder`.
            reranker: Cross-encoder object; default `CrossEncoderReranker` with the shipped model.
            config: All other settings.
            check_encoder: Whether some texts are encoded again, to refuse an encoder that wrote other vectors.

        Raises:
            ConfigError: The arguments contradict each other or have the wrong type.
            CollectionError: The collection is missing, its layout or vectors are not certain, or the encoder is
                another one; the message lists what was found and the argument that settles it.
        """
        from searchkit.collection.attach import attach_collection  # loads qdrant-client, which most kits never need

        _check_place(None, url, client, api_key)
        _check_objects(encoder, reranker, config)
        settings = config or SearchKitConfig()
        dense, sparse = encoder or SentenceEncoder(), Bm25Encoder()
        attached = attach_collection(
            collection,
            client=client,
            url=url,
            api_key=api_key,
            text_field=text_field,
            vector=vector,
            encoder=dense,
            sparse_encoder=sparse,
            config=settings,
            check_encoder=check_encoder,
        )
        kit = cls.__new__(cls)
        kit._wire(attached, dense, sparse, reranker, settings, has_sparse=attached.has_sparse)
        return kit

    def _wire(
        self,
        collection: Collection | AttachedCollection,
        dense: Encoder,
        sparse: SparseEncoder,
        reranker: Reranker | None,
        settings: SearchKitConfig,
        *,
        has_sparse: bool = True,
    ) -> None:
        self._collection = collection
        self._has_sparse = has_sparse
        self._max_passage_chars = settings.ingest.max_passage_chars
        self._reranker = reranker or CrossEncoderReranker()
        self._scheduled = ScheduledReranker(self._reranker, cache_bytes=settings.score_cache_bytes)
        self._pipeline = TwoStagePipeline(
            encoder=dense,
            sparse_encoder=sparse,
            retriever=collection,
            reranker=self._scheduled,
            get=collection.get,
            config=settings,
        )
        self._threads = ThreadPoolExecutor(max_workers=32, thread_name_prefix=f"searchkit-{collection.name}")

    @property
    def name(self) -> str:
        """Name of the collection."""
        return self._collection.name

    @property
    def reranker(self) -> Reranker:
        """The cross-encoder of stage 2."""
        return self._reranker

    def __repr__(self) -> str:
        return f"SearchKit({self.name!r}, {self._collection.location})"

    def __enter__(self) -> SearchKit:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the collection and the threads; safe to call twice. A client that you gave stays open."""
        self._scheduled.close()
        self._threads.shutdown(wait=True)
        self._collection.close()

    def add(
        self, passages: Iterable[str | Mapping[str, Any] | Passage], *, show_progress: bool | None = None
    ) -> AddReport:
        """Index passages and return what happened to each.

        Idempotent: a passage that is there with the same text and metadata is not encoded again. An interrupted call
        is resumed by making it again. A sequence is checked completely before anything is written; of an iterator,
        the batches before a bad passage stay.

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
            return self._collection.add(passages, on_progress=advance)

    def delete(self, ids: Sequence[PassageId] | None = None, *, filter: Any = None) -> int:  # noqa: A002
        """Delete passages by id or by filter (exactly one of the two) and return how many there were."""
        return self._collection.delete(ids, filter=filter)

    def get(self, ids: Sequence[PassageId]) -> list[Passage]:
        """Return the passages with these ids, whole, in the order asked; unknown ids are left out."""
        return self._collection.get(ids)

    def count(self, filter: Any = None) -> int:  # noqa: A002
        """Return the number of passages, or of those that match ``filter``."""
        return self._collection.count(filter)

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
                All fields must match. A ``qdrant_client.models.Filter`` is taken as it is.
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
        return self._pipeline.search(texts, requests) if texts else []

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
        return await self._in_thread(
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
            )
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
        return await self._in_thread(
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
            )
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
            passages: The candidates; one without an id gets its position.
            scores: Their first-stage scores, higher is better; kept on the hits, and they break ties.
            top_k: Hits wanted at most; ``None`` keeps all.
            criteria: What makes a passage relevant, in words.
            deadline_s: Seconds that the call may take.

        Raises:
            ConfigError: An argument has a value that cannot work.
            PayloadError: A passage is unusable.
            RerankError: Stage 2 failed and ``config.on_rerank_error`` is "raise".
        """
        depth = max(1, len(passages))
        request = checked_request(
            {"top_k": depth if top_k is None else top_k, "criteria": criteria, "deadline_s": deadline_s}
            | {"candidate_depth": max(depth, top_k) if isinstance(top_k, int) else depth}
        )
        candidates = candidates_from(passages, scores, self._max_passage_chars)
        return self._pipeline.rerank(checked_text(query), request, candidates)

    def _possible(self, mode: SearchMode) -> SearchMode:
        if mode == "sparse" and not self._has_sparse:
            raise ConfigError(f'mode="sparse" cannot be used: {self._collection.location}; pass mode="dense"')
        return "dense" if mode == "hybrid" and not self._has_sparse else mode

    async def _in_thread(self, work: Callable[[], T]) -> T:
        cancelled = threading.Event()
        context = contextvars.copy_context()
        context.run(CANCELLATION.set, cancelled)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, context.run, work)
        except asyncio.CancelledError:
            cancelled.set()  # what the search still waits for leaves the queue
            raise


def _one_each(criteria: str | Sequence[str | None] | None, count: int) -> Sequence[str | None]:
    if criteria is None or isinstance(criteria, str):
        return [criteria] * count
    if len(criteria) != count:
        raise ConfigError(
            f"{len(criteria)} criteria for {count} queries: pass one string for all, or one entry a query"
        )
    return criteria


def _check_place(path: object, url: object, client: object, api_key: object) -> None:
    given = [name for name, value in (("path", path), ("url", url), ("client", client)) if value is not None]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} were given: a collection lies in one place; pass one of them")
    if api_key is not None and url is None:
        raise ConfigError("api_key was given without url: only a server asks for a key; pass url= as well")


def _check_objects(encoder: object, reranker: object, config: object) -> None:
    wanted = (
        ("encoder", encoder, Encoder, 'SentenceEncoder("BAAI/bge-small-en-v1.5")'),
        ("reranker", reranker, Reranker, 'CrossEncoderReranker("cross-encoder/ms-marco-MiniLM-L6-v2")'),
        ("config", config, SearchKitConfig, "SearchKitConfig(windows=WindowConfig(max_tokens=128))"),
    )
    for name, value, kind, example in wanted:
        if value is not None and not isinstance(value, kind):
            raise ConfigError(f"{name}={value!r:.80} is no {kind.__name__}: pass an object such as {example}")
