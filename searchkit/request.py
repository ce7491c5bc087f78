"""What a caller asks for, checked before any work starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, ValidationError, model_validator

from searchkit.errors import ConfigError
from searchkit.types import Frozen, SearchMode

MAX_QUERY_CHARS = 20_000
MAX_DEPTH = 10_000
"""Passages that one search hands to stage 2 at most."""

_HINTS = {
    "top_k": "pass the number of hits you want, a whole number of 1 or more",
    "candidate_depth": "pass how many passages stage 1 hands to stage 2, a whole number of at least top_k",
    "criteria": "pass words that say what makes a passage relevant, or None",
    "filter": 'pass a dict such as {"lang": "en", "year": {"gte": 2020}}, or the backend\'s own filter object',
    "min_score": "pass a probability between 0 and 1, or None",
    "deadline_s": "pass seconds above 0, or None for no deadline",
    "mode": 'pass "hybrid", "dense" or "sparse"',
    "rerank": "pass True or False",
    "group_by": "pass the name of a metadata field, or None",
}


class SearchRequest(Frozen):
    """The arguments of one search, beside the query.

    Attributes:
        top_k: Hits wanted at most.
        candidate_depth: Passages that stage 1 hands to stage 2.
        criteria: What makes a passage relevant, in words; stage 2 alone reads it.
        filter: Condition on the metadata; a dict of ours or a backend's own object.
        min_score: Least probability of a hit.
        deadline_s: Seconds that the whole search may take.
        mode: Which legs of stage 1 run.
        rerank: Whether stage 2 runs.
        group_by: Metadata field; of each of its values only the best hit is kept.
    """

    top_k: int = Field(default=10, ge=1)
    candidate_depth: int = Field(default=50, ge=1, le=MAX_DEPTH)
    criteria: str | None = Field(default=None, min_length=1)
    filter: Any = None
    min_score: float | None = Field(default=None, ge=0, le=1)
    deadline_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    mode: SearchMode = "hybrid"
    rerank: bool = True
    group_by: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _agree(self) -> SearchRequest:
        if self.candidate_depth < self.top_k:
            raise ValueError(
                f"candidate_depth={self.candidate_depth} is below top_k={self.top_k}: stage 1 must hand over at"
                " least as many passages as you want back; raise candidate_depth (5 to 10 times top_k is usual)"
            )
        if self.min_score is not None and not self.rerank:
            raise ValueError(
                f"min_score={self.min_score} needs rerank=True: first-stage scores are no probabilities, so no"
                " threshold on them means anything"
            )
        return self


def checked_request(arguments: Mapping[str, Any]) -> SearchRequest:
    """Return the request made of ``arguments``.

    Raises:
        ConfigError: An argument has a value that cannot work; the message names it and says what to pass.
    """
    try:
        request = SearchRequest(**arguments)
    except ValidationError as error:
        raise ConfigError(_sentence(error)) from error
    if request.criteria is not None:
        checked_text(request.criteria, "criteria")
    return request


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    if not first["loc"]:
        return str(first["ctx"]["error"])
    name = str(first["loc"][0])
    value = repr(first["input"])
    shown = value if len(value) <= 80 else value[:77] + "..."
    return f"{name}={shown} cannot be used ({first['msg'].lower()}): {_HINTS.get(name, 'see the docstring')}"


def checked_text(text: Any, what: str = "query") -> str:
    """Return ``text`` if a model can read it.

    Args:
        text: A query or criteria.
        what: How to call it in the message.

    Raises:
        ConfigError: It is no string, empty, longer than `MAX_QUERY_CHARS`, or holds NUL or a lone surrogate.
    """
    if not isinstance(text, str):
        raise ConfigError(f"{what} must be a string, got {type(text).__name__}: pass text")
    if not text.strip():
        raise ConfigError(f"{what} is empty: pass at least one word")
    if len(text) > MAX_QUERY_CHARS:
        raise ConfigError(
            f"{what} has {len(text):,} characters, more than {MAX_QUERY_CHARS:,}: no model reads that much of it;"
            " pass the question alone and index the rest as passages"
        )
    if "\x00" in text:
        raise ConfigError(f"{what} holds a NUL character at offset {text.index(chr(0))}: remove it")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"{what} holds a lone surrogate {text[error.start]!r} at offset {error.start}: decode the bytes it came"
            " from with the right encoding, or replace it"
        ) from error
    return text


def check_sequence(value: object, what: str) -> None:
    """Raise `ConfigError` if ``value`` is no list or other sequence that can be gone through in order."""
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise ConfigError(f"{what} must be a list, got {type(value).__name__}: pass one entry each")
