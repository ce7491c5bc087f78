"""Queries that a language model wrote for this project, each judged against six related passages of a pool.

The pools' own queries share words with their answers: a docstring's first sentence, a title, a question asked while
looking at the paragraph. These were written in other words than the passage's, with traps for word matching and, in a
third, criteria that decide between passages which fit the bare query. ``written/*.tsv`` has one query a line: query,
criteria, then what is right, right in part and wrong, as the first twelve hexadecimal digits of the passages' MD5.
``written/around/*.tsv`` has a query and the story of somebody who asks it, which must not change what is right.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.default_model.groups import Group
from benchmarks.default_model.planfile import GROUP
from benchmarks.default_model.pools import Example, bm25, digest
from searchkit.training.criteria import noise

FOLDER = Path(__file__).parent / "written"
PARTIAL_LABEL = 0.4
SECOND_RIGHT_SHARE = 0.5  # of the groups whose query has several right passages show two of them
TRAP_SHARE = 0.4  # of the groups trade a judged wrong passage for one that shares words with the query
TRAP_RANKS = (8, 30)
TITLED_SHARE = 0.5  # of the abstracts are read with their title
MINED_JUDGED = 7  # queries with so many judged passages or more show what a model trained on the others put first
ASIDE_SHARE = 0.25  # of the queries without criteria get some that ask for nothing
_DIGITS = 12


@dataclass(frozen=True, slots=True)
class WrittenQuery:
    """A query and what was judged for it, as texts.

    Attributes:
        pool: Where the passages come from.
        text: The query.
        criteria: What a relevant passage must be; empty where the query has none.
        right: Passages that answer it.
        partial: Passages that somebody may accept.
        wrong: Passages on like things that do not answer it.
        traps: Passages that share words with it, not judged.
    """

    pool: str
    text: str
    criteria: str
    right: tuple[str, ...]
    partial: tuple[str, ...]
    wrong: tuple[str, ...]
    traps: tuple[str, ...] = ()


def passage_digest(text: str) -> str:
    """Return what a passage is called in ``written/*.tsv``."""
    return digest(text)[:_DIGITS]


def written_rows(folder: Path = FOLDER) -> Iterator[list[str]]:
    """Yield query, criteria, and the digests of what is right, right in part and wrong, of every line."""
    for file in sorted(folder.glob("*.tsv")):
        for line in file.read_text(encoding="utf-8").splitlines():
            yield line.split("\t")


def read_stories(folder: Path = FOLDER / "around") -> dict[str, str]:
    """Return what somebody tells around a query, by query."""
    lines = (line for file in sorted(folder.glob("*.tsv")) for line in file.read_text(encoding="utf-8").splitlines())
    return {query: story for query, _, story in (line.partition("\t") for line in lines)}


def with_criteria(text: str, criteria: str) -> str:
    """Return what the model reads as the query."""
    return f"{text} {criteria}".rstrip()


def read_written(pools: Mapping[str, Sequence[Example]], folder: Path = FOLDER) -> list[WrittenQuery]:
    """Return the written queries whose passages the pools have; what is held out is left out, so it may lack some."""
    known = {passage_digest(example.positive): example for examples in pools.values() for example in examples}
    found = []
    for text, criteria, *judged in written_rows(folder):
        right, partial, wrong = ([known[name] for name in names.split() if name in known] for names in judged)
        if right and len(wrong) >= 2:
            texts = (tuple(example.positive for example in examples) for examples in (right, partial, wrong))
            found.append(WrittenQuery(right[0].pool, text, criteria, *texts))
    return found


def with_traps(queries: Sequence[WrittenQuery], pools: Mapping[str, Sequence[Example]]) -> Iterator[WrittenQuery]:
    """Yield the queries with what BM25 finds for them among their pool's passages."""
    for pool in sorted({query.pool for query in queries}):
        passages = sorted({example.positive for example in pools[pool]})
        asking = [query for query in queries if query.pool == pool]
        rankings = bm25([query.text for query in asking], passages, TRAP_RANKS[1])
        for query, ranking in zip(asking, rankings, strict=True):
            texts = [passages[place] for place in ranking[TRAP_RANKS[0] :]]
            judged = {*query.right, *query.partial, *query.wrong}
            yield replace(query, traps=tuple(text for text in texts if text not in judged))


def _judged(query: WrittenQuery) -> int:
    return len(query.right) + len(query.partial) + len(query.wrong)


class WrittenGroups:
    """Hands out groups: all queries before any comes twice, each time with another draw of its passages."""

    def __init__(self, pools: Mapping[str, Sequence[Example]], folder: Path = FOLDER) -> None:
        queries = with_traps(read_written(pools, folder), pools)
        self._queries = [query for query in queries if len(query.wrong) + len(query.traps) >= GROUP - 1]
        self._mined = [query for query in self._queries if _judged(query) >= MINED_JUDGED]
        self._title_of = {example.positive: example.query for example in pools.get("arxiv", ())}

    def told(self, stories: Mapping[str, str], seed: int) -> list[Group]:
        """Return one group for each written query without criteria that somebody told a story around."""
        draw = random.Random(seed)
        asking = [query for query in self._queries if query.text in stories and not query.criteria]
        return [self._group(replace(query, criteria=stories[query.text]), draw) for query in asking]

    def groups(self, count: int, seed: int) -> list[Group]:
        """Return ``count`` groups; those on a model's own mistakes come once more, and first."""
        draw = random.Random(seed)
        order = draw.sample(self._mined, len(self._mined))
        while len(order) < count:
            order += draw.sample(self._queries, len(self._queries))
        return [self._group(query, draw) for query in order[:count]]

    def _group(self, query: WrittenQuery, draw: random.Random) -> Group:
        chosen = [(text, 1.0) for text in draw.sample(query.right, len(query.right))]
        chosen = chosen[: 2 if draw.random() < SECOND_RIGHT_SHARE else 1]
        if query.partial and len(chosen) == 1:
            chosen.append((draw.choice(query.partial), PARTIAL_LABEL))
        wrong = draw.sample(query.wrong, len(query.wrong))
        if query.traps and draw.random() < TRAP_SHARE:
            wrong.insert(0, draw.choice(query.traps))
        wrong += draw.sample(query.traps, min(len(query.traps), GROUP))
        chosen += [(text, 0.0) for text in dict.fromkeys(wrong)][: GROUP - len(chosen)]
        criteria = query.criteria or (noise(draw) if draw.random() < ASIDE_SHARE else "")
        asked = with_criteria(query.text, criteria)
        is_titled = draw.random() < TITLED_SHARE
        rows = [(asked, self._titled(text) if is_titled else text, label) for text, label in chosen]
        return Group(rows, query.text, 0.0, tuple(text for text, _ in chosen))

    def _titled(self, text: str) -> str:
        title = self._title_of.get(text)
        return f"{title}. {text}" if title else text
