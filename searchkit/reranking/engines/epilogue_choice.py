"""Which steps of the fast path are done by Triton kernels: those that agree with torch and win, by measurement."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from searchkit.models.device import device_kind
from searchkit.reranking.engines.epilogues import PLAIN, Epilogues, Tensor

logger = logging.getLogger(__name__)

STEPS = ("embed", "gelu", "norm")
_ROWS = 16384  # enough that the device, not the host, takes the time
_REPEATS = 20
_LEAST_SPEEDUP = 1.03
_TOLERANCES = {torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 8e-2}

Steps = Mapping[str, Callable[[Epilogues], Tensor]]


def chosen_epilogues(forward: Any, device: torch.device) -> tuple[Epilogues, dict[str, float]]:
    """Return the epilogues that suit a device, and how many times faster each of Triton's was.

    Args:
        forward: A `searchkit.reranking.engines.bert_fast.BertFast`.
        device: Where it runs; anything but CUDA gets torch's own.
    """
    if device_kind(str(device)) != "cuda" or importlib.util.find_spec("triton") is None:
        return PLAIN, {}
    return _chosen_on_cuda(forward, device)


def fastest(
    fused: Epilogues, steps: Steps, measure: Callable[[Callable[[], object]], float]
) -> tuple[Epilogues, dict[str, float]]:
    """Return the plain epilogues with each of ``fused`` that agrees and is faster, and the speed-ups measured.

    Args:
        fused: The candidates.
        steps: For each name in `STEPS`, runs that step with given epilogues.
        measure: Returns the seconds that an action takes.
    """
    chosen, speedups = PLAIN, {}
    for name, run in steps.items():
        candidate = replace(PLAIN, **{name: getattr(fused, name)})
        try:
            expected, found = run(PLAIN), run(candidate)
            tolerance = _TOLERANCES[expected.dtype]
            if not torch.allclose(found, expected, rtol=tolerance, atol=tolerance):
                logger.warning("The Triton kernel %r does not agree with torch here and is not used.", name)
                continue
            speedups[name] = measure(lambda run=run: run(PLAIN)) / measure(  # type: ignore[misc]
                lambda run=run, candidate=candidate: run(candidate)  # type: ignore[misc]
            )
        except Exception as error:  # noqa: BLE001  # a compiler may raise anything; torch does the step as well
            logger.info("The Triton kernel %r does not run here: %r", name, error)
            continue
        if speedups[name] >= _LEAST_SPEEDUP:
            chosen = replace(chosen, **{name: getattr(fused, name)})
    return chosen, speedups


def _chosen_on_cuda(  # pragma: no cover  # needs CUDA; tests/gpu looks at what it chose
    forward: Any, device: torch.device
) -> tuple[Epilogues, dict[str, float]]:
    try:
        from searchkit.reranking.engines.triton_kernels import FUSED
    except Exception as error:  # noqa: BLE001  # a triton that does not fit this torch
        logger.info("Triton cannot be used: %r", error)
        return PLAIN, {}
    with torch.inference_mode():
        return fastest(FUSED, forward.steps(_ROWS, device), _device_seconds)


def _device_seconds(action: Callable[[], object]) -> float:  # pragma: no cover  # CUDA events
    action()
    make: Any = torch.cuda.Event
    start, end = (make(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(_REPEATS):
        action()
    end.record()
    end.synchronize()
    milliseconds: float = start.elapsed_time(end)
    return milliseconds / 1e3 / _REPEATS
