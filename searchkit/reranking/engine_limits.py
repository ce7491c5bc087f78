"""How large a call of a cross-encoder may be, and how long anybody waits for one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """How large an engine call may be and how long it may take.

    Attributes:
        max_cost: Characters in one engine call at most (about four to a token).
        slice_s: Seconds that one engine call should take at most, by the speed seen so far; what a newcomer waits.
        hang_s: Seconds after which a call counts as hung.
        first_call_s: The same for calls before the first success, which may load or even download the model.
        max_hung: Hung threads that are left behind at most; beyond it every call fails at once.
        idle_s: Seconds without work after which the thread ends; the next call starts one.
    """

    max_cost: int = 2**19
    slice_s: float = 0.25
    hang_s: float = 30.0
    first_call_s: float = 600.0
    max_hung: int = 2
    idle_s: float = 60.0
