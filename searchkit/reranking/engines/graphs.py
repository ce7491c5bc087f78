"""CUDA graphs of a forward, one a bucket: a batch then costs one launch instead of some sixty.

What is recorded and replayed is behind `Capture`, so that everything but the recording itself runs anywhere.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from searchkit.reranking.engines.buckets import Bucket

logger = logging.getLogger(__name__)

Forward = Callable[[torch.Tensor], torch.Tensor]
_WARM_UPS = 3


@dataclass(frozen=True, slots=True)
class Recorded:
    """A forward that has been recorded.

    Attributes:
        held: What it reads; written before each replay.
        found: What it writes; read after each replay.
        replay: Runs it.
    """

    held: torch.Tensor
    found: torch.Tensor
    replay: Callable[[], object]


class Capture(Protocol):
    """Records forwards."""

    def __call__(self, forward: Forward, inputs: torch.Tensor) -> Recorded:
        """Record ``forward`` for inputs of this shape.

        Args:
            forward: From one int32 tensor to logits; reads nothing else that changes.
            inputs: An example on the device; may be kept as `Recorded.held`.

        Raises:
            RuntimeError: It cannot be recorded.
        """


class GraphRunner:
    """Runs a forward, from the second batch of a bucket on as a graph.

    A bucket that comes once is not worth the recording. The least recently used graph makes room for a new one. Safe
    to use from several threads; batches run one after another.

    Args:
        forward: From the inputs of a bucket to logits.
        capture: How to record it.
        most: Graphs to keep at most.
        patience: Batches of a bucket that run unrecorded first.
    """

    def __init__(
        self,
        forward: Callable[[torch.Tensor, Bucket], torch.Tensor],
        capture: Capture,
        most: int = 64,
        patience: int = 1,
    ) -> None:
        self._forward = forward
        self._capture = capture
        self._most = most
        self._patience = patience
        self._lock = threading.Lock()
        self._seen: Counter[Bucket] = Counter()
        self._graphs: OrderedDict[Bucket, Recorded] = OrderedDict()
        self._refused: set[Bucket] = set()

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        """Buckets that have a graph, the least recently used first."""
        with self._lock:
            return tuple(self._graphs)

    def run(self, inputs: torch.Tensor, bucket: Bucket) -> torch.Tensor:
        """Return the logits of a batch, a tensor of the caller's own.

        Args:
            inputs: On the device, of the bucket's shape.
            bucket: The shape.
        """
        with self._lock:
            graph = self._graphs.get(bucket) or self._recorded(inputs, bucket)
            if graph is None:
                return self._forward(inputs, bucket)
            self._graphs.move_to_end(bucket)
            if graph.held is not inputs:
                graph.held.copy_(inputs, non_blocking=True)
            graph.replay()
            return graph.found.clone()

    def _recorded(self, inputs: torch.Tensor, bucket: Bucket) -> Recorded | None:
        """Return a new graph, ``None`` if it is too early for one or the bucket cannot be recorded."""
        self._seen[bucket] += 1
        if self._seen[bucket] <= self._patience or bucket in self._refused:
            return None
        while len(self._graphs) >= self._most:
            self._graphs.popitem(last=False)
        try:
            graph = self._capture(lambda held: self._forward(held, bucket), inputs)
        except RuntimeError as error:  # out of memory among others: the batch itself may still fit
            logger.warning("No CUDA graph for %s: %s", bucket, error)
            self._refused.add(bucket)
            return None
        self._graphs[bucket] = graph
        return graph


class CudaCapture:  # pragma: no cover  # needs CUDA; tests/gpu compares replayed with unrecorded logits
    """Records CUDA graphs that share one pool of memory: they never run at the same time."""

    def __init__(self) -> None:
        self._pool: Any = torch.cuda.graph_pool_handle()

    def __call__(self, forward: Forward, inputs: torch.Tensor) -> Recorded:
        """Record; other threads may go on using the device meanwhile."""
        held = inputs.clone()
        aside: Any = torch.cuda.Stream(held.device)  # type: ignore[no-untyped-call]  # torch does not annotate it
        aside.wait_stream(torch.cuda.current_stream(held.device))
        with torch.cuda.stream(aside), torch.inference_mode():
            for _ in range(_WARM_UPS):  # libraries set themselves up, and kernels are compiled, in the first runs
                forward(held)
        torch.cuda.current_stream(held.device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with (
            torch.inference_mode(),
            torch.cuda.graph(graph, pool=self._pool, stream=aside, capture_error_mode="thread_local"),
        ):
            found = forward(held)
        return Recorded(held, found, graph.replay)
