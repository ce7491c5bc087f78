"""Measures of a run against qrels, computed by ir-measures (trec_eval's arithmetic).

A measure is named as in the literature: ``nDCG@10`` (gain = relevance, discount log2), ``RR@10``, ``R@100``, ``AP``,
``Judged@10``. A query of the qrels that the run does not answer counts 0, and so does one without any relevant
passage; a query of the run that has no judgments is ignored.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searchkit.errors import ConfigError, MissingExtraError
from searchkit.evaluation.judged import Qrels, Run

FloatArray = NDArray[np.float64]
"""One value a query, in the order of ``Measured.query_ids``."""

DEFAULT_MEASURES: tuple[str, ...] = ("nDCG@10", "RR@10", "R@100", "AP", "Judged@10")

_FAMILIES = {
    "ndcg": "nDCG",
    "rr": "RR",
    "mrr": "RR",
    "r": "R",
    "recall": "R",
    "p": "P",
    "precision": "P",
    "ap": "AP",
    "map": "AP",
    "success": "Success",
    "judged": "Judged",
}
_NEEDS_CUTOFF = frozenset({"R", "P", "Success"})
_NAME = re.compile(r"([A-Za-z]+)(?:@([1-9][0-9]{0,5}))?")


@dataclass(frozen=True, slots=True)
class Measured:
    """A run's values, query by query.

    Attributes:
        run_name: Name of the run.
        query_ids: The queries of the qrels, in their order.
        values: For each measure, one value a query, shape ``(len(query_ids),)``, 0..1.
    """

    run_name: str
    query_ids: tuple[str, ...]
    values: Mapping[str, FloatArray]

    def mean(self, measure: str) -> float:
        """Return the mean of ``measure`` over all queries."""
        return float(self.values[measure].mean())


def checked_measure(name: str) -> str:
    """Return the canonical spelling of a measure's name ("mrr@10" is "RR@10").

    Raises:
        ConfigError: There is no such measure, or it lacks the cutoff that it needs.
    """
    match = _NAME.fullmatch(name.strip())
    family = _FAMILIES.get(match[1].lower()) if match else None
    if match is None or family is None or (match[2] is None and family in _NEEDS_CUTOFF):
        known = ", ".join((*DEFAULT_MEASURES, "P@5", "Success@5"))
        raise ConfigError(f"measure {name!r} is not known: use one such as {known}, with any cutoff from 1")
    return family if match[2] is None else f"{family}@{match[2]}"


def cutoff_of(measure: str) -> int | None:
    """Return the k of ``nDCG@k``, ``None`` for a measure over the whole ranking."""
    _, _, cutoff = measure.partition("@")
    return int(cutoff) if cutoff else None


def evaluate(run: Run, qrels: Qrels, measures: Sequence[str] = DEFAULT_MEASURES) -> Measured:
    """Measure a run.

    Args:
        run: What a system returned; its order counts, not its scores.
        qrels: The judgments; relevance below 0 counts as 0.
        measures: Names of measures.

    Returns:
        One value for every query of ``qrels`` and every measure.

    Raises:
        ConfigError: A measure is not known or there are no judgments.
        MissingExtraError: ir-measures is not installed.
    """
    names = [checked_measure(name) for name in measures]
    if not qrels:
        raise ConfigError("no judgments to measure against: the qrels are empty")
    library = ir_measures_library()
    by_parsed = {library.parse_measure(name): name for name in names}
    place = {query_id: row for row, query_id in enumerate(qrels)}
    values = {name: np.zeros(len(place)) for name in names}
    evaluator = library.evaluator(list(by_parsed), _clipped(qrels))
    for metric in evaluator.iter_calc(_by_rank(run, qrels)):
        values[by_parsed[metric.measure]][place[metric.query_id]] = metric.value
    return Measured(run.name, tuple(place), values)


def _clipped(qrels: Qrels) -> dict[str, dict[str, int]]:
    return {query_id: {key: max(0, grade) for key, grade in grades.items()} for query_id, grades in qrels.items()}


def _by_rank(run: Run, qrels: Qrels) -> dict[str, dict[str, float]]:
    """Score by rank, as tools would break ties otherwise; leave out empty answers, by which Judged would divide."""
    return {
        query_id: {row.passage_id: float(len(ranking) - place) for place, row in enumerate(ranking)}
        for query_id, ranking in run.rankings.items()
        if ranking and query_id in qrels
    }


def ir_measures_library() -> Any:
    """Return the module ``ir_measures``; called before long work, it tells early that it is missing.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import ir_measures
    except ImportError as error:
        raise MissingExtraError("measuring runs", "eval") from error
    # The library installs a handler of its own that writes to stderr; its records reach ours without it.
    logger = logging.getLogger("ir_measures")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
    return ir_measures
