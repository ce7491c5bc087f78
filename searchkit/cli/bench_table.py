"""A benchmark as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from searchkit.cli.console import Output, visible

if TYPE_CHECKING:
    from searchkit.benchmarking import BenchReport, Entry, Spread


_CAPTION = (
    "p50, p95, p99: wall-clock time of a call over all rounds, where p99 of fewer than 100 calls is near the slowest; "
    "a s: of wall-clock time; a CPU s: of the process's own CPU time; peak: the whole model's arithmetic as a share of "
    "a matrix product's speed (an engine that skips arithmetic gains by it)"
)


def show_bench(output: Output, report: BenchReport) -> None:
    """Print who ran on what, how fast each was, how many times faster ours were, and how far the logits differ."""
    output.show(Text(visible(_machine(report)), style="bold"))
    output.show(_entries(report))
    for workload in dict.fromkeys(row.workload for row in report.speeds):
        output.show(_speeds(report, workload))
    if report.speeds:
        output.show(Text(_CAPTION, style="dim"))
    if report.ratios:
        output.show(_ratios(report))
    if report.fidelities:
        output.show(_fidelities(report))
    for failure in report.failures:
        text = f"{failure.contestant} failed at {failure.workload}, so it has no numbers there: {failure.reason}"
        output.show(Text(visible(text), style="yellow"))


def _machine(report: BenchReport) -> str:
    machine = report.machine
    where = machine.accelerator or machine.processor
    peak = f", matrix product {report.peak_gflops.median:.0f} GFLOP/s a core" if report.peak_gflops else ""
    if report.peak_gflops and machine.device != "cpu":
        peak = f", matrix product {report.peak_gflops.median / 1e3:.0f} TFLOP/s"
    cores = f"{machine.threads} of {machine.usable_cores} cores"
    return (
        f"{report.model} on {where} ({machine.device}, {cores}{peak}); {report.rounds} rounds, {report.seconds:.0f} s"
    )


def _table(title: str, columns: Iterable[str], *, caption: str = "", texts: int = 1) -> Table:
    """A table whose texts fold before a number is cut, so that it can be read on 80 columns."""
    table = Table(
        title=title,
        caption=Text(caption) if caption else None,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
        collapse_padding=True,
        pad_edge=False,
    )
    for place, name in enumerate(columns):
        is_text = place < texts
        table.add_column(name, justify="left" if is_text else "right", no_wrap=not is_text, overflow="fold")
    return table


def _entries(report: BenchReport) -> Table:
    table = _table("Who took part", ("contestant", "status", "how, or why not", "loaded\nin s"), texts=3)
    for entry in report.contestants:
        style = "" if entry.status == "run" else "yellow"
        load = "" if entry.load_s is None else f"{entry.load_s:.1f}"
        table.add_row(*(Text(visible(cell)) for cell in (entry.name, entry.status, _how(entry), load)), style=style)
    return table


def _how(entry: Entry) -> str:
    return entry.setup if entry.status == "run" else entry.reason or ""


def _speeds(report: BenchReport, workload: str) -> Table:
    rows = [row for row in report.speeds if row.workload == workload]
    columns = ("contestant", "p50\nms", "p95\nms", "p99\nms", "pairs\na s", "tokens\na s", "pairs\na CPU s", "peak")
    table = _table(f"How fast: {workload}, {max(row.calls for row in rows)} calls each", columns)
    ours = {entry.name for entry in report.contestants if entry.is_ours}
    for row in rows:
        table.add_row(
            Text(visible(row.contestant)),
            *(f"{value:.1f}" for value in (row.p50_ms, row.p95_ms, row.p99_ms)),
            *(f"{value:,.0f}" for value in (row.pairs_per_s, row.tokens_per_s, row.pairs_per_cpu_s)),
            "" if row.peak_share is None else f"{row.peak_share:.0%}",
            style="bold" if row.contestant in ours else "",
        )
    return table


def _ratios(report: BenchReport) -> Table:
    table = _table(
        f"How many times faster, over {report.rounds} rounds",
        ("workload", "contestant", "against", "CPU time", "wall-clock time"),
        caption="median over the rounds [smallest, largest]; each round gives one ratio, of the same pairs",
        texts=3,
    )
    last = ""
    for row in report.ratios:
        if last and row.workload != last:
            table.add_section()
        names = (row.workload if row.workload != last else "", row.contestant, row.against)
        cells = ("" if row.cpu is None else _times(row.cpu), _times(row.wall))
        table.add_row(*(Text(visible(name)) for name in names), *cells)
        last = row.workload
    return table


def _times(spread: Spread) -> str:
    return f"{spread.median:.2f} [{spread.low:.2f}, {spread.high:.2f}]"


def _fidelities(report: BenchReport) -> Table:
    table = _table(
        f"Same scores? Logits against {visible(report.fidelities[0].reference)}",
        ("contestant", "pairs", "Spearman", "worst\nquery", "Kendall", "same\ntop 10", "largest\ndifference"),
    )
    for row in report.fidelities:
        table.add_row(
            Text(visible(row.contestant)),
            str(row.pairs),
            *(f"{value:.4f}" for value in (row.spearman_mean, row.spearman_min, row.kendall_mean)),
            f"{row.top10_overlap:.1%}",
            f"{row.max_logit_difference:.2g}",
        )
    return table
