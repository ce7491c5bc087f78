"""Loading a model with transformers without its progress bars on the caller's terminal."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.RLock()


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Switch transformers' progress bars off inside the block and leave them as they were after it."""
    from transformers.utils import logging

    vendor: Any = logging  # its functions carry no annotations

    with _lock:
        was_on = vendor.is_progress_bar_enabled()
        vendor.disable_progress_bar()
        try:
            yield
        finally:
            if was_on:
                vendor.enable_progress_bar()
