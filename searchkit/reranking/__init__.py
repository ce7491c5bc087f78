"""Stage 2: cross-encoders that score (query, text) pairs. Importing this loads no model library."""

from __future__ import annotations

from searchkit.reranking.cross_encoder import CrossEncoderReranker as CrossEncoderReranker
