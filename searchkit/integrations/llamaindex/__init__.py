"""LlamaIndex: a two-stage retriever, a node postprocessor, and a query that carries criteria and a filter.

Needs the extra ``llamaindex``, which is llama-index-core alone.
"""

from __future__ import annotations

from searchkit.errors import MissingExtraError

try:
    import llama_index.core  # noqa: F401
except ImportError as error:
    raise MissingExtraError("the LlamaIndex integration", "llamaindex") from error

from searchkit.integrations.llamaindex.nodes import ScoredNode, SearchKitQuery
from searchkit.integrations.llamaindex.postprocessor import SearchKitRerank
from searchkit.integrations.llamaindex.retriever import SearchKitRetriever

__all__ = ["ScoredNode", "SearchKitQuery", "SearchKitRerank", "SearchKitRetriever"]
