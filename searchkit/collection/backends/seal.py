"""The seal: sizes and checksums of all files of the engine, taken when a store was closed in good order.

The engine checks nothing that it reads: a flipped bit in a vector is another vector, and a damaged log is a shorter
store. Reading every file once at open costs about 0.4 s a gigabyte and finds any of it before the engine looks.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_BLOCK = 1 << 20
_ZEROS = bytes(_BLOCK)
_EXTRA_MATTERS = "segments"
"""Below this folder the engine loads whatever it finds; elsewhere a file too many does no harm."""


@dataclass(frozen=True, slots=True)
class FileMark:
    """What a file looked like.

    Attributes:
        size: Length in bytes.
        crc: CRC-32 over its blocks that are not all zeros, each with its place: preallocated space costs nothing.
    """

    size: int
    crc: int


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that is not as it was when the store was closed.

    Attributes:
        name: Path below the engine's folder.
        fault: "is missing", "has ... bytes instead of ...", "was changed" or "does not belong there".
    """

    name: str
    fault: str

    def __str__(self) -> str:
        return f"{self.name} {self.fault}"


Seal = Mapping[str, FileMark]


def take_seal(folder: Path) -> dict[str, FileMark]:
    """Return the marks of all files below ``folder``, which nobody may write meanwhile."""
    return {name: mark(folder / name) for name in sorted(_files(folder))}


def find_damage(folder: Path, seal: Seal) -> list[Damage]:
    """Return what is different from when the seal was taken."""
    there = set(_files(folder))
    found = [Damage(name, "does not belong there") for name in there - seal.keys() if name.startswith(_EXTRA_MATTERS)]
    for name, expected in seal.items():
        if name not in there:
            found.append(Damage(name, "is missing"))
            continue
        size = (folder / name).stat().st_size
        if size != expected.size:
            found.append(Damage(name, f"has {size} bytes instead of {expected.size}"))
        elif mark(folder / name) != expected:
            found.append(Damage(name, "was changed"))
    return sorted(found, key=lambda damage: damage.name)


def mark(path: Path) -> FileMark:
    """Return what a file looks like."""
    crc = 0
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        buffer = bytearray(_BLOCK)
        view = memoryview(buffer)
        for start in _written_blocks(file, size):
            file.seek(start)
            length = file.readinto(buffer)
            block = view[:length]
            if block != _ZEROS[:length]:
                crc = zlib.crc32(block, zlib.crc32(start.to_bytes(8, "big"), crc))
    return FileMark(size, crc)


def _written_blocks(file: BinaryIO, size: int) -> Iterator[int]:
    """Return where the blocks of a file start, without those that the file system knows to be empty."""
    start = 0
    while start < size:
        yield start
        start += _BLOCK
        if start < size:
            data = _next_data(file, start)
            if data is None:
                return
            start = max(start, data - data % _BLOCK)


def _next_data(file: BinaryIO, start: int) -> int | None:
    if not hasattr(os, "SEEK_DATA"):  # pragma: no cover  # Windows
        return start
    try:
        return os.lseek(file.fileno(), start, os.SEEK_DATA)
    except OSError:  # nothing but a hole up to the end
        return None


def _files(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            yield path.relative_to(folder).as_posix()
