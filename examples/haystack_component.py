"""A Haystack component that retrieves in two stages.

pipeline.add_component("retriever", SearchKitRetriever(SearchKit("handbook")))
"""

from __future__ import annotations

from typing import Any

from haystack import Document, component

from searchkit import SearchKit
from searchkit.types import SearchResult


@component
class SearchKitRetriever:
    """Returns the best documents for a query.

    Args:
        kit: The collection to search.
        top_k: Documents wanted at most.
        criteria: What makes a document relevant, in words.
    """

    def __init__(self, kit: SearchKit, top_k: int = 5, criteria: str | None = None) -> None:
        self.kit = kit
        self.top_k = top_k
        self.criteria = criteria

    @component.output_types(documents=list[Document])
    def run(self, query: str, criteria: str | None = None, filters: dict[str, Any] | None = None) -> dict[str, Any]:
        result = self.kit.search(query, top_k=self.top_k, criteria=criteria or self.criteria, filter=filters)
        return {"documents": _documents(result)}

    @component.output_types(documents=list[Document])
    async def run_async(
        self, query: str, criteria: str | None = None, filters: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        result = await self.kit.asearch(query, top_k=self.top_k, criteria=criteria or self.criteria, filter=filters)
        return {"documents": _documents(result)}


def _documents(result: SearchResult) -> list[Document]:
    return [Document(id=str(hit.id), content=hit.text, meta=dict(hit.metadata), score=hit.score) for hit in result]
