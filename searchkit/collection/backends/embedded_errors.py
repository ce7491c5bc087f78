"""Exceptions of the embedded engine as ours, in one place.

qdrant-edge raises a bare ``Exception`` for every fault, so the message decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from searchkit.errors import CollectionError, RetrievalError

_ENGINE_TYPES = (Exception, ValueError, TypeError, OverflowError, OSError, RuntimeError)

_MEANINGS: tuple[tuple[str, type[RetrievalError], str], ...] = (
    ("WouldBlock", CollectionError, "it is open in another process; close it there"),
    ("not initialized", CollectionError, "it is closed; open it again"),
    ("No space left", RetrievalError, "the disk is full; free some space and repeat the call"),
    ("ermission denied", CollectionError, "permission denied; check the owner of its files"),
    ("Too many open files", RetrievalError, "too many open files; raise the limit (ulimit -n)"),
    ("does not exist", CollectionError, "something of it does not exist; was it deleted?"),
    (
        "ector dimension error",
        CollectionError,
        "a vector has the wrong length; open it with the encoder it was made with",
    ),
    (
        "Not existing vector name",
        CollectionError,
        "it has no vector of that name; open it with its own SearchKitConfig",
    ),
)


@contextmanager
def mapped_engine_errors(location: str, action: str) -> Iterator[None]:
    """Turn whatever the engine raises into one of our errors, which names ``location`` and what was tried."""
    try:
        yield
    except BaseException as error:
        # The engine's Rust panics derive from BaseException alone; KeyboardInterrupt and ours must pass.
        is_panic = type(error).__name__ == "PanicException"
        if not is_panic and type(error) not in _ENGINE_TYPES:
            raise
        raise _meaning(error, location, action) from error


def _meaning(error: BaseException, location: str, action: str) -> RetrievalError:
    message = str(error)
    for part, kind, sentence in _MEANINGS:
        if part in message:
            return kind(f"cannot {action} {location}: {sentence} [{message}]")
    return RetrievalError(f"cannot {action} {location}: the embedded engine says: {message}")
