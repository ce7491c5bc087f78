"""What follows a matrix product in a BERT layer, in plain torch; the same in one kernel each is in `triton_kernels`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

Tensor = torch.Tensor


@dataclass(frozen=True, slots=True)
class Norm:
    """A layer norm.

    Attributes:
        weight: Shape ``(hidden,)``.
        bias: Shape ``(hidden,)``.
        epsilon: Added to the variance.
    """

    weight: Tensor
    bias: Tensor
    epsilon: float

    @classmethod
    def of(cls, module: Any) -> Norm:
        """Return the numbers of an ``nn.LayerNorm``."""
        return cls(module.weight.data, module.bias.data, float(module.eps))


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear layer.

    Attributes:
        weight: Shape ``(out, in)``.
        bias: Shape ``(out,)``.
    """

    weight: Tensor
    bias: Tensor

    @classmethod
    def of(cls, module: Any) -> Linear:
        """Return the numbers of an ``nn.Linear``."""
        return cls(module.weight.data, module.bias.data)

    def __call__(self, rows: Tensor) -> Tensor:
        """Return the product with its bias."""
        return nn.functional.linear(rows, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class Tables:
    """The embeddings of a BERT: of tokens, positions and token types, each of shape ``(entries, hidden)``."""

    words: Tensor
    positions: Tensor
    kinds: Tensor


@dataclass(frozen=True, slots=True)
class Epilogues:
    """Three steps that may each be done in one kernel or several; the numbers are those of the module they replace.

    Attributes:
        embed: Token, position and type ids to normed sums of embeddings.
        gelu: Rows through a linear layer and the exact (erf) GELU.
        norm: Rows through a linear layer, a residual added, normed.
    """

    embed: Callable[[Tensor, Tensor, Tensor, Tables, Norm], Tensor]
    gelu: Callable[[Tensor, Linear], Tensor]
    norm: Callable[[Tensor, Linear, Tensor, Norm], Tensor]


def embed(ids: Tensor, positions: Tensor, kinds: Tensor, tables: Tables, norm: Norm) -> Tensor:
    """Return the normed sum of three embeddings, shape ``(rows, hidden)``."""
    look_up = nn.functional.embedding
    total = look_up(ids, tables.words) + look_up(kinds, tables.kinds) + look_up(positions, tables.positions)
    return _normed(total, norm)


def gelu(rows: Tensor, linear: Linear) -> Tensor:
    """Return the exact GELU of a linear layer."""
    return nn.functional.gelu(linear(rows))


def add_norm(rows: Tensor, linear: Linear, residual: Tensor, norm: Norm) -> Tensor:
    """Return the norm of a linear layer with a residual."""
    return _normed(linear(rows) + residual, norm)


PLAIN = Epilogues(embed, gelu, add_norm)


def _normed(rows: Tensor, norm: Norm) -> Tensor:
    return nn.functional.layer_norm(rows, rows.shape[-1:], norm.weight, norm.bias, norm.epsilon)
