"""A text's token ids as one string that is stored with the text and proves itself when it is read back. Pure.

The string is base64 without line breaks. Its first 12 characters name the tokenizer, the next 12 are a digest over text
and ids, the rest are the ids, little-endian, 16 bits each or 32 where the vocabulary is larger. Whatever is wrong with
it (another tokenizer, another text, a character lost or changed), `TokenCodec.decode` says so and gives no ids.
"""

from __future__ import annotations

import binascii
import hashlib

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypeIs

_VERSION = b"searchkit-tokens-1"
_DIGEST_BYTES = 9  # a multiple of 3, so that its base64 has no padding and stands alone
_DIGEST_CHARS = 12
_LARGEST_SHORT = 65_535


class TokenCodec:
    """Writes and reads the token ids of one tokenizer.

    Safe to use from several threads.

    Args:
        tokenizer: What tells one tokenizer from another, in bytes.
        largest_id: Largest token id; beyond 65,535 an id takes four bytes instead of two.
    """

    def __init__(self, tokenizer: bytes, largest_id: int) -> None:
        self._type = np.dtype("<u2" if largest_id <= _LARGEST_SHORT else "<u4")
        frame = _VERSION + bytes([self._type.itemsize])
        self.tag = _base64(hashlib.blake2b(frame + tokenizer, digest_size=_DIGEST_BYTES).digest())

    def encode(self, text: str, ids: list[int] | NDArray[np.int32]) -> str:
        """Return the string for a text and its ids, which are 0 or larger."""
        body = np.asarray(ids, dtype=self._type).tobytes()
        return self.tag + _base64(_digest(text, body) + body)

    def decode(self, text: str, stored: object) -> NDArray[np.int32] | None:
        """Return the ids of ``text``, shape ``(n,)``; ``None`` if ``stored`` was not made of it by this tokenizer."""
        if not self.is_ours(stored):
            return None
        try:
            data = binascii.a2b_base64(stored[_DIGEST_CHARS:])
        except ValueError:  # binascii.Error is one
            return None
        body = data[_DIGEST_BYTES:]
        if len(body) % self._type.itemsize or data[:_DIGEST_BYTES] != _digest(text, body):
            return None
        return np.frombuffer(body, dtype=self._type).astype(np.int32)

    def is_ours(self, stored: object) -> TypeIs[str]:
        """Whether ``stored`` names this tokenizer; nothing is said of its text."""
        return isinstance(stored, str) and stored.startswith(self.tag)


def _digest(text: str, body: bytes) -> bytes:
    # The length stands before the ids, so that none of them can pass for a part of the text.
    framed = len(body).to_bytes(4, "little") + body + text.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(framed, digest_size=_DIGEST_BYTES).digest()


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode("ascii")
