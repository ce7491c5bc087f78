"""The retriever."""

from __future__ import annotations

from typing import Any

from llama_index.core.callbacks import CallbackManager
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import IndexNode, NodeWithScore, QueryBundle, TextNode
from llama_index.core.settings import Settings

from searchkit.face import KitFace
from searchkit.integrations.llamaindex.filters import translated
from searchkit.integrations.llamaindex.nodes import ScoredNode
from searchkit.integrations.rerank_only import checked_count, checked_kit
from searchkit.types import Hit, SearchMode, SearchResult


class SearchKitRetriever(BaseRetriever):
    """A `SearchKit` as a LlamaIndex retriever; returns `ScoredNode`, best first.

    Criteria, filter and number of nodes can also be given per call, with a `SearchKitQuery`.

    Args:
        kit: The collection to search.
        similarity_top_k: Nodes wanted at most.
        candidate_depth: Passages that stage 1 hands to stage 2; raised to ``similarity_top_k`` where it is lower.
        criteria: What makes a passage relevant, in words; stage 2 alone reads it.
        filter: Condition on the metadata, as `SearchKit.search` takes it, or ``MetadataFilters``.
        min_score: Least probability of a node, 0..1; fewer nodes or none may come back.
        deadline_s: Seconds that the whole search may take.
        mode: "hybrid", or one leg of stage 1 alone.
        rerank: Whether stage 2 runs.
        group_by: Metadata field; of each of its values only the best passage is kept.
        callback_manager: Default ``Settings.callback_manager``.
        object_map: Objects by id; a passage of that id stands for its object, which LlamaIndex then retrieves from.
        objects: The same as index nodes.
        verbose: Whether LlamaIndex prints its way through objects.

    Raises:
        ConfigError: An argument has a value that cannot work.
    """

    def __init__(
        self,
        kit: KitFace,
        similarity_top_k: int = 4,
        candidate_depth: int = 50,
        criteria: str | None = None,
        filter: Any = None,  # noqa: A002
        min_score: float | None = None,
        deadline_s: float | None = None,
        mode: SearchMode = "hybrid",
        rerank: bool = True,
        group_by: str | None = None,
        callback_manager: CallbackManager | None = None,
        object_map: dict[str, Any] | None = None,
        objects: list[IndexNode] | None = None,
        verbose: bool = False,
    ) -> None:
        self._kit = checked_kit(kit)
        self._similarity_top_k = checked_count("similarity_top_k", similarity_top_k)
        self._candidate_depth = checked_count("candidate_depth", candidate_depth)
        self._criteria = criteria
        self._filter = translated(filter)
        self._fixed: dict[str, Any] = {
            "min_score": min_score,
            "deadline_s": deadline_s,
            "mode": mode,
            "rerank": rerank,
            "group_by": group_by,
        }
        super().__init__(
            callback_manager=callback_manager or Settings.callback_manager,
            object_map=object_map,
            objects=objects,
            verbose=verbose,
        )

    # The base class emits the retrieval events around both methods.
    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._nodes(self._kit.search(query_bundle.query_str, **self._arguments(query_bundle)))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._nodes(await self._kit.asearch(query_bundle.query_str, **self._arguments(query_bundle)))

    def _arguments(self, query: QueryBundle) -> dict[str, Any]:
        # Duck-typed, because query transforms of other people rebuild or subclass the bundle.
        top_k = getattr(query, "similarity_top_k", None)
        criteria = getattr(query, "criteria", None)
        condition = getattr(query, "filter", None)
        wanted = self._similarity_top_k if top_k is None else checked_count("similarity_top_k", top_k)
        return {
            **self._fixed,
            "top_k": wanted,
            "candidate_depth": max(self._candidate_depth, wanted),
            "criteria": self._criteria if criteria is None else criteria,
            "filter": self._filter if condition is None else translated(condition),
        }

    def _nodes(self, result: SearchResult) -> list[NodeWithScore]:
        return [
            ScoredNode(
                node=self._node(hit),
                score=float(hit.score),
                logit=hit.logit,
                retrieval_score=hit.retrieval.fused_score,
                retrieval_rank=hit.retrieval.rank,
            )
            for hit in result
        ]

    def _node(self, hit: Hit) -> TextNode:
        identity = str(hit.id)
        if identity in self.object_map:
            return IndexNode(id_=identity, index_id=identity, text=hit.text, extra_info=dict(hit.metadata))
        return TextNode(id_=identity, text=hit.text, metadata=dict(hit.metadata))
