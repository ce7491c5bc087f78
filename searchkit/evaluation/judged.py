"""Queries, the judgments on them, and what a system answered: the data of an evaluation.

Names are TREC's: *qrels* say how relevant a passage is to a query (0 is judged and not relevant), a *run* is what one
system returned for every query. Query and passage ids are strings here, as in every TREC file; a passage that a
collection calls ``7`` is ``"7"``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic import Field, model_validator
from typing_extensions import Self

from searchkit.errors import ConfigError
from searchkit.types import Frozen, Judgment

Qrels = Mapping[str, Mapping[str, int]]
"""Relevance by query id, then passage id; above 0 is relevant, larger is better, absent is unjudged."""


class ScoredPassage(NamedTuple):
    """One row of a run."""

    passage_id: str
    score: float


@dataclass(frozen=True, slots=True)
class Run:
    """What one system returned.

    Attributes:
        name: Name of the system; TREC's run tag.
        rankings: The passages of each query, best first. The order counts, not the scores: a search that a deadline cut
            short mixes scores of both stages.
    """

    name: str
    rankings: Mapping[str, Sequence[ScoredPassage]] = field(default_factory=dict)


class JudgedQuery(Frozen):
    """A query with an id that its judgments refer to.

    Attributes:
        id: Unique within its set.
        text: The query as a user would type it.
        criteria: What makes a passage relevant, in words.
    """

    id: str = Field(min_length=1)
    text: str = Field(min_length=1)
    criteria: str | None = None


class JudgedQueries(Frozen):
    """Queries and their judgments. Every query has at least one judgment and every judgment a query.

    Attributes:
        name: What the set is called in reports.
        queries: In the order of their file.
        qrels: Relevance by query id, then passage id.
    """

    name: str
    queries: tuple[JudgedQuery, ...] = Field(min_length=1)
    qrels: dict[str, dict[str, int]]

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        ids = [query.id for query in self.queries]
        if len(set(ids)) < len(ids):
            twice = next(query_id for query_id in ids if ids.count(query_id) > 1)
            raise ValueError(f"query id {twice!r} occurs twice")
        stray = self.qrels.keys() ^ set(ids)
        if stray:
            raise ValueError(
                f"{len(stray)} ids occur only among the queries or only in the qrels, such as {min(stray)!r}"
            )
        return self

    def __len__(self) -> int:
        """Return the number of queries."""
        return len(self.queries)

    def sample(self, count: int) -> JudgedQueries:
        """Return ``count`` queries spread evenly over the set, in order; all of them if there are no more."""
        if count < 1:
            raise ConfigError(f"count={count}: a sample needs at least one query")
        if count >= len(self.queries):
            return self
        chosen = tuple(self.queries[place * len(self.queries) // count] for place in range(count))
        return JudgedQueries(name=self.name, queries=chosen, qrels={query.id: self.qrels[query.id] for query in chosen})

    def judgments(self) -> list[Judgment]:
        """Return the queries and what is relevant to them in the form that `searchkit.SearchKit.calibrate` takes."""
        return [
            Judgment(
                query=query.text,
                criteria=query.criteria,
                relevance={key: float(grade) for key, grade in self.qrels[query.id].items()},
            )
            for query in self.queries
        ]


def join_judgments(name: str, queries: Sequence[JudgedQuery], qrels: Qrels) -> JudgedQueries:
    """Return the queries that have judgments, with them; queries without any are left out.

    Raises:
        ConfigError: A judgment belongs to no query, no query has a judgment, or a query id occurs twice.
    """
    known = {query.id for query in queries}
    if len(known) < len(queries):
        raise ConfigError(f"{name}: {len(queries) - len(known)} query ids occur twice; ids must be unique")
    stray = [query_id for query_id in qrels if query_id not in known]
    if stray:
        raise ConfigError(
            f"{name}: {len(stray)} of {len(qrels)} judged query ids have no query, such as {stray[0]!r}: the qrels"
            " belong to other queries"
        )
    judged = tuple(query for query in queries if qrels.get(query.id))
    if not judged:
        raise ConfigError(f"{name}: none of {len(queries)} queries has a judgment")
    return JudgedQueries(name=name, queries=judged, qrels={query.id: dict(qrels[query.id]) for query in judged})
