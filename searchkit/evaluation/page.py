"""A comparison as one HTML file that needs nothing else: no scripts, no fonts, no network."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from searchkit.errors import ConfigError
from searchkit.evaluation.chart import Series, axis_names, chart_series, has_timings
from searchkit.evaluation.report import ComparisonReport, SystemReport

_Scale = Callable[[float], float]

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 420, 64, 16, 16, 48

_STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .6rem;text-align:right;border-bottom:1px solid #8884}
th:first-child,td:first-child{text-align:left}
tr.chosen{font-weight:600;background:#0072b218}
.choice{font-size:1.15rem}.scroll{overflow-x:auto}
svg{max-width:100%;height:auto}svg text{fill:currentColor;font-size:12px}
"""


def write_html(report: ComparisonReport, path: str | Path) -> None:
    """Write `html_page` to a file.

    Raises:
        ConfigError: The file cannot be written.
    """
    try:
        Path(path).write_text(html_page(report), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from error


def html_page(report: ComparisonReport) -> str:
    """Return the report as a page: the choice and why, the picture, the table, what to know before believing it."""
    title = f"{report.queries_name}: {report.query_count} queries, {report.judgment_count} judgments"
    choice, *reasons = report.recommendation.sentences
    notes = "".join(_tag("li", finding.message) for finding in report.lint)
    versions = ", ".join(f"{name} {number}" for name, number in report.versions.items())
    differences = (
        f"Differences are against {report.baseline}, with 95% bootstrap intervals and permutation tests corrected for"
        " several comparisons."
    )
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        _tag("title", title),
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>',
        _tag("h1", title),
        f'<p class="choice">{escape(choice)}</p>',
        *(_tag("p", reason) for reason in reasons),
        svg(report),
        f'<div class="scroll">{_table(report)}</div>',
        f"<h2>Before you believe it</h2><ul>{notes}</ul>" if notes else "",
        _tag("p", differences),
        _tag("p", versions),
        "</body></html>\n",
    ]
    return "".join(parts)


def _tag(name: str, text: str) -> str:
    return f"<{name}>{escape(text)}</{name}>"


def _table(report: ComparisonReport) -> str:
    names = list(report.systems[0].measures)
    head = ["system", *names, "difference", "p", "p50 ms", "p95 ms", "pool recall", "oracle", "ECE"]
    rows = []
    for system in report.systems:
        opening = '<tr class="chosen">' if system.name == report.recommendation.system else "<tr>"
        rows.append(opening + "".join(_tag("td", cell) for cell in _cells(system, names)) + "</tr>")
    header = "".join(_tag("th", name) for name in head)
    return f"<table><thead><tr>{header}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _cells(system: SystemReport, names: Sequence[str]) -> list[str]:
    difference, latency = system.difference, system.latency
    return [
        system.name,
        *(f"{system.measures[name]:.3f}" for name in names),
        f"{difference.mean:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]" if difference else "",
        difference.shown_p if difference else "",
        f"{latency.p50_ms:.1f}" if latency else "",
        f"{latency.p95_ms:.1f}" if latency else "",
        f"{system.pool_recall:.3f}",
        f"{system.oracle_ceiling:.3f}",
        "" if system.calibration_error is None else f"{system.calibration_error:.3f}",
    ]


def svg(report: ComparisonReport) -> str:
    """Return quality against latency over depth as inline SVG."""
    series = chart_series(report)
    points = [point for one in series for point in one.points]
    base = report.system(report.baseline).measures[report.primary_measure]
    x_of = _x_scale([point.x for point in points], is_log=has_timings(report))
    ticks = _ticks([base, *(point.y for point in points)])
    y_of = _linear(ticks[0], ticks[-1], _HEIGHT - _BOTTOM, _TOP)
    x_name, y_name = axis_names(report)
    height, middle = _HEIGHT + 20 * len(series), (_LEFT + _WIDTH - _RIGHT) / 2
    label = escape(f"{y_name} against {x_name}", quote=True)
    parts = [f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{label}">']
    parts.extend(_rule(y_of(tick), 'stroke="#8884"') for tick in ticks)
    parts.extend(_words(_LEFT - 6, y_of(tick) + 4, f"{tick:.2f}", "end") for tick in ticks)
    parts.append(_rule(y_of(base), 'stroke="#888" stroke-dasharray="5 4"'))
    parts.append(_words(middle, _HEIGHT - 8, x_name, "middle") + _words(4, 12, y_name, "start"))
    if has_timings(report):
        ends = (min(point.x for point in points), max(point.x for point in points))
        parts.extend(_words(x_of(value), _HEIGHT - _BOTTOM + 18, f"{value:.3g}", "middle") for value in ends)
    parts.extend(_draw(one, place, x_of, y_of) for place, one in enumerate(series))
    return "".join([*parts, "</svg>"])


def _draw(series: Series, place: int, x_of: _Scale, y_of: _Scale) -> str:
    spots = [(x_of(point.x), y_of(point.y), point.label) for point in series.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in spots)
    parts = [f'<polyline points="{path}" fill="none" stroke="{series.colour}" stroke-width="2"/>']
    for x, y, label in spots:
        shown = label if label != series.name else ""
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{series.colour}"/>')
        parts.append(_words(x + 6, y - 6, shown, "start"))
    top = _HEIGHT + 20 * place
    parts.append(f'<rect x="{_LEFT}" y="{top}" width="12" height="12" fill="{series.colour}"/>')
    parts.append(_words(_LEFT + 18, top + 11, series.name, "start"))
    return "".join(parts)


def _rule(y: float, stroke: str) -> str:
    return f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" {stroke}/>'


def _words(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _x_scale(values: Sequence[float], *, is_log: bool) -> _Scale:
    if not is_log:
        return _linear(min(values) - 0.5, max(values) + 0.5, _LEFT, _WIDTH - _RIGHT)
    floor = 1e-3  # a clock may call a search of microseconds 0 ms
    logs = [math.log10(max(value, floor)) for value in values]
    scale = _linear(min(logs) - 0.1, max(logs) + 0.1, _LEFT, _WIDTH - _RIGHT)
    return lambda value: scale(math.log10(max(value, floor)))


def _linear(low: float, high: float, start: float, end: float) -> _Scale:
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _ticks(values: Sequence[float]) -> list[float]:
    """Return round values, the first below and the last above all of ``values``."""
    step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2) if (max(values) - min(values)) / step <= 6)
    first, last = math.floor(min(values) / step), math.ceil(max(values) / step)
    return [number * step for number in range(first, max(last, first + 1) + 1)]
