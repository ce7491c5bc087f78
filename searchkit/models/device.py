"""Which device a model runs on, decided without importing torch where the answer is plain."""

from __future__ import annotations

import ctypes
import platform
import re
import sys
from typing import Literal, cast

from searchkit.errors import ConfigError

Device = Literal["cpu", "cuda", "mps"]
_REQUEST = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
_CUDA_DRIVERS = ("nvcuda.dll",) if sys.platform == "win32" else ("libcuda.so.1",)


def resolve_device(requested: str) -> str:
    """Return "cpu", "mps", "cuda" or "cuda:N" for a request, which may also be "auto" (the best that is there).

    Raises:
        ConfigError: The request is none of these, or the device is not usable on this machine.
    """
    if not _REQUEST.fullmatch(str(requested)):
        raise ConfigError(f"device must be 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps', not {requested!r}.")
    if requested == "cpu" or (requested == "auto" and not _may_have_accelerator()):
        return "cpu"
    import torch

    usable = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if requested == "auto":
        return next((device for device, is_usable in usable.items() if is_usable), "cpu")
    if not usable[device_kind(requested)]:
        raise ConfigError(
            f"device={requested!r} is not usable here (torch {torch.__version__}); use 'auto' or 'cpu', or install a "
            "torch build for your accelerator."
        )
    if ":" in requested and int(requested.split(":")[1]) >= torch.cuda.device_count():
        raise ConfigError(f"device={requested!r} does not exist: this machine has {torch.cuda.device_count()} GPU(s).")
    return requested


def device_kind(device: str) -> Device:
    """Return "cpu", "cuda" or "mps" for a resolved device."""
    return cast("Device", device.split(":")[0])


def _may_have_accelerator() -> bool:
    """Importing torch takes a second, and a machine with neither a CUDA driver nor Apple silicon need not be asked."""
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return True
    for driver in _CUDA_DRIVERS:
        try:
            ctypes.CDLL(driver)
        except OSError:
            continue
        return True
    return False
