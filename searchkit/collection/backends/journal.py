"""The journal: what the ledger will be after each write, noted before the engine is asked for it.

While points are written the ledger on disk is behind, and a killed writer cannot say how far it came. With the journal
the next one knows: the store holds what the last finished write left, or that and the one under way. Anything else
means that points were lost.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path

from searchkit.collection.ledger import Ledger

_PLANNED, _DONE, _UNKNOWN = "planned", "done", "unknown"


class Journal:
    """An open journal; one thread writes at a time.

    Args:
        path: Its file. It is made, or emptied, at once; that it is there says that a writer has not finished.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)

    def plan(self, ledger: Ledger) -> None:
        """Note what the ledger will be after the write that comes next."""
        self._note(f"{_PLANNED} {ledger.points} {ledger.checksum:x} {ledger.content:x}")

    def done(self) -> None:
        """Note that the engine has acknowledged that write."""
        self._note(_DONE)

    def unknown(self) -> None:
        """Note that a write failed in the engine, which leaves open what was stored."""
        self._note(_UNKNOWN)

    def empty(self) -> None:
        """Forget everything: the ledger on disk has caught up."""
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)

    def close(self, *, is_finished: bool) -> None:
        """Close the file, and remove it if all is safe."""
        os.close(self._file)
        if is_finished:
            self._path.unlink(missing_ok=True)

    def _note(self, line: str) -> None:
        os.write(self._file, f"{line} {_check(line)}\n".encode())


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a store may hold after its last writer.

    Attributes:
        ledgers: The states that are right; ``None`` if any may be, because a write failed in the engine.
    """

    ledgers: tuple[Ledger, ...] | None

    def allows(self, found: Ledger) -> bool:
        """Whether a store in this state lost nothing."""
        return self.ledgers is None or found in self.ledgers


def read_journal(path: Path, stored: Ledger) -> Expectation:
    """Return what the store may hold, given the ledger that was last on disk.

    Raises:
        ValueError: The journal is damaged.
    """
    settled, planned = stored, None
    *lines, _ = path.read_bytes().split(b"\n")
    for raw in lines:
        line, _, check = raw.decode("ascii").rpartition(" ")
        if check != _check(line):
            raise ValueError("a line does not fit its checksum")
        word, *numbers = line.split()
        if word == _UNKNOWN:
            return Expectation(None)
        if word == _DONE and planned is not None:
            settled, planned = planned, None
        elif word == _PLANNED:
            planned = Ledger(int(numbers[0]), int(numbers[1], 16), int(numbers[2], 16))
    # What follows the last line end is a note that was not finished: of a write not begun, or of the end of one.
    return Expectation((settled,) if planned is None else (settled, planned))


def _check(line: str) -> str:
    return f"{zlib.crc32(line.encode()):08x}"
