"""The demo's measurement: four ways to search, on every judged query."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from searchkit.cli.demo_memo import MeasuredTable, SystemRow
from searchkit.cli.stdlib import StandardLibrary
from searchkit.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from searchkit.evaluation import Configuration, JudgedQueries
    from searchkit.kit import SearchKit

MEASURES = ("nDCG@10", "RR@10", "R@100")
RETRIEVE_DEPTH = 100
RERANK_DEPTH = 50
_TIMED_COUNT = 40


@dataclass(frozen=True, slots=True)
class KnownJudgments:
    """Judged queries as far as this Python has the names in them.

    Attributes:
        queries: Queries with at least one judged name that exists here.
        judgment_count: Judgments left.
        dropped_names: Judged names that this Python lacks.
        dropped_queries: Queries that went with them.
    """

    queries: JudgedQueries
    judgment_count: int
    dropped_names: int
    dropped_queries: int


def read_known(folder: str | Path, library: StandardLibrary) -> KnownJudgments:
    """Read the judged queries and leave out names that this version of Python lacks.

    Raises:
        ConfigError: The folder cannot be read, or none of its names is a passage of the library.
    """
    from searchkit.evaluation import read_judged
    from searchkit.evaluation.judged import JudgedQueries

    judged = read_judged(folder)
    known = {str(passage.id) for passage in library.passages}
    names = {name for judgments in judged.qrels.values() for name in judgments}
    qrels = {
        query: {name: grade for name, grade in judgments.items() if name in known}
        for query, judgments in judged.qrels.items()
    }
    left = {query: judgments for query, judgments in qrels.items() if any(judgments.values())}
    if not left:
        raise ConfigError(f"{folder} judges no name of this Python's library: give the folder tests/data/stdlib")
    queries = tuple(query for query in judged.queries if query.id in left)
    return KnownJudgments(
        queries=JudgedQueries(name=judged.name, queries=queries, qrels=left),
        judgment_count=sum(map(len, left.values())),
        dropped_names=len(names - known),
        dropped_queries=len(judged.queries) - len(queries),
    )


def configurations() -> dict[str, Configuration]:
    """Return the four ways to search by the name that the table gives them."""
    from searchkit.evaluation import Configuration

    return {
        "BM25": Configuration(mode="sparse", candidate_depth=RETRIEVE_DEPTH, rerank=False),
        "dense": Configuration(mode="dense", candidate_depth=RETRIEVE_DEPTH, rerank=False),
        "hybrid": Configuration(mode="hybrid", candidate_depth=RETRIEVE_DEPTH, rerank=False),
        "hybrid + rerank": Configuration(mode="hybrid", candidate_depth=RERANK_DEPTH),
    }


def measure(kit: SearchKit, judged: JudgedQueries, *, key: str, console: Console) -> MeasuredTable:
    """Search all judged queries in four ways, showing how far it is, and return the table."""
    from searchkit.evaluation import compare, search_count

    ways = configurations()
    total = search_count(judged, list(ways.values()))
    console.print(Text(f"Measuring {len(ways)} ways to search on {len(judged)} judged queries, once ..."))
    columns = (TextColumn("searches"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    is_silent = not console.is_terminal or console.is_dumb_terminal
    with Progress(*columns, console=console, transient=True, disable=is_silent) as progress:
        task = progress.add_task("searches", total=total)
        report, _ = compare(
            kit,
            judged,
            list(ways.values()),
            measures=MEASURES,
            primary=MEASURES[0],
            timed_count=_TIMED_COUNT,
            on_progress=lambda count: progress.advance(task, count),
        )
    rows = tuple(
        SystemRow(name=name, measures=system.measures, p50_ms=system.latency.p50_ms if system.latency else None)
        for name, system in zip(ways, report.systems, strict=True)
    )
    reranked = report.systems[-1]
    return MeasuredTable(
        key=key,
        rows=rows,
        query_count=len(judged),
        reranker=reranked.reranker,
        engine=reranked.engine,
    )
