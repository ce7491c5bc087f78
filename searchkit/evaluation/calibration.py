"""Do the scores of a run mean what they say: of the passages scored 0.7, are seven in ten relevant?"""

from __future__ import annotations

from searchkit.evaluation.judged import Qrels, Run
from searchkit.reranking.calibration import expected_calibration_error


def run_calibration_error(run: Run, qrels: Qrels, *, bins: int = 10) -> float:
    """Return the expected calibration error over all candidates of a run whose scores are probabilities, 0 to 1.

    Unjudged passages count as not relevant, so with few judgments a query the error comes out too high.

    Args:
        run: Scores are probabilities, 0..1.
        qrels: The judgments; queries without any are left out.
        bins: Number of bins of equal size.

    Raises:
        ConfigError: The run holds nothing for the judged queries.
    """
    rows = [
        (row.score, qrels[query_id].get(row.passage_id, 0) > 0)
        for query_id, ranking in run.rankings.items()
        if query_id in qrels
        for row in ranking
    ]
    return expected_calibration_error([row[0] for row in rows], [row[1] for row in rows], bins=bins)
