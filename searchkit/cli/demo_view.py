"""What the demo shows: pure functions from results to something that rich can print."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from searchkit.cli.console import visible
from searchkit.cli.demo_memo import DemoMemo
from searchkit.cli.demo_table import MEASURES, RERANK_DEPTH, RETRIEVE_DEPTH, KnownJudgments
from searchkit.cli.stdlib import StandardLibrary

if TYPE_CHECKING:
    from rich.console import Console

    from searchkit.types import Hit, SearchResult

SHOWN_HITS = 5
WIDEST = 120
_TITLES = {"R@100": "recall@100"}


def is_lively(console: Console) -> bool:
    """Tell whether the console can show something that moves."""
    return console.is_terminal and not console.is_dumb_terminal


def opening(library: StandardLibrary) -> RenderableType:
    """Return what is searched, and what of it this platform lacks."""
    lines = [
        Text(
            f"The documentation of Python {platform.python_version()}'s standard library:"
            f" {len(library.passages):,} passages, read from the interpreter."
        )
    ]
    if library.missing:
        names = ", ".join(sorted(library.missing))
        lines.append(Text(f"{len(library.missing)} modules are not on this platform: {names}.", style="dim"))
    return Group(*lines)


def stages(passage_count: int, depth: int) -> RenderableType:
    """Return a line for each stage that says what it does."""
    return Group(
        Text(""),
        Text(
            f"Stage 1 compares the query's vector (bi-encoder) and words (BM25) with all {passage_count:,} passages"
            f" and keeps {depth}.",
        ),
        Text(
            f"Stage 2 (cross-encoder) reads the query, and the criteria if there are any, together with each of the"
            f" {depth} and orders them anew; its score is a probability.",
        ),
    )


def answer(result: SearchResult, number: int, console: Console) -> RenderableType:
    """Return the question, the best hits of both stages side by side, and what each stage took."""
    parts: list[RenderableType] = [Text(""), Text(f"{number}. {visible(result.query)}", style="bold")]
    if result.criteria:
        parts.append(Text(f"   criteria: {visible(result.criteria)}", style="bold"))
    first = sorted(result.hits, key=lambda hit: hit.retrieval.rank or len(result.hits) + 1)
    is_reranked = result.status != "degraded" and result.status != "retrieved"
    columns = Table(box=box.ASCII if _is_plain(console) else box.SIMPLE_HEAD, show_edge=False)
    columns.width = min(console.width, WIDEST)
    columns.add_column("stage 1: fused rank, dense and BM25 rank", ratio=1)
    columns.add_column("stage 2: probability, move against stage 1" if is_reranked else "stage 2: none", ratio=1)
    second = result.hits[:SHOWN_HITS] if is_reranked else ()
    for place, hit in enumerate(first[:SHOWN_HITS]):
        columns.add_row(_found(hit), _reordered(second[place]) if place < len(second) else Text(""))
    parts += [columns, *_account(result)]
    if result.blend and number == 1:
        parts.append(Text(f"score of stage 2: {visible(result.blend)}", style="dim"))
    return Group(*parts)


def _found(hit: Hit) -> Text:
    evidence = hit.retrieval
    legs = f"dense {evidence.dense_rank or '-'}, BM25 {evidence.sparse_rank or '-'}"
    score = f"{evidence.fused_score:.4f}" if evidence.fused_score is not None else "-"
    return Text.assemble(
        (f"{evidence.rank or '-':>2} ", "dim"), f"{score} ", (visible(str(hit.id)), "cyan"), f" ({legs})"
    )


def _reordered(hit: Hit) -> Text:
    moved = (hit.retrieval.rank or hit.rank) - hit.rank
    style = "green" if moved > 0 else "red" if moved < 0 else "dim"
    move = f"{moved:+d}" if moved else "="
    return Text.assemble(
        (f"{hit.rank:>2} ", "dim"), f"{hit.score:.3f} ", (f"{move:>4} ", style), (visible(str(hit.id)), "cyan")
    )


def _account(result: SearchResult) -> list[Text]:
    timings = result.timings
    lines = [
        Text(
            f"stage 1: {result.candidate_count} candidates in {timings.encode + timings.retrieve:.0f} ms"
            f" (encode {timings.encode:.1f}, retrieve {timings.retrieve:.1f})",
            style="dim",
        )
    ]
    if result.engine is None:
        lines.append(Text(f"stage 2 did not run: {visible(result.reason or result.status)}", style="yellow"))
        return lines
    risen = sum((hit.retrieval.rank or hit.rank) > SHOWN_HITS for hit in result.hits[:SHOWN_HITS])
    model = visible(result.reranker or "cross-encoder")
    text = (
        f"stage 2: {result.scored_count} pairs in {timings.rerank:.0f} ms ({model}, {visible(result.engine)});"
        f" {risen} of the best {SHOWN_HITS} come from below stage 1's first {SHOWN_HITS}"
    )
    if result.reason:
        text += f"; {visible(result.reason)}"
    lines.append(Text(text, style="dim"))
    return lines


def without_table() -> RenderableType:
    """Return the line that stands where the table would."""
    return Text("\nNo table: it needs judged queries (--judgments FOLDER, in a clone tests/data/stdlib).")


def table(memo: DemoMemo, judged: KnownJudgments, *, is_reused: bool) -> RenderableType:
    """Return the measured table with what a reader has to know about it."""
    measured = memo.table
    if measured is None:
        return Text("")
    grid = Table(box=box.SIMPLE_HEAD)
    grid.add_column("search", no_wrap=True)
    for name in (*MEASURES, "p50 ms"):
        grid.add_column(_TITLES.get(name, name), justify="right", no_wrap=True)
    best = max(row.measures[MEASURES[0]] for row in measured.rows)
    for row in measured.rows:
        latency = "-" if row.p50_ms is None else f"{row.p50_ms:.0f}" if row.p50_ms >= 10 else f"{row.p50_ms:.1f}"
        style = "bold" if row.measures[MEASURES[0]] == best else ""
        grid.add_row(row.name, *(f"{row.measures[name]:.3f}" for name in MEASURES), latency, style=style)
    return Group(Text(""), grid, *(Text(line, style="dim") for line in _notes(memo, judged, is_reused=is_reused)))


def _notes(memo: DemoMemo, judged: KnownJudgments, *, is_reused: bool) -> Sequence[str]:
    measured = memo.table
    with_criteria = sum(query.criteria is not None for query in judged.queries.queries)
    notes = [
        f"{len(judged.queries)} judged queries, {judged.judgment_count} judgments; {with_criteria} queries have"
        " criteria, which stage 2 alone reads.",
        f"The first three rows are cut at {RETRIEVE_DEPTH} passages; stage 2 reorders the best {RERANK_DEPTH}, so its"
        " recall counts those.",
    ]
    if judged.dropped_names:
        notes.append(
            f"{judged.dropped_names} judged names and {judged.dropped_queries} queries were left out: this Python lacks"
            " them."
        )
    if measured is not None and measured.engine is not None:
        notes.append(visible(f"Stage 2: {measured.reranker}, {measured.engine}."))
    if is_reused:
        notes.append(
            "Measured on an earlier run with the same corpus, models and judgments (--rebuild measures again)."
        )
    return notes


def _is_plain(console: Console) -> bool:
    return console.is_dumb_terminal or console.options.ascii_only
