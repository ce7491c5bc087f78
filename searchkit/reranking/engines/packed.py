"""Pairs without padding: all of a batch end to end in one row, attention kept inside each pair.

Works for every sequence-classification model of transformers whose layers ask a named attention function and whose head
reads the first token: the function below is registered under a name of its own, and, no mask function being registered
with it, transformers makes no mask. Whether a model gives the same logits as padded is tried out before it is used.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

import numpy as np
import torch
from torch import nn

from searchkit.models.tokenizer import Padding
from searchkit.reranking.engines.attention import Spans, attend
from searchkit.reranking.engines.first_token import bert_layers
from searchkit.reranking.engines.trial import body_dtype, expected_logits, first_position, gives, trial_batch
from searchkit.reranking.packing import TokenBatch

logger = logging.getLogger(__name__)

_NAME = "searchkit_packed"
_running = threading.local()  # the spans of the batch that this thread has in the model


class PackedModel:
    """A model that has been switched over to packed batches.

    Args:
        model: A sequence-classification model of transformers on its device; changed in place.
        has_type_ids: Whether it is given token types.
    """

    label = "packed"

    def __init__(self, model: Any, *, has_type_ids: bool) -> None:
        from transformers import AttentionInterface

        AttentionInterface.register(_NAME, _attend_packed)
        self._model = model
        self._has_type_ids = has_type_ids
        self._first_position = first_position(model)
        self._before = model.config._attn_implementation
        model.set_attn_implementation(_NAME)
        base = getattr(model, model.base_model_prefix)
        pooler = getattr(base, "pooler", None)
        self._hooks = [
            pooler.register_forward_pre_hook(_gather_input)
            if isinstance(pooler, nn.Module)
            else base.register_forward_hook(_gather_output)
        ]
        self._layers = bert_layers(model)
        self._whole = None if self._layers is None else self._layers[-1]
        if self._layers is not None:
            self._layers[-1] = PackedFirstTokenLayer(self._layers[-1]).eval()

    def undo(self) -> None:
        """Put the model back to padded batches."""
        for hook in self._hooks:
            hook.remove()
        if self._layers is not None and self._whole is not None:
            self._layers[-1] = self._whole
        self._model.set_attn_implementation(self._before)

    def logits(self, batch: TokenBatch) -> torch.Tensor:
        """Return the logits of a batch, shape ``(pairs,)``, on the device."""
        device = self._model.device
        positions = np.arange(len(batch.ids)) - np.repeat(batch.starts[:-1], batch.lengths) + self._first_position
        rows = [batch.ids.astype(np.int64), positions.astype(np.int64), batch.type_ids.astype(np.int64)]
        ids, position_ids, type_ids = (torch.from_numpy(row)[None].to(device, non_blocking=True) for row in rows)
        inputs = {"input_ids": ids, "position_ids": position_ids}
        if self._has_type_ids:
            inputs["token_type_ids"] = type_ids
        starts = torch.from_numpy(batch.starts).to(device, non_blocking=True)
        _running.spans = Spans(starts, int(batch.lengths.max()))
        try:
            with torch.inference_mode():
                logits: torch.Tensor = self._model(**inputs).logits
                return logits[:, 0]
        finally:
            _running.spans = None


class PackedFirstTokenLayer(nn.Module):
    """The last BERT layer of a packed batch for the first token of each pair: ``(1, total, hidden)`` to ``(1, pairs,
    hidden)``.

    Args:
        layer: The layer it stands in for; its weights are shared.
    """  # noqa: D205

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, hidden: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """Return the layer's output for the first token of each pair."""
        spans: Spans = _running.spans
        layer: Any = self.layer
        attention = layer.attention.self
        first = hidden[:, spans.on_device[:-1].long()]
        query, key, value = (
            part.view(part.shape[1], attention.num_attention_heads, -1)
            for part in (attention.query(first), attention.key(hidden), attention.value(hidden))
        )
        context = attend(query, key, value, spans.one_each(), spans, query.shape[-1] ** -0.5)
        spans.is_gathered = True
        attended = layer.attention.output(context.flatten(1)[None], first)
        output: torch.Tensor = layer.output(layer.intermediate(attended), attended)
        return output


def try_packed(model: Any, padding: Padding, *, has_type_ids: bool) -> PackedModel | None:
    """Switch ``model`` over to packed batches if it then gives the same logits, else leave it as it was."""
    can_ask = getattr(model, "_can_set_attn_implementation", lambda: True)  # DeBERTa has attention of its own
    if (
        not can_ask()
        or getattr(model, model.base_model_prefix, None) is None
        or getattr(model.config, "is_decoder", False)
    ):
        return None
    batch = trial_batch(model)
    expected = expected_logits(model, batch, padding, has_type_ids=has_type_ids)
    try:
        packed = PackedModel(model, has_type_ids=has_type_ids)
    except (ValueError, AttributeError, TypeError) as error:
        logger.info("Pairs are padded: %s", error)
        return None
    if gives(packed.logits, batch, expected, body_dtype(model)):
        return packed
    logger.info("Pairs are padded: packed they do not get the same logits.")
    packed.undo()
    return None


def _gather_input(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return (_first_tokens(inputs[0]), *inputs[1:])


def _gather_output(_module: nn.Module, _inputs: Any, output: Any) -> Any:
    output[0 if isinstance(output, list) else "last_hidden_state"] = _first_tokens(output[0])
    return output


def _first_tokens(hidden: torch.Tensor) -> torch.Tensor:
    """Return the first token of each pair as a row of its own: ``(pairs, 1, hidden)``."""
    spans: Spans = _running.spans
    rows = hidden if spans.is_gathered else hidden[:, spans.on_device[:-1].long()]
    return rows.transpose(0, 1)


def _attend_packed(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention in the form that transformers calls: ``(1, heads, total, size)`` to ``(1, total, heads, size)``."""
    del module
    spans: Spans = _running.spans
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    reach = None if sliding_window is None else sliding_window - 1
    rows = [part[0].transpose(0, 1) for part in (query, key, value)]
    return attend(rows[0], rows[1], rows[2], spans, spans, scale, reach)[None], None
