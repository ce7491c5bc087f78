"""Several ways to search, side by side on the same judged queries, and which of them to use."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np

from searchkit import __version__
from searchkit.errors import ConfigError
from searchkit.evaluation.calibration import run_calibration_error
from searchkit.evaluation.configurations import Configuration, grid
from searchkit.evaluation.judged import JudgedQueries, Qrels, Run
from searchkit.evaluation.lint import lint
from searchkit.evaluation.measures import (
    DEFAULT_MEASURES,
    FloatArray,
    Measured,
    checked_measure,
    evaluate,
    ir_measures_library,
)
from searchkit.evaluation.pool import oracle_ceiling, pool_recall
from searchkit.evaluation.recommend import recommend
from searchkit.evaluation.report import ComparisonReport, Difference, Latency, SystemReport
from searchkit.evaluation.significance import holm, paired_bootstrap, paired_permutation_test
from searchkit.evaluation.trials import Searcher, Trial, search_all, trial_of
from searchkit.types import SearchResult


def compare(
    searcher: Searcher | Mapping[str, Searcher],
    judged: JudgedQueries,
    configurations: Sequence[Configuration] | None = None,
    *,
    measures: Sequence[str] = DEFAULT_MEASURES,
    primary: str = "nDCG@10",
    timed_count: int = 50,
    latency_budget_ms: float | None = None,
    seed: int = 42,
    on_progress: Callable[[int], None] | None = None,
) -> tuple[ComparisonReport, list[Run]]:
    """Search the judged queries in every configuration and compare what comes back.

    Args:
        searcher: A `searchkit.SearchKit` or anything that searches like one; or several on the same collection that
            differ in their reranker, by the names that `Configuration.reranker` uses. The first of them answers what
            needs no reranker.
        judged: Queries, their criteria and judgments.
        configurations: What to try; ``None`` tries `grid`, with every reranker. Those that differ only in ``blend``
            share their searches.
        measures: Names of measures.
        primary: The measure that decides; added to ``measures`` if it is missing.
        timed_count: Queries of each configuration that are searched one at a time and timed.
        latency_budget_ms: Configurations whose 95th percentile is above it are not recommended.
        seed: Of the resampling.
        on_progress: Gets the number of searches finished since its last call; `search_count` tells their total.

    Returns:
        The report, and the run of each configuration in the same order.

    Raises:
        ConfigError: There is nothing to compare, a name is used twice, or a measure or a reranker is not known.
        SearchkitError: A search failed.
    """
    searchers = dict(searcher) if isinstance(searcher, Mapping) else {None: searcher}
    chosen = tuple(grid(rerankers=tuple(searchers)) if configurations is None else configurations)
    by_configuration = [_searcher_of(configuration, searchers) for configuration in chosen]
    if timed_count < 0:
        raise ConfigError(f"timed_count={timed_count}: give how many queries to time, 0 or more")
    if latency_budget_ms is not None and not latency_budget_ms > 0:
        raise ConfigError(f"latency_budget_ms={latency_budget_ms}: give milliseconds, above 0")
    checked = _checked_measures(measures, primary)
    shared: dict[object, list[SearchResult]] = {}
    trials = []
    for configuration, asked in zip(chosen, by_configuration, strict=True):
        key = configuration.searches
        if key not in shared:
            shared[key] = search_all(asked, judged, configuration, timed_count=timed_count, on_progress=on_progress)
        trials.append(trial_of(configuration, judged, shared[key]))
    report = assemble_report(
        judged.name, judged.qrels, trials, measures=checked, latency_budget_ms=latency_budget_ms, seed=seed
    )
    return report, [trial.run for trial in trials]


def compare_searchers(
    searchers: Mapping[str, Searcher],
    judged: JudgedQueries,
    configuration: Configuration | None = None,
    *,
    measures: Sequence[str] = DEFAULT_MEASURES,
    primary: str = "nDCG@10",
    timed_count: int = 50,
    seed: int = 42,
    on_progress: Callable[[int], None] | None = None,
) -> tuple[ComparisonReport, list[Run]]:
    """Search the judged queries with several searchers in one configuration; the first one is the baseline.

    Args:
        searchers: What to compare, by the names that the report uses.
        judged: Queries, their criteria and judgments.
        configuration: How each searches; ``None`` takes the defaults of `Configuration`.
        measures: Names of measures.
        primary: The measure that decides; added to ``measures`` if it is missing.
        timed_count: Queries of each searcher that are searched one at a time and timed.
        seed: Of the resampling.
        on_progress: Gets the number of searches finished since its last call.

    Raises:
        ConfigError: There is nothing to compare, or a measure is not known.
        SearchkitError: A search failed.
    """
    way = configuration or Configuration()
    trials = []
    for name, searcher in searchers.items():
        results = search_all(searcher, judged, way, timed_count=timed_count, on_progress=on_progress)
        trial = trial_of(way, judged, results)
        trials.append(replace(trial, run=replace(trial.run, name=name)))
    checked = _checked_measures(measures, primary)
    report = assemble_report(judged.name, judged.qrels, trials, measures=checked, seed=seed)
    return report, [trial.run for trial in trials]


def search_count(judged: JudgedQueries, configurations: Sequence[Configuration]) -> int:
    """Return how many searches `compare` will report to ``on_progress``."""
    return len(judged) * len({configuration.searches for configuration in configurations})


def compare_runs(
    name: str,
    qrels: Qrels,
    runs: Sequence[Run],
    *,
    measures: Sequence[str] = DEFAULT_MEASURES,
    primary: str = "nDCG@10",
    seed: int = 42,
) -> ComparisonReport:
    """Compare runs that were made elsewhere, such as TREC files; the first one is the baseline.

    Args:
        name: What the set of queries is called in the report.
        qrels: The judgments.
        runs: At least one, each with a name of its own.
        measures: Names of measures.
        primary: The measure that decides; added to ``measures`` if it is missing.
        seed: Of the resampling.

    Raises:
        ConfigError: There is nothing to compare, a name is used twice or a measure is not known.
    """
    return assemble_report(
        name, qrels, [Trial(run) for run in runs], measures=_checked_measures(measures, primary), seed=seed
    )


def assemble_report(
    name: str,
    qrels: Qrels,
    trials: Sequence[Trial],
    *,
    measures: Sequence[str],
    latency_budget_ms: float | None = None,
    seed: int = 42,
) -> ComparisonReport:
    """Return the report on ``trials``. Pure: nothing is searched; the first of ``measures`` decides.

    Raises:
        ConfigError: There is no trial, two have the same name, or a judgment is none.
    """
    _check_names([trial.run.name for trial in trials])
    _check_qrels(qrels)
    primary = measures[0]
    measured = [evaluate(trial.run, qrels, measures) for trial in trials]
    baseline = _baseline(trials, measured, primary)
    differences = _differences(measured, baseline, primary, seed)
    systems = tuple(
        _system(trial, values, difference, qrels, primary)
        for trial, values, difference in zip(trials, measured, differences, strict=True)
    )
    return ComparisonReport(
        queries_name=name,
        query_count=len(qrels),
        judgment_count=sum(map(len, qrels.values())),
        primary_measure=primary,
        baseline=systems[baseline].name,
        systems=systems,
        lint=lint(systems, trials, qrels, primary),
        recommendation=recommend(systems, systems[baseline].name, primary, latency_budget_ms),
        versions=_versions(),
    )


def _checked_measures(measures: Sequence[str], primary: str) -> list[str]:
    ir_measures_library()  # before the searches, not after them
    return list(dict.fromkeys(checked_measure(measure) for measure in (primary, *measures)))


def _searcher_of(configuration: Configuration, searchers: Mapping[Any, Searcher]) -> Searcher:
    if not searchers:
        raise ConfigError("nothing to search with: give at least one searcher")
    if configuration.reranker is None or not configuration.rerank:
        return next(iter(searchers.values()))
    if configuration.reranker not in searchers:
        names = ", ".join(repr(name) for name in searchers if name is not None) or "none with a name"
        raise ConfigError(f"{configuration.name}: there is no reranker {configuration.reranker!r}, but {names}")
    return searchers[configuration.reranker]


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise ConfigError("nothing to compare: give at least one configuration or run")
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if twice:
        raise ConfigError(
            f"two systems are called {twice[0]!r}: give each configuration once and each run its own name"
        )


def _check_qrels(qrels: Mapping[Any, Mapping[Any, Any]]) -> None:
    for query_id, grades in qrels.items():
        if not grades:
            raise ConfigError(f"query {query_id!r} has no judgment: leave it out")
        for passage_id, grade in grades.items():
            if not (isinstance(query_id, str) and isinstance(passage_id, str)) or not isinstance(grade, int):
                raise ConfigError(
                    f"the judgment {query_id!r}: {{{passage_id!r}: {grade!r}}} is none: ids are strings, as in TREC's"
                    " files, and grades whole numbers"
                )


def _baseline(trials: Sequence[Trial], measured: Sequence[Measured], primary: str) -> int:
    """Return the place of the best system that is known not to rerank, or the first."""
    alone = [
        place
        for place, trial in enumerate(trials)
        if trial.configuration is not None and not trial.configuration.rerank
    ]
    return max(alone, key=lambda place: measured[place].mean(primary), default=0)


def _differences(measured: Sequence[Measured], baseline: int, primary: str, seed: int) -> list[Difference | None]:
    base = measured[baseline].values[primary]
    deltas = [values.values[primary] - base for values in measured]
    others = [place for place in range(len(measured)) if place != baseline]
    p_values = {place: paired_permutation_test(deltas[place], seed=seed) for place in others}
    corrected = dict(zip(others, holm([p_values[place] for place in others]), strict=True))
    return [
        None if place == baseline else _difference(delta, p_values[place], corrected[place], seed)
        for place, delta in enumerate(deltas)
    ]


def _difference(delta: FloatArray, p_value: float, p_corrected: float, seed: int) -> Difference:
    interval = paired_bootstrap(delta, seed=seed)
    return Difference(
        mean=float(delta.mean()),
        low=interval.low,
        high=interval.high,
        p_value=p_value,
        p_corrected=p_corrected,
        wins=int(np.count_nonzero(delta > 0)),
        losses=int(np.count_nonzero(delta < 0)),
        ties=int(np.count_nonzero(delta == 0)),
    )


def _system(
    trial: Trial, measured: Measured, difference: Difference | None, qrels: Qrels, primary: str
) -> SystemReport:
    return SystemReport(
        name=trial.run.name,
        configuration=trial.configuration,
        measures={name: measured.mean(name) for name in measured.values},
        pool_recall=pool_recall(trial.run, qrels),
        oracle_ceiling=oracle_ceiling(trial.run, qrels, primary),
        difference=difference,
        calibration_error=run_calibration_error(trial.run, qrels) if _has_probabilities(trial) else None,
        latency=_latency(trial),
        statuses=trial.statuses,
        truncated_count=trial.truncated_count,
        reranker=trial.reranker,
        engine=trial.engine,
        blend=trial.blend,
    )


def _has_probabilities(trial: Trial) -> bool:
    """Tell whether every score of the run is the probability that its order is by."""
    configuration = trial.configuration
    is_shipped_order = configuration is not None and configuration.rerank and configuration.blend
    count = sum(map(len, trial.run.rankings.values()))
    # Adaptive depth leaves candidates unscored and still calls the result reranked.
    return is_shipped_order and set(trial.statuses) == {"reranked"} and 0 < count <= trial.scored_count


def _latency(trial: Trial) -> Latency | None:
    if not trial.timings:
        return None
    p50, p95 = np.percentile([timings.total for timings in trial.timings], [50, 95])
    return Latency(
        p50_ms=float(p50),
        p95_ms=float(p95),
        rerank_p50_ms=float(np.median([timings.rerank for timings in trial.timings])),
        sample_count=len(trial.timings),
    )


def _versions() -> dict[str, str]:
    packages = ("ir-measures", "numpy")
    return {"python": platform.python_version(), "searchkit": __version__} | {name: version(name) for name in packages}
