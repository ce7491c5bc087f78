"""Judged queries and corpora in folders.

Two layouts are read, both plain or gzipped:

- BEIR's: ``corpus.jsonl``, ``queries.jsonl``, ``qrels/<split>.tsv``;
- a flat one: ``queries.jsonl`` and ``qrels.tsv`` beside it.

A query is a JSON object with ``_id`` or ``id``, ``text`` or ``query``, and optionally ``criteria`` or ``instruction``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from searchkit.errors import ConfigError
from searchkit.evaluation.judged import JudgedQueries, JudgedQuery, join_judgments
from searchkit.evaluation.trec import read_lines, read_qrels
from searchkit.types import Passage

_SPLITS = ("test", "dev", "validation", "train")


def read_judged(folder: str | Path, *, split: str | None = None, preferred: Sequence[str] = _SPLITS) -> JudgedQueries:
    """Read the judged queries of a folder.

    Args:
        folder: BEIR's layout or the flat one.
        split: File name without ending under ``qrels/``; ``None`` takes the only file, or the first of ``preferred``
            that there is.
        preferred: Names of splits; for what is trained on, "train" alone, so that no test split is taken by default.

    Raises:
        ConfigError: A file is missing or cannot be understood, or queries and judgments do not belong together.
    """
    folder = Path(folder)
    queries = read_queries(_file(folder, "queries.jsonl"))
    return join_judgments(folder.resolve().name, queries, read_qrels(_qrels_file(folder, split, preferred)))


def read_queries(path: str | Path) -> list[JudgedQuery]:
    """Read queries, one JSON object a line.

    Raises:
        ConfigError: The file is missing or a line is no query; the message gives its number.
    """
    path = Path(path)
    return [_query(record, f"{path}:{number}") for number, record in _records(path)]


def read_corpus(folder: str | Path) -> Iterator[Passage]:
    """Yield the passages of BEIR's ``corpus.jsonl``: title and text joined by a line break, the title as metadata.

    Streams; a passage whose title and text are both empty is left out, as no search could find it.

    Raises:
        ConfigError: The file is missing or a line is no document; the message gives its number.
    """
    path = _file(Path(folder), "corpus.jsonl")
    for number, record in _records(path):
        where = f"{path}:{number}"
        title = _text(record, ("title",), where) or ""
        text = f"{title}\n{_text(record, ('text',), where) or ''}".strip()
        if text:
            yield Passage(id=_id(record, where), text=text, metadata={"title": title} if title else {})


def has_corpus(folder: str | Path) -> bool:
    """Tell whether `read_corpus` would find a corpus in ``folder``."""
    return any((Path(folder) / name).is_file() for name in ("corpus.jsonl", "corpus.jsonl.gz"))


def _file(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise ConfigError(f"{folder} holds no {name} (nor {name}.gz): give a folder with queries and their judgments")


def _qrels_file(folder: Path, split: str | None, preferred: Sequence[str]) -> Path:
    if split is None and (folder / "qrels.tsv").is_file():
        return folder / "qrels.tsv"
    files = {
        path.name.removesuffix(".gz").removesuffix(".tsv"): path for path in sorted((folder / "qrels").glob("*.tsv*"))
    }
    if split is not None:
        if split not in files:
            raise ConfigError(f"{folder}/qrels holds no {split}.tsv: it holds {', '.join(files) or 'nothing'}")
        return files[split]
    names = list(files) if len(files) == 1 else [name for name in preferred if name in files]
    if not names:
        raise ConfigError(
            f"{folder} holds no qrels.tsv, and qrels/ holds {', '.join(files) or 'nothing'}: name the split"
        )
    return files[names[0]]


def _records(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in read_lines(path):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path}:{number} is no JSON: {error}") from error
        if not isinstance(record, dict):
            raise ConfigError(f"{path}:{number} holds a {type(record).__name__}: give one JSON object a line")
        yield number, record


def _query(record: Mapping[str, Any], where: str) -> JudgedQuery:
    text = _text(record, ("text", "query"), where)
    if not text or not text.strip():
        raise ConfigError(f"{where} has no query: give it under 'text'")
    criteria = _text(record, ("criteria", "instruction"), where)
    return JudgedQuery(id=_id(record, where), text=text, criteria=criteria if criteria and criteria.strip() else None)


def _id(record: Mapping[str, Any], where: str) -> str:
    for key in ("_id", "id"):
        value = record.get(key)
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value):
            return str(value)
    raise ConfigError(f"{where} has no id: give one, text or a whole number, under '_id' or 'id'")


def _text(record: Mapping[str, Any], keys: tuple[str, ...], where: str) -> str | None:
    for key in keys:
        value = record.get(key)
        if value is None:
            continue
        if not isinstance(value, str):
            raise ConfigError(f"{where}: '{key}' is a {type(value).__name__}, not text")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ConfigError(
                f"{where}: '{key}' holds half of a character (a lone surrogate): repair the text"
            ) from error
        return value
    return None
