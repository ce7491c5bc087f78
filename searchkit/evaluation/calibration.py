"""Do scores mean what they say: of the passages scored 0.7, are seven in ten relevant?"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from searchkit.errors import ConfigError
from searchkit.evaluation.judged import Qrels, Run


def expected_calibration_error(probabilities: ArrayLike, labels: ArrayLike, *, bin_count: int = 10) -> float:
    """Return how far probabilities are from the shares that came true, 0 (perfect) to 1.

    Bins hold equally many values each, so that the many low scores do not hide the few high ones; the result is the
    mean over the bins of |mean probability - share of true labels|, weighted by their sizes. Values that are equal may
    fall into neighbouring bins, in the order given.

    Args:
        probabilities: Values in 0..1, shape ``(n,)``.
        labels: 1 or True for relevant, shape ``(n,)``.
        bin_count: Number of bins.

    Raises:
        ConfigError: There is nothing to compare, the shapes differ, or a probability lies outside 0..1.
    """
    values, truths = np.asarray(probabilities, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if values.ndim != 1 or values.shape != truths.shape or len(values) == 0:
        raise ConfigError(f"{values.shape} probabilities and {truths.shape} labels: give one label a probability")
    if not ((values >= 0) & (values <= 1)).all():
        raise ConfigError("probabilities must lie in 0..1: logits and first-stage scores are none")
    order = np.argsort(values, kind="stable")
    bins = [part for part in np.array_split(order, bin_count) if len(part)]
    gaps = [len(part) * abs(values[part].mean() - truths[part].mean()) for part in bins]
    return float(sum(gaps) / len(values))


def run_calibration_error(run: Run, qrels: Qrels, *, bin_count: int = 10) -> float:
    """Return the calibration error over all candidates of a run whose scores are probabilities.

    Unjudged passages count as not relevant, so with few judgments a query the error comes out too high.

    Raises:
        ConfigError: The run is empty or its scores are no probabilities.
    """
    rows = [
        (row.score, qrels[query_id].get(row.passage_id, 0) > 0)
        for query_id, ranking in run.rankings.items()
        if query_id in qrels
        for row in ranking
    ]
    return expected_calibration_error([row[0] for row in rows], [row[1] for row in rows], bin_count=bin_count)
