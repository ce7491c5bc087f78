"""What numbers depend on, and holding the process to so many cores."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from searchkit.benchmarking.report import Machine
from searchkit.models.device import device_kind
from searchkit.models.onnx_session import usable_cores

_LIBRARIES = (
    "searchkit",
    "torch",
    "transformers",
    "tokenizers",
    "numpy",
    "onnxruntime",
    "openvino",
    "sentence-transformers",
    "fastembed",
    "FlashRank",
)


@contextmanager
def held_to(threads: int) -> Iterator[bool]:
    """Hold this process to ``threads`` cores inside the block; yield whether the operating system does so.

    Where it cannot (macOS, Windows) torch is still told, and so is every contestant that has an argument for it.
    """
    import torch

    before_threads = torch.get_num_threads()
    before = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else None
    if before is not None:
        os.sched_setaffinity(0, sorted(before)[:threads])
    torch.set_num_threads(threads)
    try:
        yield before is not None
    finally:
        if before is not None:
            os.sched_setaffinity(0, before)
        torch.set_num_threads(before_threads)


def describe(device: str, threads: int, *, is_pinned: bool, cores: int | None = None) -> Machine:
    """Return the machine as it is now.

    Args:
        device: What the model runs on.
        threads: Cores that the contestants are held to.
        is_pinned: Whether the operating system holds them to it.
        cores: Cores of the process before it was held to fewer.
    """
    return Machine(
        processor=_processor(),
        usable_cores=cores or usable_cores(),
        threads=threads,
        is_pinned=is_pinned,
        device=device,
        accelerator=_accelerator(device),
        load_before=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        libraries={name: version for name in _LIBRARIES if (version := _version(name)) is not None},
    )


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    if described.is_file():
        for line in described.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _accelerator(device: str) -> str | None:
    if device_kind(device) != "cuda":
        return "Apple GPU" if device_kind(device) == "mps" else None
    import torch

    return torch.cuda.get_device_name(device)


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None
