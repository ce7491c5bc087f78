"""Two-stage retrieval on Qdrant: candidates from a bi-encoder and BM25, rescored by a cross-encoder.

Importing this package loads neither torch nor a vendor; each name is resolved when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from searchkit.config import SearchKitConfig as SearchKitConfig
    from searchkit.encoding import Bm25Encoder as Bm25Encoder
    from searchkit.encoding import FastEmbedEncoder as FastEmbedEncoder
    from searchkit.encoding import SentenceEncoder as SentenceEncoder
    from searchkit.errors import SearchkitError as SearchkitError
    from searchkit.kit import SearchKit as SearchKit
    from searchkit.reranking import CrossEncoderReranker as CrossEncoderReranker
    from searchkit.types import AddReport as AddReport
    from searchkit.types import Hit as Hit
    from searchkit.types import Passage as Passage
    from searchkit.types import SearchResult as SearchResult

__version__ = "0.1.0"

_HOMES = {
    "AddReport": "searchkit.types",
    "Bm25Encoder": "searchkit.encoding",
    "CrossEncoderReranker": "searchkit.reranking",
    "FastEmbedEncoder": "searchkit.encoding",
    "Hit": "searchkit.types",
    "Passage": "searchkit.types",
    "SearchKit": "searchkit.kit",
    "SearchKitConfig": "searchkit.config",
    "SearchResult": "searchkit.types",
    "SearchkitError": "searchkit.errors",
    "SentenceEncoder": "searchkit.encoding",
}

__all__ = [  # sorted as a reader sorts; a test compares it with _HOMES
    "AddReport",
    "Bm25Encoder",
    "CrossEncoderReranker",
    "FastEmbedEncoder",
    "Hit",
    "Passage",
    "SearchKit",
    "SearchKitConfig",
    "SearchResult",
    "SearchkitError",
    "SentenceEncoder",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Import the home of ``name`` on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'searchkit' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
