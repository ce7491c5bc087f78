"""`FastModel`: the written-out BERT as a layout, with buckets and CUDA graphs where those can be had."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from searchkit.models.device import device_kind
from searchkit.models.tokenizer import Padding
from searchkit.reranking.engines.bert_fast import BertFast, PackedRows, is_fast_bert
from searchkit.reranking.engines.buckets import Bucket, fill, flatten, smallest_bucket
from searchkit.reranking.engines.epilogue_choice import chosen_epilogues
from searchkit.reranking.engines.epilogues import PLAIN
from searchkit.reranking.engines.graphs import Capture, CudaCapture, GraphRunner
from searchkit.reranking.engines.trial import (
    body_dtype,
    expected_logits,
    first_position,
    gives,
    longest_sequence,
    trial_batch,
)
from searchkit.reranking.engines.upload import Upload
from searchkit.reranking.packing import TokenBatch

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FastSettings:
    """What the fast path may use beyond its own arithmetic; both only on CUDA.

    Attributes:
        uses_graphs: CUDA graphs.
        uses_triton: Triton kernels, where triton is installed, agrees and wins.
        patience: Batches of a bucket that run without a graph before it is recorded.
        make_capture: What records graphs; ``None`` is CUDA's own, and on other devices nothing.
    """

    uses_graphs: bool = True
    uses_triton: bool = True
    patience: int = 1
    make_capture: Callable[[], Capture] | None = field(default=None, compare=False)

    def capture(self, device: torch.device) -> Capture | None:
        """Return what records graphs on this device, ``None`` for nothing."""
        if not self.uses_graphs:
            return None
        if self.make_capture is not None:
            return self.make_capture()
        return CudaCapture() if device_kind(str(device)) == "cuda" else None


REPEATABLE = FastSettings(uses_triton=False, patience=0)
"""What computes the same from the first batch on and in every process: nothing is chosen by the clock."""


class FastModel:
    """A BERT-like model on packed rows.

    Args:
        model: A model for which `searchkit.reranking.engines.bert_fast.is_fast_bert` holds.
        has_type_ids: Whether it is given token types.
        settings: What it may use.
    """

    label = "bert-fast"

    def __init__(self, model: Any, *, has_type_ids: bool, settings: FastSettings) -> None:
        self._has_type_ids = has_type_ids
        self._first_position = first_position(model)
        self._longest = longest_sequence(model)
        self._forward = BertFast(model)
        self._upload = Upload(model.device)
        self.speedups: Mapping[str, float] = {}
        if settings.uses_triton:
            self._forward.epilogues, self.speedups = chosen_epilogues(self._forward, model.device)
        capture = settings.capture(model.device)
        self._graphs = None if capture is None else GraphRunner(self._run, capture, patience=settings.patience)

    @property
    def details(self) -> dict[str, Any]:
        """How it runs, for benchmarks: which Triton kernels were how much faster, and how many graphs there are."""
        fused = [name for name in self.speedups if getattr(self._forward.epilogues, name) != getattr(PLAIN, name)]
        graphs = None if self._graphs is None else len(self._graphs.buckets)
        return {"triton": fused, "triton_speedups": dict(self.speedups), "graphs": graphs}

    def logits(self, batch: TokenBatch) -> torch.Tensor:
        """Return the logits of a batch, shape ``(pairs,)``, on the device."""
        longest = int(batch.lengths.max())
        bucket = None
        if self._graphs is not None:
            bucket = smallest_bucket(len(batch.ids), len(batch), longest, self._longest)
        if self._graphs is None or bucket is None:
            rows = PackedRows.of(self._flat(batch), len(batch.ids), longest)
            return self._forward(rows)
        return self._graphs.run(self._flat(fill(batch, bucket)), bucket)[: len(batch)]

    def _flat(self, batch: TokenBatch) -> torch.Tensor:
        return self._upload(flatten(batch, self._first_position, has_type_ids=self._has_type_ids))

    def _run(self, flat: torch.Tensor, bucket: Bucket) -> torch.Tensor:
        return self._forward(PackedRows.of(flat, bucket.tokens, bucket.longest))


def try_fast(
    model: Any, padding: Padding, *, has_type_ids: bool, settings: FastSettings | None = None
) -> FastModel | None:
    """Return the fast path of ``model`` if it has one that gives its logits."""
    if not is_fast_bert(model):
        return None
    batch = trial_batch(model)
    expected = expected_logits(model, batch, padding, has_type_ids=has_type_ids)
    fast = FastModel(model, has_type_ids=has_type_ids, settings=settings or FastSettings())
    # Twice: the second time a bucket is recorded and replayed.
    if all(gives(fast.logits, batch, expected, body_dtype(model)) for _ in range(2)):
        return fast
    logger.info("Not on the fast path: it gets other logits.")
    return None
