"""Bi-encoders and BM25: texts in, unit vectors or sparse vectors out. Models are loaded when first needed."""

from __future__ import annotations

from searchkit.encoding.bm25 import Bm25Encoder as Bm25Encoder
from searchkit.encoding.fastembed_encoder import FastEmbedEncoder as FastEmbedEncoder
from searchkit.encoding.sentence import SentenceEncoder as SentenceEncoder
