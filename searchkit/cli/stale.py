"""What `searchkit index` wrote earlier and what files no longer hold: lines and files that are gone since.

Ids are all there is to go by: a passage is taken for one of ours if its id is the one that a text file, or a line
without an id of its own, gets from the path in its metadata. A program or a row can have such an id too, so what is
stale is named and never deleted here. Rows with other ids are counted apart.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from searchkit.cli.sources import TABLE_KINDS, TEXT_KINDS, FilePassages, Found, display_path
from searchkit.collection.collection import Collection
from searchkit.collection.filters import IS_FIRST_WINDOW
from searchkit.collection.schema import ID, METADATA, passage_key, point_id
from searchkit.types import PassageId

_FIELDS = (ID, METADATA)


@dataclass(slots=True)
class Leftovers:
    """What the collection holds of the indexed paths, and the files do not.

    Attributes:
        stale: Ids of passages that this command seems to have written from a line or file that is gone.
        unsure: Ids of passages whose metadata names such a file, with ids that do not tell who wrote them.
        elsewhere: Ids of passages of the same files under other names, as another working folder gives them.
    """

    stale: list[PassageId] = field(default_factory=list)
    unsure: list[PassageId] = field(default_factory=list)
    elsewhere: list[PassageId] = field(default_factory=list)


def find_leftovers(
    collection: Collection, paths: Iterable[Path], found: Found, passages: FilePassages, *, is_first_time: bool
) -> Leftovers:
    """Return what is left in the collection of an earlier state of ``paths``.

    Args:
        collection: What was indexed into.
        paths: The files and folders that were given.
        found: The files that were read.
        passages: What was read of them, to its end.
        is_first_time: Whether all that was read is new. The names of files that are gone then mean nothing: they
            may have been given in another working folder.
    """
    kept = passages.places.keys() | {problem.place for problem in passages.problems if problem.extent == "row"}
    names = _Names(found.files, () if is_first_time else paths)
    left = Leftovers()
    for point, payload in _first_windows(collection):
        passage_id, metadata = payload[ID], payload.get(METADATA) or {}
        name = metadata.get("path")
        if passage_id in kept or not isinstance(name, str):
            continue
        is_ours = _is_id_of(passage_id, name, metadata) and point == point_id(passage_key(passage_id))
        if names.are_elsewhere(name):
            left.elsewhere += [passage_id] if is_ours else []
        elif names.hold(name):
            if is_ours:
                left.stale.append(passage_id)
            elif name.lower().endswith(TABLE_KINDS):
                left.unsure.append(passage_id)
    return left


def _first_windows(collection: Collection) -> Iterator[tuple[int, Mapping[str, Any]]]:
    backend = collection.backend
    for page in backend.scan(backend.render(IS_FIRST_WINDOW)):
        yield from backend.fetch(page, _FIELDS).items()


def _is_id_of(passage_id: PassageId, name: str, metadata: Mapping[str, Any]) -> bool:
    """Whether the command itself made this id from the file's name."""
    if name.lower().endswith(TEXT_KINDS):
        return passage_id == name and len(metadata) == 1
    if not name.lower().endswith(TABLE_KINDS) or not isinstance(passage_id, str):
        return False
    file, _, line = passage_id.rpartition(":")
    return file == name and line.isascii() and line.isdigit()


class _Names:
    """The files that were read and the folders that were walked, by the names that ids have."""

    def __init__(self, files: Iterable[Path], paths: Iterable[Path]) -> None:
        self._read = {display_path(path) for path in files}
        self._working = Path.cwd().as_posix()
        self._folders = [f"{self._full(display_path(path)).rstrip('/')}/" for path in paths if path.is_dir()]
        self._by_last: dict[str, list[str]] = {}
        for name in self._read:
            self._by_last.setdefault(name.rpartition("/")[2], []).append(self._full(name))
        self._known: dict[str, tuple[bool, bool]] = {}

    def hold(self, name: str) -> bool:
        """Whether ``name`` was read, or lay in a folder that was walked and is gone."""
        return self._judged(name)[0]

    def are_elsewhere(self, name: str) -> bool:
        """Whether a file that was read has ``name`` in another working folder, and no file has it in this one."""
        return self._judged(name)[1]

    def _judged(self, name: str) -> tuple[bool, bool]:
        if name not in self._known:
            self._known[name] = self._judge(name)
        return self._known[name]

    def _judge(self, name: str) -> tuple[bool, bool]:
        if name in self._read:
            return True, False
        full = self._full(name)
        is_gone = _is_gone(full)
        alike = self._by_last.get(name.rpartition("/")[2], [])
        if full in alike or (is_gone and any(one.endswith(f"/{name}") for one in alike)):
            return False, True
        is_under = any(full.startswith(folder) for folder in self._folders)
        return is_under and is_gone and not self._is_named_from_above(name), False

    def _is_named_from_above(self, name: str) -> bool:
        """Whether the file is there, seen from a folder above the working one: it was indexed from there."""
        return any(not _is_gone(f"{folder.as_posix()}/{name}") for folder in Path(self._working).parents)

    def _full(self, name: str) -> str:
        return os.path.normpath(f"{self._working}/{name}" if not Path(name).is_absolute() else name).replace(
            os.sep, "/"
        )


def _is_gone(full: str) -> bool:
    """Whether there is certainly no such file; what may not be looked at is not gone."""
    try:
        os.lstat(full)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return False
    return False
