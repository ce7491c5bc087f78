"""Is the search good, and which way of searching is the best? Judged queries, measures, comparisons.

```python
from searchkit.evaluation import compare, read_judged

report, runs = compare(kit, read_judged("judged/"))
print(report.recommendation.sentences[0])
```
"""

from __future__ import annotations

from searchkit.evaluation.calibration import run_calibration_error
from searchkit.evaluation.chart import write_png
from searchkit.evaluation.compare import compare, compare_runs, compare_searchers, search_count
from searchkit.evaluation.configurations import DEFAULT_DEPTHS, Configuration, grid
from searchkit.evaluation.folders import has_corpus, read_corpus, read_judged, read_queries
from searchkit.evaluation.judged import JudgedQueries, JudgedQuery, Qrels, Run, ScoredPassage, join_judgments
from searchkit.evaluation.measures import DEFAULT_MEASURES, Measured, checked_measure, evaluate
from searchkit.evaluation.page import html_page, write_html
from searchkit.evaluation.pool import oracle_ceiling, oracle_run, pool_recall
from searchkit.evaluation.report import (
    ComparisonReport,
    Difference,
    Latency,
    Lint,
    Recommendation,
    SystemReport,
)
from searchkit.evaluation.significance import Interval, holm, paired_bootstrap, paired_permutation_test
from searchkit.evaluation.trec import read_qrels, read_run, write_qrels, write_run
from searchkit.evaluation.trials import Searcher

__all__ = [
    "DEFAULT_DEPTHS",
    "DEFAULT_MEASURES",
    "ComparisonReport",
    "Configuration",
    "Difference",
    "Interval",
    "JudgedQueries",
    "JudgedQuery",
    "Latency",
    "Lint",
    "Measured",
    "Qrels",
    "Recommendation",
    "Run",
    "ScoredPassage",
    "Searcher",
    "SystemReport",
    "checked_measure",
    "compare",
    "compare_runs",
    "compare_searchers",
    "evaluate",
    "grid",
    "has_corpus",
    "holm",
    "html_page",
    "join_judgments",
    "oracle_ceiling",
    "oracle_run",
    "paired_bootstrap",
    "paired_permutation_test",
    "pool_recall",
    "read_corpus",
    "read_judged",
    "read_qrels",
    "read_queries",
    "read_run",
    "run_calibration_error",
    "search_count",
    "write_html",
    "write_png",
    "write_qrels",
    "write_run",
]
