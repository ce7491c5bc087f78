"""A plan: tokenised pairs in groups of four, in the order in which they are learned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

GROUP = 4


@dataclass(frozen=True)
class Plan:
    """Pairs as flat arrays: pair ``i`` is ``tokens[offsets[i]:offsets[i + 1]]``, its passage from ``splits[i]`` on.

    ``labels`` are probabilities. ``dense`` is the cosine that the bi-encoder gives query and passage, NaN where it was
    not asked; ``taught`` is the part of the group's target that is the bi-encoder's own distribution, the same for all
    pairs of a group.
    """

    tokens: np.ndarray
    offsets: np.ndarray
    splits: np.ndarray
    labels: np.ndarray
    dense: np.ndarray
    taught: np.ndarray

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Return a plan from its file."""
        with np.load(path) as stored:
            names = ("tok", "off", "sep", "lab", "dense", "taught")
            return cls(*(stored[name] for name in names))

    def write(self, path: Path) -> None:
        """Write the plan."""
        arrays = {"tok": self.tokens, "off": self.offsets, "sep": self.splits, "lab": self.labels}
        np.savez(path, **arrays, dense=self.dense, taught=self.taught)

    @property
    def group_count(self) -> int:
        """How many groups there are."""
        return len(self.labels) // GROUP

    def items(self, groups: np.ndarray) -> np.ndarray:
        """Return the pairs of groups."""
        return (groups[:, None] * GROUP + np.arange(GROUP)).ravel()

    def lengths(self, items: np.ndarray) -> np.ndarray:
        """Return the tokens of pairs."""
        return self.offsets[items + 1] - self.offsets[items]

    def group_tokens(self, groups: np.ndarray) -> np.ndarray:
        """Return the tokens of groups."""
        return self.offsets[groups * GROUP + GROUP] - self.offsets[groups * GROUP]

    def batch(self, items: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return ids, token types and mask, padded to the longest of ``items``."""
        lengths = self.lengths(items)
        shape = (len(items), int(lengths.max()))
        ids, types, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, bool)
        for row, (item, length) in enumerate(zip(items, lengths, strict=True)):
            ids[row, :length] = self.tokens[self.offsets[item] : self.offsets[item + 1]]
            types[row, self.splits[item] : length] = 1
            mask[row, :length] = True
        return torch.from_numpy(ids), torch.from_numpy(types), torch.from_numpy(mask)
