"""What the commands write, and where: data on standard output, everything else on standard error.

Texts come from strangers' files. They are printed as they are except for characters that would steer the terminal,
which are shown as escapes, and they are never read as markup.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from rich.console import Console, RenderableType
from rich.text import Text

# Characters of category Cf that reorder or hide what stands around them; the others (joiners) belong to scripts.
_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
_PIPE_WIDTH = 200


def visible(text: str, *, limit: int | None = None) -> str:
    """Return ``text`` on one line, without anything that a terminal would obey.

    Args:
        text: Anything.
        limit: Longest result in characters; what is cut is replaced by an ellipsis.
    """
    joined = " ".join(text[: 4 * limit].split() if limit else text.split())
    shown = "".join(_escaped(character) for character in joined)
    return shown if limit is None or len(shown) <= limit else f"{shown[: limit - 1]}…"


def _escaped(character: str) -> str:
    is_harmless = unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp") and character not in _REORDERING
    return character if is_harmless else character.encode("unicode_escape").decode("ascii")


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console


@dataclass(frozen=True, slots=True)
class Output:
    """The two streams of one command."""

    data: Console = field(default_factory=lambda: _console(stderr=False))
    notes: Console = field(default_factory=lambda: _console(stderr=True))

    def json(self, value: BaseModel | dict[str, Any]) -> None:
        """Write one line of JSON in plain ASCII to standard output, for a script."""
        data = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
        self.data.file.write(json.dumps(data) + "\n")
        self.data.file.flush()

    def show(self, *items: RenderableType) -> None:
        """Print to standard output; what is a string in one line, without anything that a terminal would obey."""
        self.data.print(*(Text(visible(item)) if isinstance(item, str) else item for item in items))

    def note(self, text: str, *, style: str = "") -> None:
        """Print one line to standard error."""
        self.notes.print(Text(visible(text), style=style))

    def warn(self, texts: Iterable[str], *, limit: int = 20) -> None:
        """Print lines that deserve attention to standard error, at most ``limit``, and how many more there are."""
        lines = list(texts)
        for text in lines[:limit]:
            self.note(text, style="yellow")
        if len(lines) > limit:
            self.note(f"... and {len(lines) - limit} more (--json lists all)", style="yellow")
