"""Who has a collection open: a lock that the system releases when a process ends, and who holds it, for the others."""

from __future__ import annotations

import json
import os
import socket
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

if sys.platform == "win32":  # pragma: no cover
    import msvcrt
else:
    import fcntl

_MAX_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that has a collection open.

    Attributes:
        pid: Its id.
        host: Name of its machine.
        since: When it opened the collection, as ISO 8601 in UTC.
        is_reader: Whether it only reads; others may read beside it, and it is the last of them that came.
    """

    pid: int
    host: str
    since: str
    is_reader: bool = False

    def __str__(self) -> str:
        here = socket.gethostname()
        where = "" if self.host == here else f" on {self.host}"
        own = ", this process" if self.pid == os.getpid() and self.host == here else ""
        return f"process id {self.pid}{own}{where}, since {self.since}{', only reading' if self.is_reader else ''}"


def take_lock(path: Path, *, is_reader: bool = False) -> IO[str]:
    """Lock ``path`` for this process and return the open file; closing it unlocks.

    Args:
        path: The lock's file; made if it is not there.
        is_reader: Whether other readers may have it too.

    Raises:
        BlockingIOError: Somebody else has it; `find_owner` says who.
    """
    handle = path.open("a+", encoding="utf-8")
    try:
        _lock_file(handle, is_reader=is_reader)
    except OSError as error:
        handle.close()
        raise BlockingIOError(*error.args) from error  # Windows says PermissionError
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    handle.seek(0)
    handle.truncate()
    handle.write(json.dumps(asdict(Owner(os.getpid(), socket.gethostname(), now, is_reader))))
    handle.flush()
    return handle


def find_owner(path: Path) -> Owner | None:
    """Return who took the lock last, whether or not it is still held; ``None`` if nothing readable says so."""
    with suppress(OSError, LookupError, ValueError, TypeError, RecursionError), path.open(encoding="utf-8") as file:
        stored = json.loads(file.read(_MAX_BYTES))
        return Owner(int(stored["pid"]), str(stored["host"]), str(stored["since"]), bool(stored["is_reader"]))
    return None


def _lock_file(handle: IO[str], *, is_reader: bool) -> None:
    if sys.platform == "win32":  # pragma: no cover  # it has no lock that several can share
        handle.seek(_MAX_BYTES)  # beyond what others must be able to read
        msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(handle, (fcntl.LOCK_SH if is_reader else fcntl.LOCK_EX) | fcntl.LOCK_NB)
