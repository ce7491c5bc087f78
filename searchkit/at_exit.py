"""Ends the threads that may be in native code before the interpreter goes.

Python ends a daemon thread where it asks for the interpreter's lock after the interpreter has gone. If it is on its way
back from an engine, frames of C++ lie on its stack, and the whole process aborts: with a partial answer printed, a
script's exit code would be that of a crash.
"""

from __future__ import annotations

import atexit
import time
import weakref
from typing import Protocol

PATIENCE_S = 5.0
"""How long the end of the process waits; work that hangs must not keep it for ever."""


class Ending(Protocol):
    """What has threads that may be in native code."""

    def stop(self) -> None:
        """Begin nothing more, and let go of whoever waits."""

    def join(self, patience_s: float) -> None:
        """Wait for what is running, ``patience_s`` seconds at most."""


_endings: weakref.WeakSet[Ending] = weakref.WeakSet()


def end_at_exit(ending: Ending) -> None:
    """Stop and join ``ending`` when the interpreter ends, if it is still there."""
    _endings.add(ending)


@atexit.register
def _end_all() -> None:
    endings, until = list(_endings), time.monotonic() + PATIENCE_S
    for ending in endings:  # all before the first is waited for: one's threads may wait for another's
        ending.stop()
    for ending in endings:
        ending.join(max(until - time.monotonic(), 0.0))
