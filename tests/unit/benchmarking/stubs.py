"""Contestants that need no model, and sentences that need no sources."""

from __future__ import annotations

import threading
import time

import numpy as np

SENTENCES = tuple(
    f"The {adjective} {noun} of a file is read {adverb} by the server."
    for adjective in ("first", "last", "hidden", "longest")
    for noun in ("line", "name", "part", "owner", "size")
    for adverb in ("once", "twice", "slowly", "again", "lazily")
)


class Stub:
    """Scores a pair by the length of its text, in as much time as it is told."""

    setup = "stub"

    def __init__(self, name, *, is_ours=False, seconds=0.0, noise=0.0, fails_on=lambda _: False, log=None):
        self.name, self.is_ours = name, is_ours
        self.seconds, self.noise, self.fails_on = seconds, noise, fails_on
        self.log = log if log is not None else []
        self.callers = set()

    def load(self):
        self.log.append(f"load {self.name}")

    def score(self, pairs):
        self.log.append(self.name)
        self.callers.add(threading.get_ident())
        if self.fails_on(pairs):
            raise RuntimeError(f"cannot score {len(pairs)} pairs\nsecond line")
        time.sleep(self.seconds)
        values = np.array([float(len(text)) for _, text in pairs], dtype=np.float32)
        return values + self.noise * np.arange(len(pairs), dtype=np.float32)
