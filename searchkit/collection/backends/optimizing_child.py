"""What the other process of an optimization does: copy the store, build the index in the copy, count it.

It is told where from and where to, says "ready", waits for a word, says "copied", and then what the copy holds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TextIO

import qdrant_edge as edge

from searchkit.collection.backends.childhood import answer, run_for_parent
from searchkit.collection.backends.copying import copy_store
from searchkit.collection.backends.store import take_census


def main(lines: TextIO, answers: TextIO) -> None:
    """Do as the lines say."""
    run_for_parent(answers, lambda: _optimize(lines, answers))


def _optimize(lines: TextIO, answers: TextIO) -> None:
    order = json.loads(lines.readline())
    answer(answers, {"is": "ready"})
    lines.readline()  # the parent's writers wait from here on
    copy_store(Path(order["source"]), Path(order["target"]))
    answer(answers, {"is": "copied"})
    engine = edge.EdgeShard.load(order["target"])
    has_changed = engine.optimize()
    ledger = take_census(engine).ledger
    engine.flush()
    engine.close()
    answer(answers, {"is": "optimized", "has_changed": has_changed, "ledger": ledger.to_json()})
