"""A pool of threads that outlives a fork."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor


class ForkSafeThreads:
    """A `ThreadPoolExecutor` that a forked child gets anew: it has none of its parent's threads, only their names.

    Args:
        count: Threads at most.
        name: What their names begin with.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._renew()

    @property
    def executor(self) -> ThreadPoolExecutor:
        """The pool of this process."""
        if self._process != os.getpid():
            with self._lock:
                if self._process != os.getpid():
                    self._renew()
        return self._executor

    def shutdown(self) -> None:
        """Wait for what is running and take no more work."""
        self.executor.shutdown(wait=True)

    def _renew(self) -> None:
        self._lock = threading.Lock()
        self._executor = ThreadPoolExecutor(self._count, thread_name_prefix=self._name)
        self._process = os.getpid()
