"""Where models come from and what both stages need to run one: lookup, hashes, tokenizers, devices, batches."""

from __future__ import annotations

from searchkit.models.hashing import tokenizer_hash as tokenizer_hash
from searchkit.models.hashing import weight_hash as weight_hash
from searchkit.models.lookup import DEFAULT_ENCODER as DEFAULT_ENCODER
from searchkit.models.lookup import DEFAULT_RERANKER as DEFAULT_RERANKER
from searchkit.models.lookup import ModelFolder as ModelFolder
from searchkit.models.lookup import ModelNotFoundError as ModelNotFoundError
from searchkit.models.lookup import find_model as find_model
