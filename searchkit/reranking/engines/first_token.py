"""The last layer for the first tokens only, exact: the head of a BERT-like cross-encoder reads nothing but the first.

The last layer still needs keys and values of every token, but queries, the feed-forward network and the norms of the
first one only. On a model of six layers that saves a seventh of the work.

Two tokens are kept, not one: a matrix product of a single row takes another path in CPU libraries, whose last bit
depends on how far the batch is padded. With two, a pair's score is the same bit for bit whatever lies beside it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

_KEPT = 2
_PARTS = frozenset(
    {
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "attention.output.LayerNorm",
        "intermediate.dense",
        "output.dense",
        "output.LayerNorm",
    }
)


def narrow_last_layer(model: Any) -> bool:
    """Replace the last layer of a BERT-like model, in place, by one for the first tokens.

    Recognised by its parts, not by its name (BERT, ELECTRA, RoBERTa, XLM-RoBERTa and their kin), and tried out: where
    the logits of a few token ids change, the layer is put back.

    Returns:
        Whether the layer was replaced.
    """
    layers = bert_layers(model)
    if layers is None:
        return False
    whole = layers[-1]
    expected = _trial(model)
    layers[-1] = FirstTokenLayer(whole).eval()
    try:
        is_same = torch.allclose(_trial(model), expected, atol=1e-4, rtol=1e-4)
    except (RuntimeError, IndexError, TypeError, ValueError):  # a head that reads more than the first token
        is_same = False
    if not is_same:
        layers[-1] = whole
    return is_same


def bert_layers(model: Any) -> nn.ModuleList | None:
    """Return the layers of a BERT-like model, recognised by their parts, or ``None``."""
    base = getattr(model, model.base_model_prefix, None)
    layers = getattr(getattr(base, "encoder", None), "layer", None)
    if not isinstance(layers, nn.ModuleList) or not len(layers) or getattr(model.config, "is_decoder", False):
        return None
    parts = {name for name, _ in layers[-1].named_modules()}
    return layers if parts.issuperset(_PARTS) and "crossattention" not in parts else None


def _trial(model: Any) -> torch.Tensor:
    ids = torch.arange(2 * 24).reshape(2, 24) % int(model.config.vocab_size)
    mask = torch.ones_like(ids)
    mask[1, 15:] = 0
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=ids, attention_mask=mask).logits
    return logits


class FirstTokenLayer(nn.Module):
    """A BERT layer that returns the first two tokens of each row: shape ``(rows, 2, hidden)``.

    Args:
        layer: The layer it stands in for; its weights are shared.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self._heads = int(self._whole.attention.self.num_attention_heads)

    @property
    def _whole(self) -> Any:
        return self.layer

    def forward(
        self, hidden: torch.Tensor, attention_mask: torch.Tensor | None = None, *_: Any, **__: Any
    ) -> torch.Tensor:
        """Return the layer's output for the first two tokens.

        Args:
            hidden: Shape ``(rows, length, hidden)``.
            attention_mask: As transformers makes it for SDPA: ``None`` or shape ``(rows, 1, length, length)``.
        """
        attention = self._whole.attention.self
        first = hidden[:, :_KEPT]
        query, key, value = (
            self._split(part) for part in (attention.query(first), attention.key(hidden), attention.value(hidden))
        )
        mask = None if attention_mask is None else attention_mask[:, :, :_KEPT]
        context = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        merged = context.transpose(1, 2).flatten(2)
        attended = self._whole.attention.output(merged, first)
        output: torch.Tensor = self._whole.output(self._whole.intermediate(attended), attended)
        return output

    def _split(self, states: torch.Tensor) -> torch.Tensor:
        rows, length, _ = states.shape
        return states.view(rows, length, self._heads, -1).transpose(1, 2)
