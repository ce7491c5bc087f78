"""Attention inside each pair of a packed batch: flash attention where the device has it, pair by pair elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import nn

from searchkit.models.device import device_kind


@dataclass
class Spans:
    """Where the sequences of a batch lie.

    Attributes:
        on_device: Start of each sequence and the total at the end, int32, on the model's device.
        longest: Length of the longest sequence at least.
        is_gathered: Whether a layer has already kept the first token of each sequence only.
    """

    on_device: torch.Tensor
    longest: int
    is_gathered: bool = field(default=False, compare=False)

    @cached_property
    def starts(self) -> list[int]:
        """The same as `on_device`, in Python; waits for the device."""
        starts: list[int] = self.on_device.tolist()
        return starts

    def one_each(self) -> Spans:
        """Return spans of as many sequences of a single token each."""
        ends = torch.arange(len(self.on_device), dtype=torch.int32, device=self.on_device.device)
        return Spans(ends, 1)


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    queries: Spans,
    keys: Spans,
    scale: float,
    reach: int | None = None,
) -> torch.Tensor:
    """Return each query's mix of the values of its own sequence, no further than ``reach`` tokens away.

    Args:
        query: Shape ``(rows, heads, size)``; ``key`` and ``value`` likewise, with rows of their own. Views are fine.
        key: See ``query``.
        value: See ``query``.
        queries: Where each sequence's queries lie.
        keys: Where its keys and values lie; of an empty sequence the mix is zero.
        scale: What products of queries and keys are multiplied with.
        reach: ``None`` for no limit.
    """
    if flash_runs(query.device, query.dtype, query.shape[-1]):
        return _flash(query, key, value, queries, keys, scale, reach)
    mixed = torch.zeros_like(query, memory_format=torch.contiguous_format)
    for pair in range(len(keys.starts) - 1):
        ours, theirs = (slice(spans.starts[pair], spans.starts[pair + 1]) for spans in (queries, keys))
        if ours.start == ours.stop or theirs.start == theirs.stop:
            continue
        mask = None if reach is None else _band(ours.stop - ours.start, reach, query.device)
        found = nn.functional.scaled_dot_product_attention(
            _of_one(query[ours]), _of_one(key[theirs]), _of_one(value[theirs]), attn_mask=mask, scale=scale
        )
        mixed[ours] = found[0].transpose(0, 1)
    return mixed


def flash_runs(device: torch.device | str, dtype: torch.dtype, head_size: int) -> bool:
    """Return whether flash attention takes unpadded rows here: half precision, compute 8.0, heads of 8 n."""
    if device_kind(str(device)) != "cuda" or dtype not in (torch.float16, torch.bfloat16) or head_size % 8:
        return False
    return torch.cuda.get_device_capability(device) >= (8, 0)


def _flash(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    queries: Spans,
    keys: Spans,
    scale: float,
    reach: int | None,
) -> torch.Tensor:  # pragma: no cover  # only CUDA has this kernel; tests/gpu compares it with the loop above
    window = {} if reach is None else {"window_size_left": reach, "window_size_right": reach}
    found = torch.ops.aten._flash_attention_forward(
        query, key, value, queries.on_device, keys.on_device, queries.longest, keys.longest, 0.0, False, False,
        scale=scale, **window,
    )  # fmt: skip
    mixed: torch.Tensor = found[0]
    return mixed


def _of_one(rows: torch.Tensor) -> torch.Tensor:
    """Return the rows of one sequence as torch's attention wants them: ``(1, heads, rows, size)``."""
    return rows.transpose(0, 1)[None]


def _band(length: int, reach: int, device: torch.device) -> torch.Tensor:
    places = torch.arange(length, device=device)
    return (places[:, None] - places[None]).abs() <= reach
