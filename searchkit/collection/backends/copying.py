"""Copies of an engine's folder: one of its own, or one that shares the large files for reading."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

_BLOCK = 1 << 20
_ZEROS = bytes(_BLOCK)
_LINKED_BYTES = 2**16
_LOG = "wal"


def copy_store(source: Path, target: Path) -> None:
    """Copy a store; space that was preallocated and never written stays unallocated."""
    _fill(target, source, copy_file)


def copy_file(source: Path, target: Path) -> None:
    """Copy one file in that way."""
    with source.open("rb", buffering=0) as old, target.open("wb", buffering=0) as new:
        buffer = bytearray(_BLOCK)
        view = memoryview(buffer)
        size = 0
        while length := old.readinto(buffer):
            if view[:length] != _ZEROS[:length]:
                new.seek(size)
                new.write(view[:length])
            size += length
        new.truncate(size)


def view_store(source: Path, target: Path) -> None:
    """Fill an empty folder for a reader, without the log, of which the engine wants one of its own.

    The engine writes its small files anew whenever it closes, so they are copied; the large ones, which it does not
    write unless it is told to, are linked, or copied where the file system has no links.
    """

    def share(path: Path, place: Path) -> None:
        if path.stat().st_size > _LINKED_BYTES:
            try:
                os.link(path, place)
            except OSError:
                copy_file(path, place)
        else:
            shutil.copyfile(path, place)

    _fill(target, source, share, left_out=_LOG)


def _fill(target: Path, source: Path, copy: Callable[[Path, Path], None], left_out: str = "") -> None:
    target.mkdir(exist_ok=True)
    for path in sorted(source.rglob("*")):
        parts = path.relative_to(source)
        if parts.parts[0] == left_out:
            continue
        if path.is_dir():
            (target / parts).mkdir()
        else:
            copy(path, target / parts)
