"""From numpy to the device, without waiting for it."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from searchkit.models.device import device_kind

_SLOTS = 3


class Upload:
    """Copies arrays to a device: on CUDA through a ring of pinned memory, so that the host goes on meanwhile.

    Args:
        device: Where to.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._ring = _PinnedRing(device) if device_kind(str(device)) == "cuda" else None

    def __call__(self, array: NDArray[np.int32]) -> torch.Tensor:
        """Return the array as a tensor on the device; on a CPU the two share memory."""
        host = torch.from_numpy(array)
        return host.to(self._device) if self._ring is None else self._ring.copy(host)


class _PinnedRing:  # pragma: no cover  # needs CUDA; tests/gpu runs batches through it from several threads
    """A few pinned buffers in turn; one is written again only when the copy out of it is over."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._buffers: list[torch.Tensor | None] = [None] * _SLOTS
        self._copied: list[Any] = [None] * _SLOTS
        self._next = 0

    def copy(self, host: torch.Tensor) -> torch.Tensor:
        with self._lock:
            slot, self._next = self._next, (self._next + 1) % _SLOTS
            if self._copied[slot] is not None:
                self._copied[slot].synchronize()
            buffer = self._buffers[slot]
            if buffer is None or len(buffer) < len(host):
                buffer = torch.empty(max(len(host), 1 << 16), dtype=torch.int32, pin_memory=True)
                self._buffers[slot] = buffer
            buffer[: len(host)].copy_(host)
            found = buffer[: len(host)].to(self._device, non_blocking=True)
            self._copied[slot] = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch does not annotate it
            self._copied[slot].record(torch.cuda.current_stream(self._device))
            return found
