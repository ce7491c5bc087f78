"""What is written beside the manifest of a collection: whether it is complete, and which collection took its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, ValidationError

from searchkit.errors import CollectionError
from searchkit.types import Frozen


class Notes(Frozen):
    """Notes on a collection; an empty one says nothing.

    Attributes:
        name: Under which name it was made; another name that leads to it is an alias.
        unfinished: What is still being made of it ("copy of 'handbook'"): nobody else may open it.
        successor: The collection that is opened in its place.
        previous: The collection whose place it took, and which is kept.
        is_dropped: Whether its passages were deleted since, and it only leads to the successor.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")  # a later minor version may add fields

    name: str = ""
    unfinished: str = ""
    successor: str = ""
    previous: str = ""
    is_dropped: bool = False


def read_notes(stored: Mapping[str, Any] | None, location: str) -> Notes:
    """Return stored notes; nothing stored is empty notes.

    Raises:
        CollectionError: They are damaged.
    """
    try:
        return Notes() if stored is None else Notes.model_validate(stored)
    except ValidationError as error:
        raise CollectionError(f"the notes of {location} are damaged; restore it from a backup") from error


def check_finished(notes: Notes, purpose: str, location: str) -> None:
    """Refuse a collection that somebody else has not finished making.

    Raises:
        CollectionError: It is unfinished, and not the ``purpose`` for which it is opened.
    """
    if notes.unfinished and notes.unfinished != purpose:
        raise CollectionError(
            f"{location} is unfinished: the {notes.unfinished} was interrupted or still runs; run the same command "
            "again to finish it, or delete the collection"
        )
