"""A checksum of points that does not depend on their order. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from searchkit.collection.backends.base import Point

_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))


@dataclass(slots=True)
class Checksum:
    """Number of points, and the sum of their digests modulo 2**128."""

    count: int = 0
    value: int = 0

    def add(self, points: Iterable[Point]) -> None:
        """Enter points."""
        for point in points:
            self.count += 1
            self.value += int.from_bytes(content_digest(point), "big")
        self.value %= 2**128


def content_digest(point: Point) -> bytes:
    """Return 16 bytes of id, payload and sparse vector.

    The dense vector is left out: engines scale it once more, which moves its last bits, so it is compared by itself.
    """
    digest = hashlib.blake2b(point.id.to_bytes(16, "big"), digest_size=16)
    digest.update(_CANONICAL.encode(point.payload).encode("utf-8", "surrogatepass"))
    if point.sparse is not None:
        order = np.argsort(np.asarray(point.sparse.indices, dtype=np.int64), kind="stable")
        digest.update(np.asarray(point.sparse.indices, dtype="<u4")[order].tobytes())
        digest.update(np.asarray(point.sparse.values, dtype="<f4")[order].tobytes())
    return digest.digest()
