"""Quality against latency over depth: the points of the picture, and the picture as PNG."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from searchkit.errors import ConfigError, MissingExtraError
from searchkit.evaluation.report import ComparisonReport, SystemReport

# Okabe and Ito's colours, which most colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


@dataclass(frozen=True, slots=True)
class Point:
    """One system in the picture.

    Attributes:
        x: Median latency in milliseconds; the system's place, from 1, where nothing was timed.
        y: The primary measure.
        label: Its depth, or its name where it is no configuration.
    """

    x: float
    y: float
    label: str


@dataclass(frozen=True, slots=True)
class Series:
    """Points that differ in depth only, shallow first."""

    name: str
    colour: str
    points: tuple[Point, ...]


def has_timings(report: ComparisonReport) -> bool:
    """Tell whether every system was timed, so that the picture can show latency."""
    return all(system.latency is not None for system in report.systems)


def chart_series(report: ComparisonReport) -> tuple[Series, ...]:
    """Return what the picture shows, in the order of the report."""
    groups: dict[str, list[tuple[int, Point]]] = {}
    is_timed = has_timings(report)
    for place, system in enumerate(report.systems, start=1):
        x = system.latency.p50_ms if is_timed and system.latency is not None else float(place)
        configuration = system.configuration
        depth = 0 if configuration is None else configuration.candidate_depth
        point = Point(x, system.measures[report.primary_measure], str(depth) if configuration else system.name)
        groups.setdefault(_series_name(system), []).append((depth, point))
    return tuple(
        Series(name, COLOURS[place % len(COLOURS)], tuple(point for _, point in sorted(rows, key=lambda row: row[0])))
        for place, (name, rows) in enumerate(groups.items())
    )


def _series_name(system: SystemReport) -> str:
    configuration = system.configuration
    if configuration is None:
        return system.name
    return configuration.name.replace(f", depth {configuration.candidate_depth}", "")


def axis_names(report: ComparisonReport) -> tuple[str, str]:
    """Return the names of the x and the y axis."""
    x_name = "median latency of a search, ms (at each point: depth)" if has_timings(report) else "system"
    return x_name, report.primary_measure


def write_png(report: ComparisonReport, path: str | Path, *, dpi: int = 150) -> None:
    """Draw quality against latency over depth.

    Args:
        report: What to draw.
        path: The file; overwritten.
        dpi: Dots an inch of the 8 by 5 inch picture.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ConfigError: The file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("the picture", "eval") from error
    # A Figure of its own leaves pyplot, and whatever the caller draws with it, alone.
    figure = Figure(figsize=(8, 5), dpi=dpi, layout="constrained")
    axes = figure.subplots()
    for series in chart_series(report):
        xs, ys = [point.x for point in series.points], [point.y for point in series.points]
        axes.plot(xs, ys, marker="o", color=series.colour, label=series.name)
        for point in series.points:
            axes.annotate(
                _plain(point.label), (point.x, point.y), xytext=(4, 5), textcoords="offset points", fontsize=8
            )
    base = report.system(report.baseline).measures[report.primary_measure]
    axes.axhline(base, color="#888888", linestyle="--", linewidth=1, label=_plain(f"baseline: {report.baseline}"))
    x_name, y_name = axis_names(report)
    axes.set(xlabel=x_name, ylabel=y_name, title=_plain(f"{report.queries_name}, {report.query_count} queries"))
    if has_timings(report):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
    axes.legend(fontsize=8)
    axes.grid(visible=True, alpha=0.3)
    try:
        figure.savefig(str(path), format="png")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from error


def _plain(text: str) -> str:
    """Keep matplotlib from reading ``$`` as mathematics."""
    return text.replace("$", r"\$")
