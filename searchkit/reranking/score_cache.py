"""Scores of pairs that were asked before: least recently used goes first, bounded in bytes, exact by content."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

ENTRY_BYTES = 256
"""What one entry takes in CPython: 16-byte key, tuple, float and the dict's own slots (measured: 212 to 241)."""


class CachedScore(NamedTuple):
    """What stage 2 said of one pair.

    Attributes:
        logit: Raw model output; a float32, exactly.
        truncated_tokens: Tokens of the text that the model could not see.
        query_truncated_tokens: Tokens of the query that the model could not see.
        engine: What scored it.
    """

    logit: float
    truncated_tokens: int
    query_truncated_tokens: int
    engine: str


class PairScoreCache:
    """A map from (model, query, text) to a score, safe to use from several threads.

    Holds no text: a key is a 128-bit BLAKE2b digest, so that two pairs meeting by chance is out of the question.

    Args:
        max_bytes: Memory that the entries may take, counted as `ENTRY_BYTES` each.
    """

    def __init__(self, max_bytes: int) -> None:
        self._capacity = max_bytes // ENTRY_BYTES
        self._entries: OrderedDict[bytes, CachedScore] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._entries)

    @property
    def size_bytes(self) -> int:
        """Memory that the entries take."""
        return len(self._entries) * ENTRY_BYTES

    def find(self, keys: Sequence[bytes]) -> list[CachedScore | None]:
        """Return the score of each key, ``None`` where there is none; what is found counts as just used."""
        with self._lock:
            found = [self._entries.get(key) for key in keys]
            for key, score in zip(keys, found, strict=True):
                if score is not None:
                    self._entries.move_to_end(key)
            return found

    def store(self, scores: Iterable[tuple[bytes, CachedScore]]) -> None:
        """Keep scores; the least recently used make room for them."""
        with self._lock:
            for key, score in scores:
                self._entries[key] = score
                self._entries.move_to_end(key)
            while len(self._entries) > self._capacity:
                self._entries.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()


def pair_keys(identity: str, pairs: Sequence[tuple[str, str]]) -> list[bytes]:
    """Return the key of each pair.

    Args:
        identity: What tells one model from another.
        pairs: The query as the model reads it (criteria included) and the text.
    """
    prefixes: dict[str, hashlib.blake2b] = {}
    keys = []
    for query, text in pairs:
        prefix = prefixes.get(query)
        if prefix is None:
            prefix = prefixes[query] = hashlib.blake2b(_framed(identity) + _framed(query), digest_size=16)
        digest = prefix.copy()
        digest.update(_encoded(text))
        keys.append(digest.digest())
    return keys


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # a lone surrogate is the tokenizer's business, not the cache's


def _framed(text: str) -> bytes:
    """Return the bytes with their length before them, so that ("ab", "c") and ("a", "bc") differ."""
    data = _encoded(text)
    return len(data).to_bytes(8, "little") + data
