"""Small JSON files that notice when they were changed by anything but us."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_CHECK = "crc32"
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def dump_checked(values: Mapping[str, Any]) -> str:
    """Return an object as JSON with a checksum of its contents."""
    return json.dumps({**values, _CHECK: _checksum(values)}, indent=2)


def load_checked(text: str) -> dict[str, Any]:
    """Return an object that `dump_checked` wrote; one without a checksum is taken as it is.

    Raises:
        ValueError: It is no JSON object, or was changed.
    """
    try:
        values = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(values, dict):
        raise ValueError("not an object")  # noqa: TRY004  # one error for all that can be wrong with a file
    check = values.pop(_CHECK, None)
    if check is not None and check != _checksum(values):
        raise ValueError("its checksum does not fit its contents")
    return values


def replace_checked(path: Path, values: Mapping[str, Any]) -> None:
    """Write a file as a whole: whoever reads it finds the old or the new contents."""
    draft = path.with_name(f".searchkit-{path.name}")
    draft.write_text(dump_checked(values), encoding="utf-8")
    draft.replace(path)


def _checksum(values: Mapping[str, Any]) -> str:
    return f"{zlib.crc32(_CANONICAL.encode(values).encode()):08x}"
