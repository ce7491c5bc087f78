"""Criteria drawn for a passage, and groups of training pairs in which only the criteria make the difference."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence

from searchkit.training.criteria.distractors import noise
from searchkit.training.criteria.kinds import KINDS, Kind
from searchkit.training.pairs import LabelledPair
from searchkit.types import Frozen

_WORD = re.compile(r"(?<!\w)[^\W\d_](?:[^\W\d_]|-){2,}[^\W\d_](?!\w)")
_COMMON = frozenset(
    {"also", "been", "before", "between", "could", "does", "each", "every", "from", "have", "into", "more", "most"}
    | {"much", "only", "other", "over", "same", "should", "some", "such", "than", "that", "their", "them", "then"}
    | {"there", "these", "they", "this", "those", "through", "under", "very", "were", "what", "when", "where"}
    | {"which", "while", "will", "with", "would", "your"}
)


class Criterion(Frozen):
    """One demand on a passage.

    Attributes:
        kind: Name of the kind, a key of `searchkit.training.criteria.KINDS`.
        text: The wording.
        is_wanted: Whether the kind's property is demanded or ruled out.
        term: The term it is about; empty for kinds without one.
    """

    kind: str
    text: str
    is_wanted: bool
    term: str = ""


def holds(criterion: Criterion, passage: str) -> bool:
    """Return whether ``passage`` meets ``criterion``, as a program decides it."""
    return KINDS[criterion.kind].check(passage, criterion.term) is criterion.is_wanted


def propose(
    draw: random.Random,
    passage: str,
    *,
    is_met: bool = True,
    foreign: Sequence[str] = (),
    query: str = "",
    kinds: Iterable[str] | None = None,
    held_out: bool = False,
) -> Criterion | None:
    """Return a criterion that ``passage`` meets (or fails), or ``None`` if the draw found no fitting one.

    Args:
        draw: Source of chance.
        passage: The passage.
        is_met: Whether the passage shall meet it.
        foreign: Other passages; terms that ``passage`` lacks are taken from them.
        query: Terms of the query are not used: whether they occur says nothing new.
        kinds: Names to choose from; all that have wordings in the split by default.
        held_out: Use the wordings and kinds that training never sees.
    """
    names = sorted(kinds if kinds is not None else KINDS)
    pool = [KINDS[name] for name in names if KINDS[name].templates(wanted=True, held_out=held_out)]
    if not pool:
        return None
    kind = draw.choice(pool)
    term = ""
    if kind.takes_term:
        found = _draw_term(draw, passage, foreign, query)
        if found is None:
            return None
        term = found
    has_property = kind.check(passage, term)
    return _worded(draw, kind, term, is_wanted=has_property is is_met, held_out=held_out)


def counterfactual_group(
    draw: random.Random, query: str, positive: str, negatives: Sequence[str], *, held_out: bool = False, tries: int = 8
) -> list[LabelledPair] | None:
    """Return four pairs in which relevance needs both the query and the criterion, or ``None`` if none was found.

    In order: the positive with a criterion that it meets (1); the positive with one of the same kind that it fails
    (0); a negative that meets the first (0); a negative that meets the second (0). Neither "meets its criterion" nor
    "answers the query" alone tells the positive from the rest.

    Args:
        draw: Source of chance.
        query: The query.
        positive: A passage that answers it.
        negatives: Passages that do not, at least two.
        held_out: Use the wordings and kinds that training never sees.
        tries: Draws before giving up.
    """
    for _ in range(tries):
        met = propose(draw, positive, foreign=negatives, query=query, held_out=held_out)
        if met is None:
            continue
        failed = _opposite(draw, met, positive, negatives, query, held_out=held_out)
        if failed is None:
            continue
        first = next((text for text in negatives if holds(met, text)), None)
        second = next((text for text in negatives if holds(failed, text) and text != first), None)
        if first is not None and second is not None:
            rows = ((met, positive, 1.0), (failed, positive, 0.0), (met, first, 0.0), (failed, second, 0.0))
            return [
                LabelledPair(sentence_0=f"{query} {criterion.text}", sentence_1=text, label=label)
                for criterion, text, label in rows
            ]
    return None


def noisy_group(
    draw: random.Random, query: str, positive: str, negatives: Sequence[str], *, held_out: bool = False
) -> list[LabelledPair]:
    """Return the pairs of one query, all with the same criteria that ask for nothing; labels stay as they are."""
    asked = f"{query} {noise(draw, held_out=held_out)}"
    rows = [(positive, 1.0), *((text, 0.0) for text in negatives)]
    return [LabelledPair(sentence_0=asked, sentence_1=text, label=label) for text, label in rows]


def _opposite(
    draw: random.Random, met: Criterion, positive: str, negatives: Sequence[str], query: str, *, held_out: bool
) -> Criterion | None:
    """A criterion of the same kind and direction about another term, or the same property the other way round."""
    kind = KINDS[met.kind]
    if kind.takes_term and draw.random() < 0.7:
        for _ in range(6):
            term = _draw_term(draw, positive, negatives, query)
            if term is not None and kind.check(positive, term) is not met.is_wanted:
                return _worded(draw, kind, term, is_wanted=met.is_wanted, held_out=held_out)
    return _worded(draw, kind, met.term, is_wanted=not met.is_wanted, held_out=held_out)


def _worded(draw: random.Random, kind: Kind, term: str, *, is_wanted: bool, held_out: bool) -> Criterion | None:
    templates = kind.templates(wanted=is_wanted, held_out=held_out)
    if not templates:
        return None
    text = draw.choice(templates).replace("{term}", term)
    return Criterion(kind=kind.name, text=text, is_wanted=is_wanted, term=term)


def _draw_term(draw: random.Random, passage: str, foreign: Sequence[str], query: str) -> str | None:
    """A word of the passage or, as often, one that only the foreign passages have."""
    asked = query.lower()
    own = _terms(passage, asked)
    other = [term for text in foreign for term in _terms(text, asked) if term.lower() not in passage.lower()]
    pool = own if draw.random() < 0.5 or not other else other
    return draw.choice(pool) if pool else None


def _terms(text: str, query: str) -> list[str]:
    found = dict.fromkeys(_WORD.findall(text))
    return [term for term in found if term.lower() not in _COMMON and term.lower() not in query]
