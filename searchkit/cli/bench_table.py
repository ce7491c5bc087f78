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


def show_bench(output: Output, report: BenchReport) -> None:
    """Print who ran on what, how fast each was, how many times faster ours were, and how far the logits differ."""
    output.show(Text(visible(_machine(report)), style="bold"))
    output.show(_entries(report))
    if report.speeds:
        output.show(_speeds(report))
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


def _table(title: str, columns: Iterable[str], *, caption: str = "", texts: int = 2) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, caption=Text(caption) if caption else None, title_justify="left")
    for place, name in enumerate(columns):
        table.add_column(name, no_wrap=True, overflow="fold", justify="left" if place < texts else "right")
    return table


def _entries(report: BenchReport) -> Table:
    table = Table(title="Who took part", box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("contestant", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("how, or why not", overflow="fold")
    table.add_column("loaded in s", justify="right", no_wrap=True)
    for entry in report.contestants:
        style = "" if entry.status == "run" else "yellow"
        load = "" if entry.load_s is None else f"{entry.load_s:.1f}"
        table.add_row(*(Text(visible(cell)) for cell in (entry.name, entry.status, _how(entry), load)), style=style)
    return table


def _how(entry: Entry) -> str:
    return entry.setup if entry.status == "run" else entry.reason or ""


def _speeds(report: BenchReport) -> Table:
    caption = (
        "p50, p95, p99: wall-clock time of a call over all rounds, with fewer than 100 calls p99 is near the slowest;"
        " a s: of wall-clock time; a CPU s: of the process's own CPU time; peak: share of a matrix product's speed"
    )
    columns = ("workload", "contestant", "calls", "p50 ms", "p95 ms", "p99 ms", "pairs a s", "tokens a s")
    table = _table("How fast", (*columns, "pairs a CPU s", "peak"), caption=caption)
    ours = {entry.name for entry in report.contestants if entry.is_ours}
    last = ""
    for row in report.speeds:
        if last and row.workload != last:
            table.add_section()
        table.add_row(
            Text(row.workload if row.workload != last else ""),
            Text(visible(row.contestant)),
            str(row.calls),
            *(f"{value:.1f}" for value in (row.p50_ms, row.p95_ms, row.p99_ms)),
            *(f"{value:,.0f}" for value in (row.pairs_per_s, row.tokens_per_s, row.pairs_per_cpu_s)),
            "" if row.peak_share is None else f"{row.peak_share:.0%}",
            style="bold" if row.contestant in ours else "",
        )
        last = row.workload
    return table


def _ratios(report: BenchReport) -> Table:
    table = _table(
        "How many times faster",
        ("workload", "contestant", "against", "rounds", "CPU time", "wall-clock time"),
        caption="median over the rounds [smallest, largest]; each round gives one ratio, of the same pairs",
        texts=3,
    )
    last = ""
    for row in report.ratios:
        if last and row.workload != last:
            table.add_section()
        names = (row.workload if row.workload != last else "", row.contestant, row.against)
        cells = (str(row.rounds), "" if row.cpu is None else _times(row.cpu), _times(row.wall))
        table.add_row(*(Text(visible(name)) for name in names), *cells)
        last = row.workload
    return table


def _times(spread: Spread) -> str:
    return f"{spread.median:.2f} [{spread.low:.2f}, {spread.high:.2f}]"


def _fidelities(report: BenchReport) -> Table:
    table = _table(
        f"Same scores? Logits against {visible(report.fidelities[0].reference)}",
        ("contestant", "pairs", "Spearman", "worst query", "Kendall", "same top 10", "largest difference"),
        texts=1,
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
