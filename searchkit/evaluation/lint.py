"""What to know before believing a comparison: caps, failures, gaps in the judgments."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain

from searchkit.evaluation.judged import Qrels
from searchkit.evaluation.measures import cutoff_of
from searchkit.evaluation.recommend import SIGNIFICANT
from searchkit.evaluation.report import Lint, SystemReport
from searchkit.evaluation.trials import Trial
from searchkit.types import SearchMode

FEW_QUERIES = 50
FEW_TIMINGS = 20
RECALL_LOST = 0.02
RECALL_WANTED = 0.9
UNJUDGED_GAP = 0.1
TRUNCATED_SHARE = 0.05


def lint(
    systems: Sequence[SystemReport],
    trials: Sequence[Trial],
    qrels: Qrels,
    primary: str,
) -> tuple[Lint, ...]:
    """Return what limits or distorts the numbers, the evaluation as a whole first.

    Args:
        systems: What was measured.
        trials: The trials they came from, in the same order.
        qrels: The judgments.
        primary: The measure that decides.
    """
    findings = chain(
        _few(systems, trials, qrels),
        _queries(trials, qrels),
        _judged(systems),
        _depth(systems, primary),
        _reranking(systems, primary),
        *(_trial(trial, qrels) for trial in trials),
    )
    return tuple(findings)


def _few(systems: Sequence[SystemReport], trials: Sequence[Trial], qrels: Qrels) -> Iterator[Lint]:
    if len(qrels) < FEW_QUERIES:
        halves = [(system.difference.high - system.difference.low) / 2 for system in systems if system.difference]
        width = f", differences are known to ±{max(halves):.2f} only" if halves else ""
        message = f"{len(qrels)} queries are few{width}: judge {FEW_QUERIES} or more"
        yield Lint(code="few-queries", message=message)
    timed = min((len(trial.timings) for trial in trials if trial.timings), default=FEW_TIMINGS)
    if timed < FEW_TIMINGS:
        message = f"{timed} searches were timed: the 95th percentile is a guess below {FEW_TIMINGS}"
        yield Lint(code="few-timings", message=message)


def _queries(trials: Sequence[Trial], qrels: Qrels) -> Iterator[Lint]:
    relevant = {
        query_id: {passage_id for passage_id, grade in grades.items() if grade > 0}
        for query_id, grades in qrels.items()
    }
    without = [query_id for query_id, passages in relevant.items() if not passages]
    if without:
        yield Lint(
            code="no-relevant",
            message=f"{len(without)} of {len(qrels)} queries have no relevant passage, such as {without[0]!r}, and"
            " count 0 in every measure: judge one or drop them",
        )
    found = any(
        row.passage_id in relevant.get(query_id, ())
        for trial in trials
        for query_id, ranking in trial.run.rankings.items()
        for row in ranking
    )
    if not found:
        yield Lint(
            code="ids-unknown",
            message="no system returned a single relevant passage: the qrels probably name passages by other ids than"
            " the collection",
        )


def _judged(systems: Sequence[SystemReport]) -> Iterator[Lint]:
    names = [name for name in systems[0].measures if name.startswith("Judged")]
    for name in names:
        values = {system.name: system.measures[name] for system in systems}
        least, most = min(values, key=lambda key: values[key]), max(values, key=lambda key: values[key])
        if values[most] - values[least] > UNJUDGED_GAP:
            yield Lint(
                code="unjudged",
                message=f"{name} is {values[least]:.2f} for {least} and {values[most]:.2f} for {most}: unjudged"
                " passages count as not relevant, so the former may be better than it looks",
                system=least,
            )


def _depth(systems: Sequence[SystemReport], primary: str) -> Iterator[Lint]:
    by_mode: dict[SearchMode, dict[int, SystemReport]] = defaultdict(dict)
    for system in systems:
        if system.configuration is not None:
            by_mode[system.configuration.mode].setdefault(system.configuration.candidate_depth, system)
    reranked = {one.configuration.mode for one in systems if one.configuration and one.configuration.rerank}
    for mode, by_depth in by_mode.items():
        if reranked and mode not in reranked:
            continue  # the pool of a first stage that nothing reorders bounds nothing
        deepest = by_depth[max(by_depth)]
        for depth in sorted(by_depth):
            yield from _one_depth(mode, depth, by_depth[depth], deepest, primary)


def _one_depth(
    mode: SearchMode, depth: int, system: SystemReport, deepest: SystemReport, primary: str
) -> Iterator[Lint]:
    cutoff = cutoff_of(primary)
    if cutoff is not None and depth < cutoff:
        yield Lint(
            code="depth-below-cutoff",
            message=f"depth {depth} is below the cutoff of {primary}: places {depth + 1} to {cutoff} stay empty",
            system=system.name,
        )
    recall, ceiling = system.pool_recall, f"oracle {primary} {system.oracle_ceiling:.2f}"
    if deepest.pool_recall - recall > RECALL_LOST:
        best_depth = deepest.configuration.candidate_depth if deepest.configuration else depth
        yield Lint(
            code="depth-caps-recall",
            message=f"depth {depth} caps recall at {recall:.2f} in {mode} mode ({ceiling}): no reranker finds what"
            f" stage 1 did not fetch; depth {best_depth} holds {deepest.pool_recall:.2f}",
            system=system.name,
        )
    elif system is deepest and recall < RECALL_WANTED:
        yield Lint(
            code="depth-caps-recall",
            message=f"even depth {depth} caps recall at {recall:.2f} in {mode} mode ({ceiling}): try a greater depth,"
            " another mode or another encoder",
            system=system.name,
        )


def _reranking(systems: Sequence[SystemReport], primary: str) -> Iterator[Lint]:
    base = next((system.name for system in systems if system.difference is None), "")
    for system in systems:
        difference, configuration = system.difference, system.configuration
        if difference is None or configuration is None or not configuration.rerank:
            continue
        if difference.mean < 0 and difference.p_value < SIGNIFICANT:
            yield Lint(
                code="rerank-hurts",
                message=f"{system.name} lowers {primary} by {-difference.mean:.3f} against {base}"
                f" (p = {difference.p_value:.3f})",
                system=system.name,
            )


def _trial(trial: Trial, qrels: Qrels) -> Iterator[Lint]:
    name, total = trial.run.name, sum(trial.statuses.values())
    because = f": {trial.reasons[0]}" if trial.reasons else ""
    if count := trial.statuses.get("degraded", 0):
        message = (
            f"{count} of {total} searches of {name} were answered by the first stage, as the second failed{because}"
        )
        yield Lint(code="degraded", message=message, system=name)
    if count := trial.statuses.get("partial", 0):
        message = f"{count} of {total} searches of {name} ran out of time and are reranked in part{because}"
        yield Lint(code="partial", message=message, system=name)
    if trial.truncated_count > TRUNCATED_SHARE * max(1, trial.scored_count):
        message = (
            f"{name}: the reranker could not read {trial.truncated_count} of {trial.scored_count} passages to the end;"
            " smaller windows would let it"
        )
        yield Lint(code="truncated", message=message, system=name)
    empty = sum(not trial.run.rankings.get(query_id) for query_id in qrels)
    if empty:
        message = f"{empty} of {len(qrels)} queries have no answer from {name} and count 0"
        yield Lint(code="unanswered", message=message, system=name)
