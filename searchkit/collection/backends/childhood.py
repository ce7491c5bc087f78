"""What the modules that run in a child have in common: how they answer, and that they end with their parent."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TextIO

_PR_SET_PDEATHSIG = 1
_NICENESS = 10


def answer(answers: TextIO, values: Mapping[str, Any]) -> None:
    """Send one object to the parent."""
    answers.write(json.dumps(values) + "\n")
    answers.flush()


def run_for_parent(answers: TextIO, work: Callable[[], None]) -> None:
    """Do the work with low priority; whatever goes wrong becomes the last answer."""
    with suppress(OSError, AttributeError):
        os.nice(_NICENESS)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        work()
    except BaseException as error:  # noqa: BLE001  # the engine's panics are no Exceptions
        answer(answers, {"is": "failed", "error": f"{type(error).__name__}: {error}"})
