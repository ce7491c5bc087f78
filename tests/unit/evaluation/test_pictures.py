import re
import sys
from html.parser import HTMLParser

import pytest

from searchkit.errors import ConfigError, MissingExtraError
from searchkit.evaluation import (
    ComparisonReport,
    Configuration,
    Latency,
    Recommendation,
    Run,
    ScoredPassage,
    SystemReport,
    compare_runs,
    html_page,
    write_html,
    write_png,
)
from searchkit.evaluation.chart import chart_series


def system(depth, quality, ms, *, rerank=True):
    configuration = Configuration(candidate_depth=depth, rerank=rerank)
    return SystemReport(
        name=configuration.name,
        configuration=configuration,
        measures={"nDCG@10": quality},
        pool_recall=0.9,
        oracle_ceiling=0.95,
        latency=Latency(p50_ms=ms, p95_ms=2 * ms, rerank_p50_ms=ms / 2, sample_count=50),
    )


@pytest.fixture
def report():
    systems = (system(100, 0.5, 2.0, rerank=False), system(100, 0.7, 200.0), system(10, 0.6, 20.0))
    return ComparisonReport(
        queries_name="<b>$handbook$</b>",
        query_count=60,
        judgment_count=100,
        primary_measure="nDCG@10",
        baseline=systems[0].name,
        systems=systems,
        recommendation=Recommendation(
            system=systems[1].name, is_reranking=True, sentences=("Use <it> & more.", "Why.")
        ),
    )


@pytest.fixture
def file_report():
    qrels = {"q": {"a": 1}}
    return compare_runs("files", qrels, [Run("one", {"q": (ScoredPassage("a", 1.0),)}), Run("two", {})])


class Checker(HTMLParser):
    """Notes tags that are not closed in order, and anything that would load something."""

    def __init__(self):
        super().__init__()
        self.open, self.loads, self.rows = [], [], 0

    def handle_starttag(self, tag, attrs):
        self.rows += tag == "tr"
        self.loads += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "line", "circle", "rect", "polyline"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.loads += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_loads_nothing(report):
    checker = Checker()
    checker.feed(html_page(report))
    assert checker.open == []
    assert checker.loads == []
    assert checker.rows == 4
    assert "<script" not in html_page(report)


def test_texts_in_the_page_are_escaped(report):
    page = html_page(report)
    assert "Use &lt;it&gt; &amp; more." in page
    assert "<b>" not in page


def test_the_chosen_system_is_marked_in_the_table(report):
    assert re.search(r'<tr class="chosen"><td>hybrid \+ rerank, depth 100</td>', html_page(report))


def test_every_point_of_the_drawing_lies_inside_it(report):
    spots = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', html_page(report))
    assert len(spots) == 3
    assert all(64 <= float(x) <= 744 and 16 <= float(y) <= 372 for x, y in spots)
    x = {float(x) for x, _ in spots}
    assert len(x) == 3


def test_a_series_goes_from_shallow_to_deep(report):
    series = chart_series(report)
    assert [one.name for one in series] == ["hybrid", "hybrid + rerank"]
    assert [(point.label, point.x, point.y) for point in series[1].points] == [("10", 20.0, 0.6), ("100", 200.0, 0.7)]


def test_runs_without_timings_are_drawn_side_by_side(file_report, tmp_path):
    assert [one.points[0].x for one in chart_series(file_report)] == [1.0, 2.0]
    assert html_page(file_report).count("<circle") == 2
    write_png(file_report, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_the_picture_is_a_png_of_the_size_asked(report, tmp_path):
    write_png(report, tmp_path / "a.png", dpi=50)
    header = (tmp_path / "a.png").read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")) == (400, 250)


def test_a_missing_matplotlib_is_named_with_its_extra(report, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"searchkit\[eval\]"):
        write_png(report, tmp_path / "a.png")


def test_a_missing_ir_measures_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    with pytest.raises(MissingExtraError, match=r"searchkit\[eval\]"):
        compare_runs("files", {"q": {"a": 1}}, [Run("one", {})])


def test_a_place_that_cannot_be_written_is_named(report, tmp_path):
    for write in (write_png, write_html):
        with pytest.raises(ConfigError, match="no-folder"):
            write(report, tmp_path / "no-folder" / "a")


def test_the_page_is_written_as_utf_8(report, tmp_path):
    write_html(report, tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == html_page(report)
