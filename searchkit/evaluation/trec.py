"""Qrels and runs in TREC's text formats, and qrels as the tab-separated tables of BEIR.

Ranks in a run file are ignored when it is read, as trec_eval does: rows are ordered by score, highest first, and equal
scores by passage id, last first.
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from searchkit.errors import ConfigError
from searchkit.evaluation.judged import Qrels, Run, ScoredPassage

_HEADERS = frozenset({"score", "relevance", "rel", "label", "grade", "judgment", "judgement"})
"""What the last column of a table of judgments is called, where it has names."""


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file, ``.gz`` included, that hold anything, with their 1-based numbers.

    Raises:
        ConfigError: The file cannot be read or is not UTF-8.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                text = line.rstrip("\r\n")
                if text.strip():
                    yield number, text.removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def read_qrels(path: str | Path) -> dict[str, dict[str, int]]:
    """Read judgments: TREC's four columns (query, iteration, passage, relevance) or three (query, passage, relevance).

    Columns are separated by tabs where a line has any, else by spaces. A first line whose last column is named
    ``score``, ``relevance`` or the like is taken as the header.

    Raises:
        ConfigError: The file is missing, empty or has a row that cannot be understood; the message gives its line.
    """
    path = Path(path)
    qrels: dict[str, dict[str, int]] = {}
    for place, (number, line) in enumerate(read_lines(path)):
        cells = [cell.strip() for cell in line.split("\t")] if "\t" in line else line.split()
        relevance = _relevance(cells[-1])
        if place == 0 and cells[-1].lower() in _HEADERS:
            continue
        if len(cells) not in (3, 4) or relevance is None:
            raise ConfigError(
                f"{path}:{number}: {line[:80]!r} is no judgment: give query id, passage id and a whole number,"
                " or TREC's four columns"
            )
        judgments = qrels.setdefault(cells[0], {})
        if judgments.setdefault(cells[-2], relevance) != relevance:
            raise ConfigError(f"{path}:{number}: passage {cells[-2]!r} is judged twice, differently, for {cells[0]!r}")
    if not qrels:
        raise ConfigError(f"{path} holds no judgments")
    return qrels


def _relevance(cell: str) -> int | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return int(value) if value.is_integer() else None


def write_qrels(qrels: Qrels, path: str | Path) -> None:
    """Write judgments in TREC's four columns.

    Raises:
        ConfigError: The file cannot be written, or an id is empty or holds white space, which separates the columns.
    """
    rows = (
        f"{_cell(query_id)} 0 {_cell(passage_id)} {relevance}\n"
        for query_id, judgments in qrels.items()
        for passage_id, relevance in judgments.items()
    )
    _write(path, "".join(rows))


def read_run(path: str | Path, *, name: str | None = None) -> Run:
    """Read a run: query, ``Q0``, passage, rank, score, tag.

    Args:
        path: The file; ``.gz`` is unpacked.
        name: Name of the run; ``None`` takes the file's tag.

    Raises:
        ConfigError: The file is missing, empty or has a row that cannot be understood; the message gives its line.
    """
    path = Path(path)
    rows: dict[str, dict[str, float]] = {}
    tag = path.stem
    for number, line in read_lines(path):
        cells = line.split()
        score = _score(cells[4]) if len(cells) == 6 else None
        if score is None:
            raise ConfigError(f"{path}:{number}: {line[:80]!r} is no row of a run: query Q0 passage rank score tag")
        passages = rows.setdefault(cells[0], {})
        if cells[2] in passages:
            raise ConfigError(f"{path}:{number}: passage {cells[2]!r} occurs twice for query {cells[0]!r}")
        passages[cells[2]] = score
        tag = cells[5]
    if not rows:
        raise ConfigError(f"{path} holds no run")
    return Run(name or tag, {query_id: _ordered(passages) for query_id, passages in rows.items()})


def _score(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return None if math.isnan(value) else value


def _ordered(passages: dict[str, float]) -> tuple[ScoredPassage, ...]:
    by_id = sorted(passages.items(), key=lambda row: row[0], reverse=True)
    return tuple(ScoredPassage(*row) for row in sorted(by_id, key=lambda row: row[1], reverse=True))


def write_run(run: Run, path: str | Path) -> None:
    """Write a run so that every TREC tool reads it in our order.

    Tools sort by score in single precision. Where that would change the order (ties, scores of two stages in one
    list), the query's scores are written as n, n - 1, ... 1.

    Raises:
        ConfigError: The file cannot be written, or an id is empty or holds white space, which separates the columns.
    """
    lines: list[str] = []
    tag = "-".join(re.findall(r"[\w.]+", run.name)) or "run"
    for query_id, ranking in run.rankings.items():
        scores = [f"{row.score:.6g}" for row in ranking]
        values = [float(score) for score in scores]
        if any(not later < earlier for earlier, later in pairwise(values)):
            scores = [str(len(ranking) - place) for place in range(len(ranking))]
        lines.extend(
            f"{_cell(query_id)} Q0 {_cell(row.passage_id)} {rank} {score} {tag}\n"
            for rank, (row, score) in enumerate(zip(ranking, scores, strict=True), start=1)
        )
    _write(path, "".join(lines))


def _write(path: str | Path, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def _cell(value: str) -> str:
    if not value or value.split() != [value]:
        raise ConfigError(f"id {value!r} cannot stand in a TREC file: its columns are separated by white space")
    return value
