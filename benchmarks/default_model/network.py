"""BERT as a cross-encoder, written out for speed: no dropout, the last layer for the first token alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import BertForSequenceClassification


def build(base: Path) -> Any:
    """Return the encoder with one new output; the word embeddings stay as they are."""
    torch.manual_seed(42)
    model = BertForSequenceClassification.from_pretrained(
        str(base),
        num_labels=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        local_files_only=True,
        dtype=torch.float32,
    )
    model.bert.embeddings.word_embeddings.weight.requires_grad_(False)
    return model.train()


def score_batch(model: Any, ids: Tensor, types: Tensor, mask: Tensor) -> Tensor:
    """Return the logits of padded pairs; ids, types and mask of shape ``(pairs, tokens)``, mask boolean."""
    embeddings = model.bert.embeddings
    positions = embeddings.position_embeddings.weight[: ids.shape[1]][None]
    hidden = embeddings.LayerNorm(embeddings.word_embeddings(ids) + embeddings.token_type_embeddings(types) + positions)
    allowed = None if bool(mask.all()) else mask[:, None, None, :]
    layers = model.bert.encoder.layer
    for place, layer in enumerate(layers):
        hidden = _layer(layer, hidden, allowed, model.config.num_attention_heads, place == len(layers) - 1)
    return model.classifier(torch.tanh(model.bert.pooler.dense(hidden[:, 0])))[:, 0]


def encode_batch(model: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of each text's token states, shape ``(texts, hidden)``, as the bi-encoder pools them."""
    embeddings = model.bert.embeddings
    positions = embeddings.position_embeddings.weight[: ids.shape[1]][None]
    types = embeddings.token_type_embeddings.weight[0]
    hidden = embeddings.LayerNorm(embeddings.word_embeddings(ids) + types + positions)
    allowed = None if bool(mask.all()) else mask[:, None, None, :]
    for layer in model.bert.encoder.layer:
        hidden = _layer(layer, hidden, allowed, model.config.num_attention_heads, first_only=False)
    weights = mask[:, :, None].float()
    return (hidden.float() * weights).sum(1) / weights.sum(1)


def _layer(layer: Any, hidden: Tensor, allowed: Tensor | None, heads: int, first_only: bool) -> Tensor:
    attention = layer.attention
    asking = hidden[:, :1] if first_only else hidden

    def split(tensor: Tensor) -> Tensor:
        return tensor.view(len(tensor), -1, heads, tensor.shape[-1] // heads).transpose(1, 2)

    seen = functional.scaled_dot_product_attention(
        split(attention.self.query(asking)),
        split(attention.self.key(hidden)),
        split(attention.self.value(hidden)),
        attn_mask=allowed,
    )
    seen = seen.transpose(1, 2).reshape(asking.shape)
    middle = attention.output.LayerNorm(attention.output.dense(seen) + asking)
    wide = functional.gelu(layer.intermediate.dense(middle))
    return layer.output.LayerNorm(layer.output.dense(wide) + middle)
