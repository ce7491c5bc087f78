"""The asynchronous edge: a search that runs in a thread, heeds its deadline and stops when nobody awaits it."""

from __future__ import annotations

import asyncio
import contextvars
import math
import threading
from collections.abc import Callable
from typing import TypeVar

from searchkit.deadline import CANCELLATION, arrived
from searchkit.errors import RetrievalTimeoutError
from searchkit.threads import ForkSafeThreads

T = TypeVar("T")


async def in_thread(threads: ForkSafeThreads, work: Callable[[], T], deadline_s: object) -> T:
    """Return what ``work`` returns, without blocking the event loop; its clock runs from now.

    Args:
        threads: Where it runs.
        work: A search, which heeds its deadline itself once it has begun.
        deadline_s: The caller's, not checked yet.

    Raises:
        RetrievalTimeoutError: The deadline passed before a thread was free.
    """
    cancelled = threading.Event()
    with arrived():
        context = contextvars.copy_context()
    context.run(CANCELLATION.set, cancelled)
    try:
        begun = threads.executor.submit(context.run, work)
    except RuntimeError:
        return work()  # the threads of a closed kit take nothing more; the search says that it is closed
    answer = asyncio.wrap_future(begun)
    try:
        if isinstance(deadline_s, int | float) and 0 < deadline_s < math.inf:
            await asyncio.wait({answer}, timeout=deadline_s)
            if begun.cancel():
                raise RetrievalTimeoutError(
                    f"the deadline of {deadline_s:g} s passed before a thread was free: too many searches run at once"
                )
        return await answer
    except asyncio.CancelledError:
        cancelled.set()  # what the search still waits for leaves the queue
        begun.cancel()
        raise
