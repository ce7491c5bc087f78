"""Whether another way to run a model gives the model's own logits: tried out before it is used."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from searchkit.models.tokenizer import Padding
from searchkit.reranking.engines.padded import padded_logits
from searchkit.reranking.packing import TokenBatch, TokenPair, pack

logger = logging.getLogger(__name__)

_LENGTHS = (5, 40, 1, 200)
_TOLERANCES = {torch.float32: 1e-4}  # absolute and relative
_HALF_TOLERANCE = 3e-2


class Layout(Protocol):
    """One way to lay out a batch for a model."""

    @property
    def label(self) -> str:
        """What the engine's name says of it; empty for plain padding."""

    def logits(self, batch: TokenBatch) -> torch.Tensor:
        """Return the logits of a batch, shape ``(pairs,)``, on the device."""


def expected_logits(model: Any, batch: TokenBatch, padding: Padding, *, has_type_ids: bool) -> torch.Tensor:
    """Return what the model itself says of a trial batch: padded, shape ``(pairs,)``."""
    return padded_logits(model, batch, padding, has_type_ids=has_type_ids)[:, 0]


def trial_batch(model: Any) -> TokenBatch:
    """Return a few pairs of very different lengths that the model can read."""
    longest = longest_sequence(model)
    kinds = int(getattr(model.config, "type_vocab_size", None) or 1)
    return pack([_trial_pair(min(length, longest), int(model.config.vocab_size), kinds) for length in _LENGTHS])


def gives(
    logits: Callable[[TokenBatch], torch.Tensor], batch: TokenBatch, expected: torch.Tensor, dtype: torch.dtype
) -> bool:
    """Return whether a layout's logits of ``batch`` are those expected; a layout that fails gives none.

    Args:
        logits: The layout.
        batch: A trial batch.
        expected: The model's own logits of it.
        dtype: What the body of the model computes in.
    """
    tolerance = _TOLERANCES.get(dtype, _HALF_TOLERANCE)
    try:
        found = logits(batch)
    except (RuntimeError, IndexError, TypeError, ValueError, AttributeError) as error:
        logger.info("A layout does not run this model: %s", error)
        return False
    return found.shape == expected.shape and torch.allclose(found, expected, rtol=tolerance, atol=tolerance)


def body_dtype(model: Any) -> torch.dtype:
    """Return what a model computes in, its head aside; ``model.dtype`` is that of whichever weight comes last."""
    dtype: torch.dtype = model.get_input_embeddings().weight.dtype
    return dtype


def first_position(model: Any) -> int:
    """Return the position of a sequence's first token: RoBERTa and its kin count from ``padding_idx + 1``."""
    for name, module in getattr(model, model.base_model_prefix).named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None:
            return module.padding_idx + 1
    return 0


def longest_sequence(model: Any) -> int:
    """Return how many tokens the model's positions suffice for; 512 if it does not say."""
    return int(getattr(model.config, "max_position_embeddings", None) or 512) - first_position(model)


def _trial_pair(length: int, vocabulary: int, kinds: int) -> TokenPair:
    first = min(5, vocabulary - 1)  # past the special tokens: RoBERTa does not count padding ids as positions
    ids = (np.arange(length) * 7 % (vocabulary - first) + first).astype(np.int32)
    type_ids = np.zeros_like(ids)
    type_ids[length // 3 :] = min(1, kinds - 1)
    return TokenPair(ids, type_ids)
