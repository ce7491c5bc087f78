"""What goes in and comes out: a query with criteria, and a node with the evidence of both stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llama_index.core.schema import NodeWithScore, QueryBundle


@dataclass
class SearchKitQuery(QueryBundle):
    """A query that says per call what a retriever or a postprocessor of ours otherwise knows from its construction.

    Pass it wherever LlamaIndex takes a query: ``retriever.retrieve(SearchKitQuery("wages", criteria="..."))``.

    Attributes:
        criteria: What makes a passage relevant, in words; ``None`` means as constructed.
        filter: Condition on the metadata; ``None`` means as constructed.
        similarity_top_k: Nodes wanted at most; ``None`` means as constructed.
    """

    criteria: str | None = None
    filter: Any = None
    similarity_top_k: int | None = None


class ScoredNode(NodeWithScore):
    """A node with its score and where the score comes from.

    The evidence lies here and never in ``node.metadata``, which reaches prompts and decides ``node.hash``.

    Attributes:
        logit: Raw output of the cross-encoder; ``None`` if stage 2 did not score this node, and ``score`` is then
            the first stage's.
        retrieval_score: Score of the first stage, higher is better.
        retrieval_rank: Place in the first stage's order, from 1.
    """

    logit: float | None = None
    retrieval_score: float | None = None
    retrieval_rank: int | None = None

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex serializes this class under."""
        return "ScoredNode"
