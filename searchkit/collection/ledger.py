"""What a store should hold, as three numbers that do not depend on any order.

A store that lost points, or brought back older ones, answers as if nothing had happened. The ledger is kept beside the
store by its one writer and compared when it is opened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_MODULUS = 2**128


@dataclass(frozen=True, slots=True)
class Ledger:
    """Number of points, a checksum over their ids, and one over their contents.

    Attributes:
        points: Number of points.
        checksum: Sum of their ids modulo 2**128.
        content: Sum of a mark for each point, of its id and the digest of its passage, modulo 2**128.
    """

    points: int = 0
    checksum: int = 0
    content: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the ledger as JSON values; the sums as text, since no JSON number holds them."""
        return {"points": self.points, "checksum": f"{self.checksum:x}", "content": f"{self.content:x}"}

    def written(self, now: Mapping[int, str], before: Mapping[int, str]) -> Ledger:
        """Return the ledger after points were stored.

        Args:
            now: Digest of each stored point's passage.
            before: The digests of those that were there, as they were.
        """
        new = [point for point in now if point not in before]
        return Ledger(
            self.points + len(new),
            (self.checksum + sum(new)) % _MODULUS,
            (self.content + _marks(now) - _marks(before)) % _MODULUS,
        )

    def deleted(self, before: Mapping[int, str]) -> Ledger:
        """Return the ledger after points were deleted, given the digests they had."""
        return Ledger(
            self.points - len(before),
            (self.checksum - sum(before)) % _MODULUS,
            (self.content - _marks(before)) % _MODULUS,
        )


def read_ledger(stored: Mapping[str, Any]) -> Ledger:
    """Return the ledger that `Ledger.to_json` gave.

    Raises:
        KeyError, TypeError, ValueError: It is damaged.
    """
    return Ledger(int(stored["points"]), int(stored["checksum"], 16), int(stored["content"], 16))


def ledger_of(pages: Iterable[Mapping[int, str]]) -> Ledger:
    """Return the ledger of a store that holds the points of ``pages``, given with their digests."""
    ledger = Ledger()
    for page in pages:
        ledger = ledger.written(page, {})
    return ledger


def _marks(digests: Mapping[int, str]) -> int:
    return sum(
        int.from_bytes(hashlib.blake2b(point.to_bytes(16, "big") + digest.encode(), digest_size=16).digest(), "big")
        for point, digest in digests.items()
    )
