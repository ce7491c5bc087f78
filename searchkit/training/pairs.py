"""Labelled pairs: what a cross-encoder learns from, and the checks that find mistakes before hours are spent."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from searchkit.errors import ConfigError
from searchkit.types import Frozen

COLUMNS = ("sentence_0", "sentence_1", "label")


class LabelledPair(Frozen):
    """One training example, with the column names of the seed's data set.

    Attributes:
        sentence_0: The query, with its criteria appended where it has any.
        sentence_1: The passage.
        label: Relevance, 0 to 1.
    """

    sentence_0: Annotated[str, Field(min_length=1)]
    sentence_1: Annotated[str, Field(min_length=1)]
    label: Annotated[float, Field(ge=0, le=1)]


class Lengths(Frozen):
    """Shortest, mean and longest value of a column, in characters (in label units for the label)."""

    shortest: float
    mean: float
    longest: float


class PairStatistics(Frozen):
    """What a set of pairs looks like.

    Attributes:
        pair_count: Pairs.
        query_count: Different queries.
        positive_count: Pairs labelled above 0.5.
        sentence_0: Lengths of the queries in characters.
        sentence_1: Lengths of the passages in characters.
        label: Range and mean of the labels.
        warnings: What looks wrong but may be meant.
    """

    pair_count: int
    query_count: int
    positive_count: int
    sentence_0: Lengths
    sentence_1: Lengths
    label: Lengths
    warnings: tuple[str, ...] = ()


def check_pairs(pairs: Sequence[LabelledPair], *, evaluation_queries: Iterable[str] = ()) -> PairStatistics:
    """Return the statistics of ``pairs``, or say why they cannot teach anything.

    Args:
        pairs: The training pairs.
        evaluation_queries: Queries that the model will be judged on; none of them may be trained on.

    Raises:
        ConfigError: No pairs, labels of one kind only, an evaluation query among the pairs, or the same pair with
            contradicting labels.
    """
    if not pairs:
        raise ConfigError("There are no training pairs.")
    labels = [pair.label for pair in pairs]
    positives = sum(label > 0.5 for label in labels)
    if positives in (0, len(pairs)):
        kind = "irrelevant" if positives == 0 else "relevant"
        raise ConfigError(
            f"All {len(pairs)} pairs are labelled {kind}: a cross-encoder learns from the difference. "
            "Give passages of both kinds for the same queries; searchkit.training.mine_pairs finds negatives."
        )
    _refuse_leakage(pairs, evaluation_queries)
    _refuse_contradictions(pairs)
    return PairStatistics(
        pair_count=len(pairs),
        query_count=len({pair.sentence_0 for pair in pairs}),
        positive_count=positives,
        sentence_0=_lengths([len(pair.sentence_0) for pair in pairs]),
        sentence_1=_lengths([len(pair.sentence_1) for pair in pairs]),
        label=_lengths(labels),
        warnings=tuple(_warnings(pairs)),
    )


def write_pairs(pairs: Iterable[LabelledPair], path: str | Path) -> int:
    """Write pairs as JSON lines and return how many.

    Raises:
        ConfigError: The file cannot be written.
    """
    count = 0
    try:
        with Path(path).open("w", encoding="utf-8") as file:
            for pair in pairs:
                file.write(json.dumps(pair.model_dump(), ensure_ascii=False) + "\n")
                count += 1
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    return count


def normalised(query: str) -> str:
    """Return a query as leakage is judged: case, spacing and final punctuation do not count."""
    return " ".join(query.lower().split()).rstrip(" ?.!")


def _refuse_leakage(pairs: Sequence[LabelledPair], evaluation_queries: Iterable[str]) -> None:
    held_out = {normalised(query) for query in evaluation_queries}
    if not held_out:
        return
    leaked = sorted({pair.sentence_0 for pair in pairs if normalised(pair.sentence_0) in held_out})
    if leaked:
        shown = "; ".join(repr(query[:80]) for query in leaked[:3])
        raise ConfigError(
            f"{len(leaked)} evaluation queries are among the training pairs ({shown}): the evaluation would measure "
            "memory. Remove them from one of the two."
        )


def _refuse_contradictions(pairs: Sequence[LabelledPair]) -> None:
    seen: dict[tuple[str, str], float] = {}
    for pair in pairs:
        key = (pair.sentence_0, pair.sentence_1)
        if seen.setdefault(key, pair.label) != pair.label:
            raise ConfigError(
                f"The pair ({pair.sentence_0[:60]!r}, {pair.sentence_1[:60]!r}) has the labels {seen[key]} and "
                f"{pair.label}. Decide for one."
            )


def _warnings(pairs: Sequence[LabelledPair]) -> Iterable[str]:
    repeated = sum(count - 1 for count in Counter((pair.sentence_0, pair.sentence_1) for pair in pairs).values())
    if repeated:
        yield f"{repeated} pairs occur more than once."
    kinds: defaultdict[str, set[bool]] = defaultdict(set)
    for pair in pairs:
        kinds[pair.sentence_0].add(pair.label > 0.5)
    one_sided = sum(len(found) == 1 for found in kinds.values())
    if one_sided:
        yield f"{one_sided} of {len(kinds)} queries have passages of one kind only; they teach little about order."


def _lengths(values: Sequence[float]) -> Lengths:
    return Lengths(shortest=min(values), mean=sum(values) / len(values), longest=max(values))
