"""Reads the lists of texts that lie in ``texts/``, one text a line; validation has its own, written apart."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def written(name: str, *, held_out: bool = False) -> tuple[str, ...]:
    """Return the texts of a list in order; ``held_out`` gives those that training never uses."""
    file = f"{name}_held_out.txt" if held_out else f"{name}.txt"
    return tuple((files(__package__) / "texts" / file).read_text(encoding="utf-8").splitlines())
