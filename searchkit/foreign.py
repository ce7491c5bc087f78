"""Candidates that were found elsewhere, brought into the form that stage 2 reads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from searchkit.collection.passages import read_record
from searchkit.errors import ConfigError, PayloadError
from searchkit.stages import Candidate
from searchkit.types import Passage, RetrievalEvidence


def candidates_from(
    passages: Sequence[str | Mapping[str, Any] | Passage], scores: Sequence[float] | None, max_chars: int
) -> list[Candidate]:
    """Return one candidate a passage, best first-stage score first; without scores in the order given.

    Args:
        passages: Strings, dicts or `Passage` objects; one without an id gets its position.
        scores: First-stage scores, one a passage, higher is better.
        max_chars: Longest text that is accepted.

    Raises:
        ConfigError: ``scores`` are not one finite number a passage.
        PayloadError: A passage is unusable, or two share an id.
    """
    found = [_candidate(position, passage, max_chars) for position, passage in enumerate(passages)]
    _check_ids(found)
    values = _checked_scores(scores, len(found))
    order = range(len(found)) if values is None else sorted(range(len(found)), key=lambda row: (-values[row], row))
    return [
        replace(
            found[row],
            evidence=RetrievalEvidence(rank=rank, fused_score=None if values is None else values[row]),
        )
        for rank, row in enumerate(order, 1)
    ]


def _candidate(position: int, passage: str | Mapping[str, Any] | Passage, max_chars: int) -> Candidate:
    try:
        record = read_record(passage, max_chars)
    except PayloadError as error:
        raise PayloadError(f"passage at position {position}: {error}") from error
    given = passage.id if isinstance(passage, Passage) else passage.get("id") if isinstance(passage, Mapping) else None
    return Candidate(position if given is None else record.id, record.text, record.metadata)


def _check_ids(found: Sequence[Candidate]) -> None:
    seen = set()
    for candidate in found:
        key = (type(candidate.id), candidate.id)
        if key in seen:
            raise PayloadError(
                f"two passages have the id {candidate.id!r}: give each its own id, or none to use positions"
            )
        seen.add(key)


def _checked_scores(scores: Sequence[float] | None, count: int) -> list[float] | None:
    if scores is None:
        return None
    try:
        values = [float(score) for score in scores]
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(
            f"scores={scores!r:.80} are no numbers ({error}): pass one score a passage, or None"
        ) from error
    if len(scores) != count:
        raise ConfigError(f"{len(scores)} scores for {count} passages: pass one score a passage, or None")
    for row, value in enumerate(values):
        if not math.isfinite(value):
            raise ConfigError(f"the score of passage {row} is {value}: pass finite numbers, or leave scores out")
    return values
