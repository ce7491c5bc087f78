"""A BERT written out for packed rows: no padding, one product for queries, keys and values, the last layer for the
first tokens only, and nothing of Python between two kernels that need not be there.

Chosen by what a model's configuration and parts declare (BERT, ELECTRA, RoBERTa, XLM-RoBERTa and their kin with the
exact GELU), and used only if it gives the logits of transformers' own forward on a trial batch.
"""  # noqa: D205

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from searchkit.reranking.engines.attention import Spans, attend
from searchkit.reranking.engines.epilogues import PLAIN, Epilogues, Linear, Norm, Tables, Tensor
from searchkit.reranking.engines.first_token import bert_layers

_EMBEDDINGS = ("word_embeddings", "position_embeddings", "token_type_embeddings", "LayerNorm")


@dataclass(frozen=True, slots=True)
class PackedRows:
    """A batch on the device.

    Attributes:
        ids: Token ids, shape ``(total,)``, int32; ``positions`` and ``kinds`` (token types) likewise.
        positions: See ``ids``.
        kinds: See ``ids``.
        starts: Start of each sequence and the total at the end, shape ``(pairs + 1,)``, int32.
        longest: No sequence is longer.
    """

    ids: Tensor
    positions: Tensor
    kinds: Tensor
    starts: Tensor
    longest: int

    @classmethod
    def of(cls, flat: Tensor, tokens: int, longest: int) -> PackedRows:
        """Return views of an array that `searchkit.reranking.engines.buckets.flatten` made."""
        ids, positions, kinds = flat[: 3 * tokens].view(3, tokens).unbind(0)
        return cls(ids, positions, kinds, flat[3 * tokens :], longest)


@dataclass(frozen=True, slots=True)
class _Layer:
    qkv: Linear
    context: Linear
    context_norm: Norm
    inner: Linear
    outer: Linear
    norm: Norm


