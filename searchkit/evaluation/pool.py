"""What stage 1 makes possible: how much of the relevant it fetched, and how well a perfect second stage would do."""

from __future__ import annotations

from searchkit.evaluation.judged import Qrels, Run
from searchkit.evaluation.measures import evaluate


def pool_recall(run: Run, qrels: Qrels, depth: int | None = None) -> float:
    """Return the mean share of the relevant passages that are among the candidates: the bound of any reranking.

    Args:
        run: The candidates of each query, in any order within ``depth``.
        qrels: The judgments. Queries without a relevant passage are left out: nothing could be fetched for them.
        depth: Candidates that count; ``None`` counts all.
    """
    shares = []
    for query_id, judgments in qrels.items():
        relevant = {passage_id for passage_id, grade in judgments.items() if grade > 0}
        if relevant:
            found = {row.passage_id for row in run.rankings.get(query_id, ())[:depth]}
            shares.append(len(relevant & found) / len(relevant))
    return sum(shares) / len(shares) if shares else 0.0


def oracle_run(run: Run, qrels: Qrels, depth: int | None = None) -> Run:
    """Return the candidates in the best possible order: by judged relevance, ties as they were."""
    rankings = {}
    for query_id, rows in run.rankings.items():
        grades = qrels.get(query_id, {})
        rankings[query_id] = tuple(sorted(rows[:depth], key=lambda row: -grades.get(row.passage_id, 0)))
    return Run(f"{run.name} (oracle)", rankings)


def oracle_ceiling(run: Run, qrels: Qrels, measure: str, depth: int | None = None) -> float:
    """Return the best value of ``measure`` that reordering the first ``depth`` candidates could reach."""
    return evaluate(oracle_run(run, qrels, depth), qrels, [measure]).mean(measure)
