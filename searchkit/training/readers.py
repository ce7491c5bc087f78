"""Training pairs from files: JSON lines, CSV and Parquet, with errors that name the row."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Literal

from pydantic import ValidationError

from searchkit.errors import ConfigError, MissingExtraError
from searchkit.training.pairs import COLUMNS, LabelledPair

Row = tuple[int, Mapping[str, Any]]
_LONGEST_FIELD = 2**31 - 1
"""Characters; the csv module's own limit of 131,072 refuses whole documents."""


def read_pairs(path: str | Path) -> list[LabelledPair]:
    """Return the pairs of a file with the columns ``sentence_0``, ``sentence_1`` and ``label``.

    The format is told by the ending: ``.jsonl``, ``.csv`` (with a header), ``.tsv`` or ``.parquet``; the text formats
    may be gzipped (``.jsonl.gz``). Further columns are ignored. Labels may be numbers, booleans or numerals.

    Raises:
        ConfigError: The file is missing, damaged, of an unknown format, lacks a column or has a row that is no pair.
        MissingExtraError: Parquet without the extra 'train'.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"There is no file {str(path)!r} with training pairs.")
    ending = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    reader = _READERS.get(ending.removesuffix(".gz"))
    if reader is None:
        raise ConfigError(f"{path.name!r}: pairs are read from .jsonl, .csv, .tsv or .parquet, not from {ending!r}.")
    try:
        return [_pair(path, number, row) for number, row in reader(path)]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise ConfigError(f"{str(path)!r} cannot be read: {error}") from error


def _json_lines(path: Path) -> Iterator[Row]:
    with _opened(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ConfigError(f"{path}:{number}: not JSON ({error}).") from error
            if not isinstance(row, dict):
                raise ConfigError(f"{path}:{number}: a JSON object is needed, not {line.strip()[:60]!r}.")
            yield number, row


def _separated(delimiter: str, quoting: Literal[0, 3]) -> Callable[[Path], Iterator[Row]]:
    def rows(path: Path) -> Iterator[Row]:
        before = csv.field_size_limit(_LONGEST_FIELD)  # the module's own state
        try:
            with _opened(path) as file:
                reader = csv.DictReader(file, delimiter=delimiter, quoting=quoting)
                for row in reader:
                    yield reader.line_num, row
        finally:
            csv.field_size_limit(before)

    return rows


def _parquet(path: Path) -> Iterator[Row]:
    try:
        import pyarrow  # type: ignore[import-untyped]
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("reading Parquet", "train") from error
    try:
        rows = parquet.read_table(path).to_pylist()
    except pyarrow.ArrowException as error:
        raise ConfigError(f"{str(path)!r} is not a Parquet file: {error}") from error
    yield from enumerate(rows, start=1)


_READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": _json_lines,
    ".csv": _separated(",", csv.QUOTE_MINIMAL),
    # In a table of tabs a quotation mark is a character: one at a field's start must not swallow the rows below.
    ".tsv": _separated("\t", csv.QUOTE_NONE),
    ".parquet": _parquet,
}


def _opened(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _pair(path: Path, number: int, row: Mapping[str, Any]) -> LabelledPair:
    missing = [column for column in COLUMNS if row.get(column) is None]
    if missing:
        raise ConfigError(
            f"{path}:{number}: no {' and no '.join(missing)}; a row needs the columns {', '.join(COLUMNS)}."
        )
    try:
        return LabelledPair(
            sentence_0=row["sentence_0"], sentence_1=row["sentence_1"], label=_label(path, number, row["label"])
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"{path}:{number}: {first['loc'][0]}: {first['msg']} (got {first['input']!r:.60})."
        ) from error


def _label(path: Path, number: int, value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]  # what float() refuses is the error below
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"{path}:{number}: label {value!r:.60} is not a number between 0 and 1.") from error
