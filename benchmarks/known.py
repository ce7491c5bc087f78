"""Judgments of passages that are there: the documentation of the standard library differs from machine to machine."""

from __future__ import annotations

from collections.abc import Collection

from searchkit.evaluation import JudgedQueries


def known(judged: JudgedQueries, ids: Collection[str]) -> JudgedQueries:
    """Return the judgments of the passages ``ids``, and the queries that still have a relevant one."""
    qrels = {
        query: {name: grade for name, grade in rows.items() if name in ids} for query, rows in judged.qrels.items()
    }
    qrels = {query: rows for query, rows in qrels.items() if any(rows.values())}
    return JudgedQueries(
        name=judged.name, queries=tuple(query for query in judged.queries if query.id in qrels), qrels=qrels
    )
