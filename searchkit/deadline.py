"""A point in time that a search must not outlast."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the monotonic clock; the whole search shares one.

    Attributes:
        at: Seconds on ``time.monotonic()``; infinity means no deadline.
    """

    at: float = math.inf

    @classmethod
    def after(cls, seconds: float | None) -> Deadline:
        """Return the deadline ``seconds`` from now; ``None`` means never."""
        return cls() if seconds is None else cls(time.monotonic() + seconds)

    @property
    def remaining_s(self) -> float:
        """Seconds left, 0 when it has passed, infinity without a deadline."""
        return max(0.0, self.at - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether the moment has passed."""
        return time.monotonic() >= self.at
