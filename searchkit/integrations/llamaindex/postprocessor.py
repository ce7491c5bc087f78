"""Stage 2 alone, behind anyone's LlamaIndex retriever."""

from __future__ import annotations

from typing import Any

from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle
from llama_index_instrumentation import get_dispatcher
from pydantic import ConfigDict, Field, PrivateAttr, SkipValidation
from typing_extensions import override

from searchkit.errors import ConfigError
from searchkit.face import KitFace
from searchkit.integrations.llamaindex.nodes import ScoredNode
from searchkit.integrations.rerank_only import Placed, kit_for, reranked
from searchkit.stages import Reranker

dispatcher = get_dispatcher(__name__)


class SearchKitRerank(BaseNodePostprocessor):
    """Reranks nodes by their text; returns `ScoredNode` copies, best first, and leaves the nodes given as they are.

    A node that stage 2 did not score (blank text, passed deadline, failed model) follows behind the others and keeps
    the score it came with. Equal scores keep the order given. Criteria can also be given per call, with a
    `SearchKitQuery`.

    Attributes:
        top_n: Nodes to keep at most.
        model: Name or folder of a cross-encoder; ``None`` means the shipped one.
        criteria: What makes a node relevant, in words.
        deadline_s: Seconds that reranking may take.
        kit: A `SearchKit` whose stage 2 is used, in place of a model. Not serialized.
        reranker: A cross-encoder to use, in place of a model. Not serialized.
        has_object: Whether ``kit`` or ``reranker`` was given; set by itself. What ``from_dict`` makes of the rest
            asks for that object again instead of reranking with another model.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    top_n: int = Field(default=4, ge=1)
    model: str | None = None
    criteria: str | None = None
    deadline_s: float | None = Field(default=None, gt=0)
    kit: SkipValidation[KitFace | None] = Field(default=None, exclude=True, repr=False)
    reranker: SkipValidation[Reranker | None] = Field(default=None, exclude=True, repr=False)
    has_object: bool = False
    _kit: KitFace | None = PrivateAttr(default=None)

    @override
    def model_post_init(self, context: Any, /) -> None:
        is_given = self.kit is not None or self.reranker is not None
        if is_given or not self.has_object:
            self._kit = kit_for(self.kit, self.reranker, self.model)
        self.has_object = self.has_object or is_given

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex serializes this class under."""
        return "SearchKitRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise ValueError("Missing query bundle in extra info.")
        if not nodes:
            return []
        name = self._second_stage().reranker.name
        dispatcher.event(ReRankStartEvent(query=query_bundle, nodes=nodes, top_n=self.top_n, model_name=name))
        payload: dict[str, Any] = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: name,
            EventPayload.QUERY_STR: query_bundle.query_str,
            EventPayload.TOP_K: self.top_n,
        }
        with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
            best = self._reranked(nodes, query_bundle)
            event.on_end(payload={EventPayload.NODES: best})
        dispatcher.event(ReRankEndEvent(nodes=best))
        return best

    def _reranked(self, nodes: list[NodeWithScore], query: QueryBundle) -> list[NodeWithScore]:
        criteria = getattr(query, "criteria", None)
        placed = reranked(
            self._second_stage(),
            query.query_str,
            [node.node.get_content(metadata_mode=MetadataMode.NONE) for node in nodes],
            top_k=self.top_n,
            criteria=self.criteria if criteria is None else criteria,
            deadline_s=self.deadline_s,
        )
        return [_scored(nodes[place.index], place) for place in placed]

    def _second_stage(self) -> KitFace:
        if self._kit is None:
            raise ConfigError(
                "this SearchKitRerank was made from a dict, and the original had a kit or a reranker of its own,"
                " which no dict holds: pass it again, from_dict(data, kit=kit)"
            )
        return self._kit


def _scored(node: NodeWithScore, place: Placed) -> ScoredNode:
    hit = place.hit
    is_scored = hit is not None and hit.logit is not None
    return ScoredNode(
        node=node.node,
        score=float(hit.score) if hit is not None and is_scored else node.score,
        logit=hit.logit if hit is not None else None,
        retrieval_score=None if node.score is None else float(node.score),
        retrieval_rank=place.index + 1,
    )