class BertFast:
    """The forward of a BERT-like cross-encoder on packed rows.

    Queries, keys and values of the model become views of one matrix each layer: the model keeps working, and no weight
    is held twice.

    Args:
        model: A model for which `is_fast_bert` holds, on its device, in its precision, its head in fp32.
        epilogues: How the steps after each product are done.
    """

    def __init__(self, model: Any, epilogues: Epilogues = PLAIN) -> None:
        base = getattr(model, model.base_model_prefix)
        self.epilogues = epilogues
        self._heads = int(model.config.num_attention_heads)
        parts = base.embeddings
        self._tables = Tables(
            parts.word_embeddings.weight.data,
            parts.position_embeddings.weight.data,
            parts.token_type_embeddings.weight.data,
        )
        self._embed_norm = Norm.of(parts.LayerNorm)
        projection = getattr(base, "embeddings_project", None)
        self._projection = Linear.of(projection) if isinstance(projection, nn.Linear) else None
        layers = bert_layers(model)
        self._layers = [_read_layer(layer) for layer in layers or ()]
        pooler = getattr(base, "pooler", None)
        self._pooler = pooler if isinstance(pooler, nn.Module) else None
        self._classifier = model.classifier

    def __call__(self, rows: PackedRows) -> Tensor:
        """Return the logits, shape ``(pairs,)``, float32."""
        with torch.inference_mode():
            spans = Spans(rows.starts, rows.longest)
            hidden = self.epilogues.embed(rows.ids, rows.positions, rows.kinds, self._tables, self._embed_norm)
            if self._projection is not None:
                hidden = self._projection(hidden)
            for layer in self._layers[:-1]:
                hidden = self._layer(layer, hidden, spans)
            return self._head(self._last_layer(self._layers[-1], hidden, spans))

    def steps(self, rows: int, device: torch.device) -> Mapping[str, Callable[[Epilogues], Tensor]]:
        """Return each epilogue as it runs in the first layer, on so many random rows, with given epilogues."""
        layer, dtype = self._layers[0], self._tables.words.dtype
        generator = torch.Generator(device).manual_seed(0)

        def drawn(width: int) -> Tensor:
            return torch.randn((rows, width), generator=generator, device=device, dtype=dtype)

        ids, kinds = (torch.zeros(rows, dtype=torch.int32, device=device) for _ in range(2))
        ids += torch.arange(rows, dtype=torch.int32, device=device) % len(self._tables.words)
        positions = ids % len(self._tables.positions)
        residual, wide = (drawn(linear.weight.shape[1]) for linear in (layer.inner, layer.outer))
        return {
            "embed": lambda e: e.embed(ids, positions, kinds, self._tables, self._embed_norm),
            "gelu": lambda e: e.gelu(residual, layer.inner),
            "norm": lambda e: e.norm(wide, layer.outer, residual, layer.norm),
        }

    def _layer(self, layer: _Layer, hidden: Tensor, spans: Spans) -> Tensor:
        total, width = hidden.shape
        query, key, value = layer.qkv(hidden).view(total, 3, self._heads, -1).unbind(1)
        context = attend(query, key, value, spans, spans, query.shape[-1] ** -0.5).reshape(total, width)
        return self._feed_forward(layer, self.epilogues.norm(context, layer.context, hidden, layer.context_norm))

    def _last_layer(self, layer: _Layer, hidden: Tensor, spans: Spans) -> Tensor:
        """Return the layer's output for the first token of each sequence, shape ``(pairs, hidden)``."""
        total, width = hidden.shape
        first = hidden.index_select(0, spans.on_device[:-1])
        ours, theirs = _split(layer.qkv, width)
        query = ours(first).view(len(first), self._heads, -1)
        key, value = theirs(hidden).view(total, 2, self._heads, -1).unbind(1)
        context = attend(query, key, value, spans.one_each(), spans, query.shape[-1] ** -0.5)
        attended = self.epilogues.norm(context.reshape(len(first), width), layer.context, first, layer.context_norm)
        return self._feed_forward(layer, attended)

    def _feed_forward(self, layer: _Layer, attended: Tensor) -> Tensor:
        return self.epilogues.norm(self.epilogues.gelu(attended, layer.inner), layer.outer, attended, layer.norm)

    def _head(self, first: Tensor) -> Tensor:
        states = first.float()[:, None]
        logits: Tensor = self._classifier(states if self._pooler is None else self._pooler(states))
        return logits[:, 0]


def is_fast_bert(model: Any) -> bool:
    """Return whether a model's configuration and parts are those that `BertFast` computes."""
    base = getattr(model, model.base_model_prefix, None)
    config = model.config
    embeddings = getattr(base, "embeddings", None)
    return (
        bert_layers(model) is not None
        and getattr(config, "hidden_act", None) == "gelu"
        and getattr(config, "position_embedding_type", "absolute") == "absolute"
        and all(isinstance(getattr(embeddings, name, None), nn.Module) for name in _EMBEDDINGS)
        and isinstance(getattr(model, "classifier", None), nn.Module)
    )


def _read_layer(layer: Any) -> _Layer:
    attention = layer.attention
    return _Layer(
        qkv=_fused([getattr(attention.self, name) for name in ("query", "key", "value")]),
        context=Linear.of(attention.output.dense),
        context_norm=Norm.of(attention.output.LayerNorm),
        inner=Linear.of(layer.intermediate.dense),
        outer=Linear.of(layer.output.dense),
        norm=Norm.of(layer.output.LayerNorm),
    )


def _fused(modules: list[Any]) -> Linear:
    """Return several linear layers as one, and make theirs views of it."""
    joined = Linear(
        torch.cat([module.weight.data for module in modules]), torch.cat([module.bias.data for module in modules])
    )
    start = 0
    for module in modules:
        stop = start + module.weight.shape[0]
        module.weight.data, module.bias.data = joined.weight[start:stop], joined.bias[start:stop]
        start = stop
    return joined


def _split(qkv: Linear, width: int) -> tuple[Linear, Linear]:
    """Return the layer of the queries, and that of keys and values."""
    return (
        Linear(qkv.weight[:width], qkv.bias[:width]),
        Linear(qkv.weight[width:], qkv.bias[width:]),
    )
