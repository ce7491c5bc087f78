"""The format of the files that lie beside the engine: which one is written, and which older ones are known.

1   no number; ledger.json without contents, an empty file as the journal, no seal
2   ledger.json with a checksum of the contents, journal, seal; files of the first weeks have no number either

Payloads and vectors have a version of their own, `searchkit.collection.manifest.SCHEMA_VERSION`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from searchkit.errors import StoreFormatError

STORE_FORMAT = 2
_FORMAT = "format"
_FIRST_FORMAT_HAS, _FIRST_FORMAT_LACKS = {"points", "checksum"}, "content"


@dataclass(frozen=True, slots=True)
class OldRecord:
    """What a ledger of format 1 says.

    Attributes:
        points: Number of points.
        checksum: Sum of their ids modulo 2**128.
    """

    points: int
    checksum: int


def stamped(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is written into the ledger with the number of the format."""
    return {_FORMAT: STORE_FORMAT, **values}


def check_format(stored: Mapping[str, Any], folder: Path) -> None:
    """Check that a stored ledger is of the format that is read here.

    Raises:
        StoreFormatError: It is of another one.
        TypeError, ValueError: It is damaged.
    """
    found = _format_of(stored)
    if found == STORE_FORMAT:
        return
    is_older = found < STORE_FORMAT
    upgrade = f"let `searchkit doctor {folder.name} --repair` prove every passage and bring it up to date, "
    raise StoreFormatError(
        f"the collection in {folder} has the store format {found}, which {'an older' if is_older else 'a newer'} "
        f"searchkit wrote; this one reads format {STORE_FORMAT}: {upgrade if is_older else ''}use the version that "
        "wrote it, or delete the folder and add the passages again",
        is_upgradable=is_older,
    )


def old_record(stored: Mapping[str, Any]) -> OldRecord:
    """Return what a ledger of format 1 says.

    Raises:
        KeyError, TypeError, ValueError: It is damaged.
    """
    return OldRecord(int(stored["points"]), int(stored["checksum"], 16))


def _format_of(stored: Mapping[str, Any]) -> int:
    number = stored.get(_FORMAT)
    if number is None:
        is_first = stored.keys() >= _FIRST_FORMAT_HAS and _FIRST_FORMAT_LACKS not in stored
        return 1 if is_first else STORE_FORMAT
    if type(number) is not int or number < 1:  # a bool is none
        raise ValueError(f"the store format is {number!r}")
    return number
