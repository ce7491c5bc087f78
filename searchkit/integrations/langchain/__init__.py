"""LangChain: a two-stage retriever, a document compressor and a cross-encoder.

Needs the extra ``langchain``, which is langchain-core alone.
"""

from __future__ import annotations

from searchkit.errors import MissingExtraError

try:
    import langchain_core  # noqa: F401
except ImportError as error:
    raise MissingExtraError("the LangChain integration", "langchain") from error

from searchkit.integrations.langchain.reranking import SearchKitCompressor, SearchKitCrossEncoder
from searchkit.integrations.langchain.retriever import SearchKitRetriever

__all__ = ["SearchKitCompressor", "SearchKitCrossEncoder", "SearchKitRetriever"]
