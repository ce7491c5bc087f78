"""Pairs in rectangles, the way every model reads them, with little padding: pairs of like length share a rectangle."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from searchkit.models.device import device_kind
from searchkit.models.tokenizer import Padding
from searchkit.reranking.packing import TokenBatch, length_classes, select

_STEPS = {"cpu": 1}
_ACCELERATOR_STEP = 32  # a launch for every length would cost more than the padding


class PaddedModel:
    """A model that is given rectangles: on a CPU of one exact length each, elsewhere of lengths near each other.

    Args:
        model: A sequence-classification model of transformers on its device.
        padding: How a batch is padded.
        has_type_ids: Whether the model is given token types.

    Attributes:
        step: Lengths that are equal when rounded up to this share a rectangle.
    """

    label = ""

    def __init__(self, model: Any, padding: Padding, *, has_type_ids: bool) -> None:
        self._model = model
        self._padding = padding
        self._has_type_ids = has_type_ids
        self.step = _STEPS.get(device_kind(str(model.device)), _ACCELERATOR_STEP)

    def logits(self, batch: TokenBatch) -> torch.Tensor:
        """Return the logits of a batch, shape ``(pairs,)``, on the device."""
        classes = length_classes(batch.lengths, self.step)
        parts = [
            padded_logits(self._model, select(batch, rows), self._padding, has_type_ids=self._has_type_ids)[:, 0]
            for rows in classes
        ]
        places = torch.from_numpy(np.argsort(np.concatenate(classes), kind="stable"))
        return torch.cat(parts)[places.to(parts[0].device)]


def padded_logits(model: Any, batch: TokenBatch, padding: Padding, *, has_type_ids: bool) -> torch.Tensor:
    """Return the logits of a batch in one rectangle, shape ``(pairs, labels)``, on the device."""
    ids, mask, type_ids = batch.padded(padding)
    arrays = {"input_ids": ids, "attention_mask": mask}
    if has_type_ids:
        arrays["token_type_ids"] = type_ids
    with torch.inference_mode():
        inputs = {name: torch.from_numpy(array).to(model.device) for name, array in arrays.items()}
        logits: torch.Tensor = model(**inputs).logits
    return logits
