"""Files and folders as passages: which files there are, what each holds, and why something was left out."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from searchkit.collection.passages import read_record
from searchkit.config import IngestConfig
from searchkit.errors import PayloadError
from searchkit.types import PassageId

Record = dict[str, Any]
TEXT_KINDS = (".txt", ".md")
TABLE_KINDS = (".jsonl", ".csv")
KINDS = (*TEXT_KINDS, *TABLE_KINDS)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that was not indexed.

    Attributes:
        place: A file, or ``file:line``.
        reason: Why.
        extent: What could not be read: one row, or a whole file or folder; "nothing" where it was read and is empty.
    """

    place: str
    reason: str
    extent: Literal["row", "whole", "nothing"] = "row"


@dataclass(slots=True)
class Found:
    """The files under the paths that were given.

    Attributes:
        files: Files of a kind that can be read, sorted within each path, each once.
        left_alone: How many files of other kinds there were, by ending.
        problems: Paths that are not there.
    """

    files: list[Path] = field(default_factory=list)
    left_alone: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)


def find_files(paths: Iterable[Path]) -> Found:
    """Return the files under ``paths``; folders are walked, except hidden ones and links to folders."""
    found = Found()
    for path in paths:
        if path.is_dir():
            for folder, subfolders, names in os.walk(path, onerror=lambda error: _note(found, error)):
                subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
                for name in sorted(names):
                    _take(found, Path(folder) / name)
        elif path.exists():
            _take(found, path)
        else:
            found.problems.append(Problem(str(path), "there is no such file or folder", "whole"))
    found.files = list(dict.fromkeys(found.files))
    return found


def _take(found: Found, path: Path) -> None:
    if path.suffix.lower() in KINDS and not path.name.startswith("."):
        found.files.append(path)
    else:
        found.left_alone["hidden" if path.name.startswith(".") else path.suffix.lower() or "no ending"] += 1


def _note(found: Found, error: OSError) -> None:
    found.problems.append(Problem(str(error.filename), error.strerror or str(error), "whole"))


def display_path(path: Path) -> str:
    """Return how a file is called in ids: relative to the working folder if it lies in it, else in full."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100  # Path.resolve would follow links, and the id should not
    working = Path.cwd()
    return (absolute.relative_to(working) if absolute.is_relative_to(working) else absolute).as_posix()


class FilePassages:
    """The passages of files, streamed; what cannot be indexed is noted in ``problems`` and skipped.

    A text file is one passage with its path as id. A row of a table is one passage: its ``id`` (or ``_id``), else
    ``path:line``; its other fields are metadata, and ``path`` is where it came from.

    Args:
        files: What to read.
        text_column: Field or column that holds the text; ``None`` means "text".

    Attributes:
        problems: Filled while the passages are iterated.
        places: Where each passage was found, by its id; filled like ``problems``.
    """

    def __init__(self, files: Iterable[Path], *, text_column: str | None = None) -> None:
        self._files = list(files)
        self._text_column = text_column or "text"
        self._max_chars = IngestConfig().max_passage_chars
        self.problems: list[Problem] = []
        self.places: dict[PassageId, str] = {}

    def __len__(self) -> int:
        """Return about how many passages there are: one a text file, one a line of a table."""
        return sum(1 if path.suffix.lower() in TEXT_KINDS else _line_count(path) for path in self._files)

    def __iter__(self) -> Iterator[Record]:
        seen = self.places
        for path in self._files:
            for place, record in self._read(path):
                reason = self._fault(record)
                passage_id: PassageId = record["id"]
                if reason is None and passage_id in seen:
                    reason = f"the id {passage_id!r} was given before, at {seen[passage_id]}"
                if reason is not None:
                    self.problems.append(Problem(place, reason))
                    continue
                seen[passage_id] = place
                yield record

    def _fault(self, record: Record) -> str | None:
        try:
            read_record(record, self._max_chars)
        except PayloadError as error:
            return str(error)
        return None

    def _read(self, path: Path) -> Iterator[tuple[str, Record]]:
        name = display_path(path)
        readers = {".jsonl": self._read_jsonl, ".csv": self._read_csv}
        reader = readers.get(path.suffix.lower(), self._read_text)
        try:
            yield from reader(path, name)
        except UnicodeDecodeError as error:
            reason = f"is not UTF-8 text (byte {error.start} of a block): save it as UTF-8"
            self.problems.append(Problem(name, reason, "whole"))
        except (OSError, csv.Error) as error:
            self.problems.append(Problem(name, f"cannot be read: {getattr(error, 'strerror', None) or error}", "whole"))

    def _read_text(self, path: Path, name: str) -> Iterator[tuple[str, Record]]:
        text = path.read_text(encoding="utf-8-sig")
        if text.strip():
            yield name, {"id": name, "text": text, "metadata": {"path": name}}
        else:
            self.problems.append(Problem(name, "is empty", "nothing"))

    def _read_jsonl(self, path: Path, name: str) -> Iterator[tuple[str, Record]]:
        is_empty = True
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                is_empty = False
                place = f"{name}:{number}"
                try:
                    fields = json.loads(line)
                except (ValueError, RecursionError) as error:
                    self.problems.append(Problem(place, f"is no JSON: {error}"))
                    continue
                fields = {self._text_column: fields} if isinstance(fields, str) else fields
                record = self._row(fields, name, place)
                if record is not None:
                    yield place, record
        if is_empty:
            self.problems.append(Problem(name, "is empty", "nothing"))

    def _read_csv(self, path: Path, name: str) -> Iterator[tuple[str, Record]]:
        csv.field_size_limit(2**31 - 1)  # the default refuses a text of 128 KiB
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = reader.fieldnames
            if columns is None:
                self.problems.append(Problem(name, "is empty", "nothing"))
                return
            if self._text_column not in columns:
                names = ", ".join(map(repr, columns))
                reason = f"has no column {self._text_column!r}: name one of {names} with --text-column"
                self.problems.append(Problem(name, reason, "whole"))
                return
            for fields in reader:
                place = f"{name}:{reader.line_num}"
                if None in fields or None in fields.values():
                    count = len(columns)
                    self.problems.append(Problem(place, f"has more or fewer cells than the {count} of the header"))
                    continue
                record = self._row(fields, name, place)
                if record is not None:
                    yield place, record

    def _row(self, fields: object, name: str, place: str) -> Record | None:
        if not isinstance(fields, Mapping):
            self.problems.append(Problem(place, f"is a {type(fields).__name__}, not an object with fields"))
            return None
        rest = {key: value for key, value in fields.items() if key not in ("id", "_id", self._text_column)}
        if self._text_column not in fields:
            self.problems.append(Problem(place, f"has no field {self._text_column!r}: see --text-column"))
            return None
        nested = rest.get("metadata")
        if isinstance(nested, Mapping):
            del rest["metadata"]
            twice = sorted(nested.keys() & rest.keys())
            if twice:
                self.problems.append(Problem(place, f"gives {twice[0]!r} twice, beside 'metadata' and inside it"))
                return None
            rest.update(nested)
        passage_id = next((fields[key] for key in ("id", "_id") if fields.get(key) not in (None, "")), place)
        return {"id": passage_id, "text": fields[self._text_column], "metadata": {"path": name, **rest}}


def _line_count(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(2**20), b"")) or 1
    except OSError:
        return 1
