"""What a criterion can demand, as a check on the passage's text, with its wordings.

Every kind has wordings that demand it and wordings that rule it out, and of both some that training never sees.
Kinds marked ``is_held_out`` are for validation only: they show whether a model reads criteria or has learned a list.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from searchkit.training.criteria import wordings as words

Check = Callable[[str, str], bool]
"""Whether the passage (first argument) meets the demand about the term (second argument, "" where there is none)."""

_UNITS = (
    r"km|kilomet\w+|miles?|met(?:er|re)s?|cm|mm|kg|grams?|mg|pounds?|feet|ft|percent|degrees|hours?|minutes?|seconds?"
    r"|days?|weeks?|months?|years?|acres|hectares|GB|MB|bytes|Hz|million|billion"
)
_QUANTITY = re.compile(rf"\b\d[\d,.]*\s?(?:(?:{_UNITS})\b|%)", re.IGNORECASE)
_YEAR = re.compile(r"\b(?:1[0-9]|20)\d\d\b")
_MONEY = re.compile(r"[$€£]\s?\d|\b\d[\d,.]*\s?(?:dollars|euros|pounds sterling|USD|EUR)\b", re.IGNORECASE)
_QUOTATION = re.compile(r"[\"“][^\"“”]{12,}[\"”]")
_DEFINITION = re.compile(r"^(?:[^:]{1,60}: )?[A-Z\"'][^.]{0,90}? (?:is|are|was|were) (?:an?|the|one of)\b")
_PERCENTAGE = re.compile(r"\b\d[\d,.]*\s?(?:%|percent\b|per cent\b)", re.IGNORECASE)
_CODE = re.compile(r"\w\(\w*\)|[{};]\s|\b(?:def|return|import|const|var) \w|`[^`]+`|</?\w+>")

SHORT_WORDS = 25
LONG_WORDS = 60


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of demand.

    Attributes:
        name: Identifier.
        check: Decides whether a passage meets it.
        demanding: Wordings that want it; ``{term}`` stands for the term.
        excluding: Wordings that rule it out.
        demanding_held_out: Further wordings that training never uses.
        excluding_held_out: Likewise.
        takes_term: Whether the wordings hold ``{term}``.
        is_held_out: Whether the whole kind is kept for validation.
    """

    name: str
    check: Check
    demanding: tuple[str, ...]
    excluding: tuple[str, ...]
    demanding_held_out: tuple[str, ...]
    excluding_held_out: tuple[str, ...]
    takes_term: bool = False
    is_held_out: bool = False

    def templates(self, *, wanted: bool, held_out: bool) -> tuple[str, ...]:
        """Return the wordings of one direction and one split. A held-out kind has no wordings for training."""
        if self.is_held_out and not held_out:
            return ()
        if wanted:
            return self.demanding_held_out if held_out else self.demanding
        return self.excluding_held_out if held_out else self.excluding


def _matches(pattern: re.Pattern[str]) -> Check:
    return lambda text, _: pattern.search(text) is not None


def _mentions(text: str, term: str) -> bool:
    return re.search(rf"\b{re.escape(term)}\b", text, re.IGNORECASE) is not None


def _is_about(text: str, term: str) -> bool:
    """A passage is about a term that its first sentence names, or that it names three times."""
    first = re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0]
    return _mentions(first, term) or len(re.findall(rf"\b{re.escape(term)}\b", text, re.IGNORECASE)) > 2


def _enumerates(text: str) -> bool:
    return text.count(",") > 5 or len(re.findall(r"(?:^|\s)[-*•] ", text)) > 2


def _kind(name: str, check: Check, *, takes_term: bool = False, is_held_out: bool = False) -> Kind:
    demanding, excluding, demanding_held_out, excluding_held_out = words.BY_KIND[name]
    return Kind(
        name, check, demanding, excluding, demanding_held_out, excluding_held_out, takes_term, is_held_out
    )  # fmt: skip


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        _kind("number", lambda text, _: any(character.isdigit() for character in text)),
        _kind("year", _matches(_YEAR)),
        _kind("quantity", _matches(_QUANTITY)),
        _kind("money", _matches(_MONEY)),
        _kind("quotation", _matches(_QUOTATION)),
        _kind("enumeration", lambda text, _: _enumerates(text)),
        _kind("definition", _matches(_DEFINITION)),
        _kind("short", lambda text, _: len(text.split()) <= SHORT_WORDS),
        _kind("detailed", lambda text, _: len(text.split()) >= LONG_WORDS),
        _kind("mention", _mentions, takes_term=True),
        _kind("topic", _is_about, takes_term=True),
        _kind("percentage", _matches(_PERCENTAGE), is_held_out=True),
        _kind("question", lambda text, _: "?" in text, is_held_out=True),
        _kind("code", _matches(_CODE), is_held_out=True),
    )
}
"""Every kind by name."""
