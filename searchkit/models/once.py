"""A value that is made when first needed, once, whichever thread asks first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """Calls ``make`` at the first `get` and keeps what it returned; an exception is not kept, the next `get` retries.

    ``functools.cached_property`` does not lock from Python 3.12 on, so two threads could load a model twice.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.RLock()
        self._made: tuple[T] | None = None

    def get(self) -> T:
        """Return the value, made on the first call."""
        made = self._made
        if made is None:
            with self._lock:
                if self._made is None:
                    self._made = (self._make(),)
                made = self._made
        return made[0]

    @property
    def is_made(self) -> bool:
        """Whether the value exists already."""
        return self._made is not None
