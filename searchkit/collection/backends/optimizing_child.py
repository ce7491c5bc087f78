"""What the other process of an optimization does: copy the store, build the index in the copy, count it.

It talks with its parent in lines of JSON: it reads where from and where to, says "ready", waits for a line, says
"copied" and then what the copy holds.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from searchkit.collection.backends.copying import copy_store

_PR_SET_PDEATHSIG = 1
_NICENESS = 10


def main(lines: TextIO, answers: TextIO) -> None:
    """Do as the lines say; whatever goes wrong becomes the last answer."""
    _end_with_parent()
    try:
        order = json.loads(lines.readline())
        _answer(answers, {"is": "ready"})
        lines.readline()  # the parent's writers wait from here on
        copy_store(Path(order["source"]), Path(order["target"]))
        _answer(answers, {"is": "copied"})
        _answer(answers, {"is": "optimized", **_optimize(order["target"])})
    except BaseException as error:  # noqa: BLE001  # the engine's panics are no Exceptions
        _answer(answers, {"is": "failed", "error": f"{type(error).__name__}: {error}"})


def _optimize(folder: str) -> dict[str, Any]:
    import qdrant_edge as edge

    from searchkit.collection.backends.store import take_census

    engine = edge.EdgeShard.load(folder)
    has_changed = engine.optimize()
    ledger = take_census(engine).ledger
    engine.flush()
    engine.close()
    numbers = {"points": ledger.points, "checksum": f"{ledger.checksum:x}", "content": f"{ledger.content:x}"}
    return {"has_changed": has_changed, **numbers}


def _answer(answers: TextIO, values: Mapping[str, Any]) -> None:
    answers.write(json.dumps(values) + "\n")
    answers.flush()


def _end_with_parent() -> None:
    """Ask the system to end this process with its parent, and to prefer the parent's searches."""
    with suppress(OSError, AttributeError):
        os.nice(_NICENESS)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
