"""The notes in the folder of an embedded collection, and deleting such a folder."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from searchkit.collection.backends.folder import CollectionFolder
from searchkit.collection.notes import Notes, read_notes
from searchkit.errors import CollectionError

NOTES_NAME = ".searchkit-notes.json"  # such names are ours, even in a folder that has no manifest yet
_KEPT = frozenset({NOTES_NAME, "searchkit.json", "lock"})


def read_folder_notes(path: Path) -> Notes:
    """Return the notes in the folder ``path``.

    Raises:
        CollectionError: They are damaged.
    """
    file = path / NOTES_NAME
    location = f"the collection in {path}"
    if not file.exists():
        return Notes()
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CollectionError(f"the notes of {location} are damaged; restore it from a backup") from error
    return read_notes(stored, location)


def write_folder_notes(path: Path, notes: Notes) -> None:
    """Replace the notes in one step that survives a crash: the old ones are there, or the new ones."""
    draft = path / f".searchkit-notes-{os.getpid()}.json"
    with draft.open("w", encoding="utf-8") as file:
        json.dump(notes.model_dump(), file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path / NOTES_NAME)


def drop_folder(folder: CollectionFolder) -> None:
    """Delete the collection; a folder whose notes lead to another one keeps them.

    Raises:
        CollectionError: Somebody has it open.
    """
    with folder.lock():
        if not read_folder_notes(folder.path).successor:
            shutil.rmtree(folder.path)
            return
        for entry in folder.path.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name not in _KEPT:
                entry.unlink()
