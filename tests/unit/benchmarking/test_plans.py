"""Plans of a training run: what is learned already stays in place when a run is continued."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from benchmarks.default_model.extend import joined  # noqa: E402
from benchmarks.default_model.planfile import GROUP, Plan  # noqa: E402


def plan(groups, first_token):
    lengths = np.arange(1, groups * GROUP + 1) + 4
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = (np.arange(offsets[-1]) + first_token).astype(np.uint16)
    rows = np.arange(groups * GROUP, dtype=np.float32)
    return Plan(tokens, offsets, np.full(groups * GROUP, 2, np.int32), rows, rows / 10, rows / 100)


def test_a_continued_plan_keeps_what_was_learned_and_drops_the_rest():
    first, second = plan(3, 0), plan(2, 5000)
    whole = joined(first, 1, second)
    assert whole.group_count == 3
    pairs = [(first, item) for item in range(GROUP)] + [(second, item) for item in range(2 * GROUP)]
    for place, (source, item) in enumerate(pairs):
        ids, types, _ = whole.batch(np.array([place]))
        wanted, kinds, _ = source.batch(np.array([item]))
        assert torch.equal(ids, wanted)
        assert torch.equal(types, kinds)
        assert (whole.labels[place], whole.dense[place], whole.taught[place]) == (
            source.labels[item],
            source.dense[item],
            source.taught[item],
        )
