"""What a kit is made of: a collection, both stages wired around it, and the threads of its asynchronous calls."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

from searchkit.config import SearchKitConfig
from searchkit.pipeline import TwoStagePipeline
from searchkit.reranking import CrossEncoderReranker
from searchkit.reranking.scheduler import ScheduledReranker
from searchkit.stages import Encoder, Reranker, SparseEncoder
from searchkit.threads import ForkSafeThreads

if TYPE_CHECKING:
    from searchkit.collection import Collection
    from searchkit.collection.attached import AttachedCollection
    from searchkit.collection.scope import Scope


@dataclass(frozen=True, slots=True)
class Parts:
    """What a kit is made of.

    Attributes:
        collection: Stage 1, and what reads and writes passages.
        reranker: The cross-encoder of stage 2.
        scheduled: Stage 2 as many callers may use it at once.
        pipeline: Both stages, wired.
        threads: Where asynchronous calls run.
        has_sparse: Whether the collection has a BM25 leg.
        max_passage_chars: Longest passage that is accepted.
    """

    collection: Collection | AttachedCollection
    reranker: Reranker
    scheduled: ScheduledReranker
    pipeline: TwoStagePipeline
    threads: ForkSafeThreads
    has_sparse: bool
    max_passage_chars: int

    def __deepcopy__(self, memo: dict[int, Any]) -> Parts:
        return self  # a copied retriever searches the same collection

    def __reduce__(self) -> NoReturn:
        raise TypeError("a kit holds threads and connections and cannot be pickled; make one in each process")

    def within(self, scope: Scope) -> Parts:
        """Return the same parts around a view of the collection, and scores of stage 2 that no other scope shares."""
        collection = self.collection.scoped(scope)
        scheduled = self.scheduled.apart(scope.namespace.hex())
        pipeline = self.pipeline.over(collection, scheduled, collection.whole_texts)
        return replace(self, collection=collection, scheduled=scheduled, pipeline=pipeline)


def wired(
    collection: Collection | AttachedCollection,
    dense: Encoder,
    sparse: SparseEncoder,
    reranker: Reranker | None,
    settings: SearchKitConfig,
    *,
    has_sparse: bool = True,
) -> Parts:
    """Return the parts of a kit over a collection that is open or will be."""
    model = reranker or CrossEncoderReranker()
    scheduled = ScheduledReranker(model, cache_bytes=settings.score_cache_bytes)
    pipeline = TwoStagePipeline(
        encoder=dense,
        sparse_encoder=sparse,
        retriever=collection,
        reranker=scheduled,
        whole_texts=collection.whole_texts,
        config=settings,
    )
    return Parts(
        collection=collection,
        reranker=model,
        scheduled=scheduled,
        pipeline=pipeline,
        threads=ForkSafeThreads(32, f"searchkit-{collection.name}"),
        has_sparse=has_sparse,
        max_passage_chars=settings.ingest.max_passage_chars,
    )
