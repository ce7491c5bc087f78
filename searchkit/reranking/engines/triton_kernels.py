"""The epilogues of a BERT layer in one Triton kernel each. Needs triton; loaded only where it may be used.

Coverage sees none of this: kernels are compiled, or interpreted in a process of their own (``TRITON_INTERPRET=1``, as
the tests do on a CPU).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from searchkit.reranking.engines.epilogues import Epilogues, Linear, Norm, Tables, Tensor

_GELU_BLOCK = 1024
_SQRT_HALF = tl.constexpr(0.7071067811865476)


@triton.jit  # pragma: no cover  # compiled
def _normed_store(row, columns, is_inside, total, weight, bias, out, hidden, epsilon):
    mean = tl.sum(total, axis=0) / hidden
    centred = tl.where(is_inside, total - mean, 0.0)
    scale = 1.0 / tl.sqrt(tl.sum(centred * centred, axis=0) / hidden + epsilon)
    gain = tl.load(weight + columns, mask=is_inside, other=0.0).to(tl.float32)
    shift = tl.load(bias + columns, mask=is_inside, other=0.0).to(tl.float32)
    normed = centred * scale * gain + shift
    tl.store(out + row * hidden + columns, normed.to(out.dtype.element_ty), mask=is_inside)


@triton.jit  # pragma: no cover  # compiled
def _embed_kernel(ids, positions, kinds, words, places, types, weight, bias, out, hidden, epsilon, block: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, block)
    is_inside = columns < hidden
    word = tl.load(ids + row).to(tl.int64)
    place = tl.load(positions + row).to(tl.int64)
    kind = tl.load(kinds + row).to(tl.int64)
    total = tl.load(words + word * hidden + columns, mask=is_inside, other=0.0).to(tl.float32)
    total += tl.load(types + kind * hidden + columns, mask=is_inside, other=0.0).to(tl.float32)
    total += tl.load(places + place * hidden + columns, mask=is_inside, other=0.0).to(tl.float32)
    _normed_store(row, columns, is_inside, total, weight, bias, out, hidden, epsilon)


@triton.jit  # pragma: no cover  # compiled
def _gelu_kernel(rows, bias, width, block: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * block + tl.arange(0, block)
    is_inside = columns < width
    place = rows + row * width + columns
    value = tl.load(place, mask=is_inside, other=0.0).to(tl.float32)
    value += tl.load(bias + columns, mask=is_inside, other=0.0).to(tl.float32)
    value = 0.5 * value * (1.0 + tl.erf(value * _SQRT_HALF))
    tl.store(place, value.to(rows.dtype.element_ty), mask=is_inside)


@triton.jit  # pragma: no cover  # compiled
def _add_norm_kernel(product, bias, residual, weight, shift, hidden, epsilon, block: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, block)
    is_inside = columns < hidden
    total = tl.load(product + row * hidden + columns, mask=is_inside, other=0.0).to(tl.float32)
    total += tl.load(bias + columns, mask=is_inside, other=0.0).to(tl.float32)
    total += tl.load(residual + row * hidden + columns, mask=is_inside, other=0.0).to(tl.float32)
    _normed_store(row, columns, is_inside, total, weight, shift, product, hidden, epsilon)


def embed(  # pragma: no cover  # runs where kernels do
    ids: Tensor, positions: Tensor, kinds: Tensor, tables: Tables, norm: Norm
) -> Tensor:
    """Return the normed sum of three embeddings, shape ``(rows, hidden)``."""
    hidden = tables.words.shape[1]
    out = torch.empty((len(ids), hidden), dtype=tables.words.dtype, device=tables.words.device)
    _embed_kernel[(len(ids),)](
        ids, positions, kinds, tables.words, tables.positions, tables.kinds, norm.weight, norm.bias, out, hidden,
        norm.epsilon, block=triton.next_power_of_2(hidden), num_warps=_warps(hidden),
    )  # fmt: skip
    return out


def gelu(rows: Tensor, linear: Linear) -> Tensor:  # pragma: no cover  # runs where kernels do
    """Return the exact GELU of a linear layer."""
    product = torch.mm(rows, linear.weight.t())
    width = product.shape[1]
    block = min(triton.next_power_of_2(width), _GELU_BLOCK)
    _gelu_kernel[(len(product), triton.cdiv(width, block))](
        product, linear.bias, width, block=block, num_warps=_warps(block)
    )
    return product


def add_norm(  # pragma: no cover  # runs where kernels do
    rows: Tensor, linear: Linear, residual: Tensor, norm: Norm
) -> Tensor:
    """Return the norm of a linear layer with a residual; ``residual`` is contiguous."""
    product = torch.mm(rows, linear.weight.t())
    hidden = product.shape[1]
    _add_norm_kernel[(len(product),)](
        product, linear.bias, residual, norm.weight, norm.bias, hidden, norm.epsilon,
        block=triton.next_power_of_2(hidden), num_warps=_warps(hidden),
    )  # fmt: skip
    return product


FUSED = Epilogues(embed, gelu, add_norm)


def _warps(width: int) -> int:  # pragma: no cover  # runs where kernels do
    return min(max(width // 256, 1), 8)
