"""A comparison as a table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from searchkit.cli.console import Output, visible

if TYPE_CHECKING:
    from searchkit.evaluation import ComparisonReport, SystemReport


def show_report(output: Output, report: ComparisonReport) -> None:
    """Print the table of all systems and which of them to use."""
    output.show(report_table(report))
    output.show("")
    for place, sentence in enumerate(report.recommendation.sentences):
        output.show(Text(visible(sentence), style="bold green" if place == 0 else ""))


def report_table(report: ComparisonReport) -> Table:
    """Return one row a system; the recommended one is bold, the baseline has no difference."""
    names = list(report.systems[0].measures)
    is_timed = any(system.latency for system in report.systems)
    title = f"{report.queries_name}: {report.query_count} queries, {report.judgment_count} judgments"
    table = Table(title=Text(visible(title)), box=box.SIMPLE_HEAD, caption=Text(_caption(report)))
    table.add_column("system", no_wrap=True, overflow="fold")
    for name in (
        *names,
        "difference",
        "p",
        *(("p50 ms", "p95 ms") if is_timed else ()),
        "pool recall",
        "oracle",
        "ECE",
    ):
        table.add_column(name, justify="right", no_wrap=name not in ("difference", "pool recall"))
    for system in report.systems:
        style = "bold" if system.name == report.recommendation.system else ""
        table.add_row(Text(visible(system.name)), *_cells(system, names, is_timed=is_timed), style=style)
    return table


def _caption(report: ComparisonReport) -> str:
    return (
        f"difference: {report.primary_measure} against {visible(report.baseline)}, 95% bootstrap interval;"
        " p: permutation test, corrected (Holm); oracle: perfect order; ECE: expected calibration error"
    )


def _cells(system: SystemReport, names: list[str], *, is_timed: bool) -> list[str]:
    cells = [f"{system.measures[name]:.3f}" for name in names]
    difference = system.difference
    if difference is None:
        cells += ["", ""]
    else:
        cells.append(f"{difference.mean:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]")
        cells.append(difference.shown_p)
    if is_timed:
        latency = system.latency
        cells += ["", ""] if latency is None else [f"{latency.p50_ms:.1f}", f"{latency.p95_ms:.1f}"]
    error = system.calibration_error
    return [
        *cells,
        f"{system.pool_recall:.3f}",
        f"{system.oracle_ceiling:.3f}",
        "" if error is None else f"{error:.3f}",
    ]
