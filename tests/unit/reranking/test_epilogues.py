"""Fused steps: taken where they agree and win; Triton's kernels, interpreted, compute what torch does."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from searchkit.reranking.engines.bert_fast import BertFast
from searchkit.reranking.engines.epilogue_choice import STEPS, chosen_epilogues, fastest
from searchkit.reranking.engines.epilogues import PLAIN

INTERPRETED = """
import torch
from searchkit.reranking.engines.epilogues import PLAIN, Linear, Norm, Tables
from searchkit.reranking.engines.triton_kernels import FUSED

torch.manual_seed(0)
for dtype, tolerance in ((torch.float32, 2e-6), (torch.float16, 4e-3)):
    for hidden, inner, rows in ((32, 64, 5), (48, 200, 9), (384, 1536, 3)):
        draw = lambda *shape: torch.randn(shape).to(dtype)
        norm = Norm(draw(hidden), draw(hidden), 1e-12)
        tables = Tables(draw(50, hidden), draw(20, hidden), draw(2, hidden))
        ids, positions, kinds = (torch.randint(0, top, (rows,), dtype=torch.int32) for top in (50, 20, 2))
        up = Linear(draw(inner, hidden) / hidden**0.5, draw(inner))
        down = Linear(draw(hidden, inner) / inner**0.5, draw(hidden))
        thin, wide = draw(rows, hidden), draw(rows, inner)
        exact = lambda part: type(part)(*(v.float() if torch.is_tensor(v) else v for v in (
            getattr(part, name) for name in part.__dataclass_fields__)))
        for name, arguments in (
            ("embed", (ids, positions, kinds, tables, norm)),
            ("gelu", (thin, up)),
            ("norm", (wide, down, thin, norm)),
        ):
            wanted = getattr(PLAIN, name)(*(
                a if torch.is_tensor(a) and not a.is_floating_point() else a.float() if torch.is_tensor(a) else exact(a)
                for a in arguments))
            found = getattr(FUSED, name)(*arguments)
            assert found.dtype == dtype and found.shape == wanted.shape
            gap = ((found.float() - wanted).abs() / (1 + wanted.abs())).max()
            assert gap < tolerance, (name, dtype, hidden, gap)
print("equal")
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
def test_the_kernels_compute_what_torch_does():
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    command = [sys.executable, "-c", INTERPRETED]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert result.stdout.strip() == "equal", result.stderr


@pytest.fixture
def steps(cross_encoder_folder):
    from searchkit.reranking.engines.torch_engine import load_model

    forward = BertFast(load_model(cross_encoder_folder("bert")))
    return forward.steps(40, torch.device("cpu"))


def measured(seconds):
    """A clock that reads the given seconds: plain and fused of each step in turn."""
    times = iter(seconds)

    def measure(action):
        action()
        return next(times)

    return measure


def copies():
    return replace(
        PLAIN,
        embed=lambda *arguments: PLAIN.embed(*arguments),
        gelu=lambda *arguments: PLAIN.gelu(*arguments),
        norm=lambda *arguments: PLAIN.norm(*arguments),
    )


def test_each_step_that_wins_is_taken_and_no_other(steps):
    assert tuple(steps) == STEPS
    fused = copies()
    chosen, speedups = fastest(fused, steps, measured([2.0, 1.0, 1.0, 1.0, 1.0, 2.0]))
    assert chosen == replace(PLAIN, embed=fused.embed)
    assert speedups == {"embed": 2.0, "gelu": 1.0, "norm": 0.5}


def test_a_step_that_computes_something_else_is_refused(steps):
    wrong = replace(copies(), gelu=lambda rows, linear: torch.nn.functional.gelu(linear(rows), approximate="tanh"))
    chosen, speedups = fastest(wrong, steps, measured([2.0, 1.0, 2.0, 1.0]))
    assert chosen.gelu is PLAIN.gelu
    assert chosen.norm is wrong.norm
    assert set(speedups) == {"embed", "norm"}


def test_a_step_that_fails_leaves_the_work_to_torch(steps):
    def fail(*_):
        raise OSError("no compiler")

    assert fastest(replace(PLAIN, embed=fail, gelu=fail, norm=fail), steps, measured([])) == (PLAIN, {})


def test_without_cuda_torch_does_every_step(steps):
    assert chosen_epilogues(None, torch.device("cpu")) == (PLAIN, {})
