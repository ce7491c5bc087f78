"""What the other process of a salvage does: load a copy of a store, prove what is in it, and write that elsewhere.

A damaged store can end the process that loads it, or fill its memory; so another process does, and on a copy, since
loading changes files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import qdrant_edge as edge

from searchkit.collection.backends.childhood import answer, run_for_parent
from searchkit.collection.backends.copying import copy_store
from searchkit.collection.backends.store import digest_of, integer_of
from searchkit.collection.ledger import Ledger
from searchkit.collection.proof import Proof, Windows, grouped, judge

_READ_POINTS = 256
_WRITE_POINTS = 256


def main(lines: TextIO, answers: TextIO) -> None:
    """Do as the line says."""
    run_for_parent(answers, lambda: _salvage(json.loads(lines.readline()), answers))


def _salvage(order: dict[str, Any], answers: TextIO) -> None:
    copy_store(Path(order["source"]), Path(order["scratch"]))
    engine = edge.EdgeShard.load(order["scratch"])
    salvage = _Salvage(engine, order["target"], order["dense"], order["dimension"])
    proof = salvage.run(is_id_doubtful=order["is_id_doubtful"])
    info = engine.info()
    answer(
        answers,
        {
            "is": "proven",
            "found": salvage.found.to_json(),
            "kept": salvage.kept.to_json(),
            "bad_vectors": salvage.bad_vectors,
            "proof": asdict(proof),
            "segments": info.segments_count,
            "indexes": sorted(info.payload_schema),
        },
    )


class _Salvage:
    """Reads all passages of an engine and hands on those that are whole.

    Attributes:
        found: Ledger of everything that was read.
        kept: Ledger of what was whole.
        bad_vectors: Points of whole passages whose dense vector cannot be right.
    """

    def __init__(self, engine: edge.EdgeShard, target: str | None, dense: str, dimension: int) -> None:
        self.found = Ledger()
        self.kept = Ledger()
        self.bad_vectors: list[int] = []
        self._engine = engine
        self._target = None if target is None else edge.EdgeShard.load(target)
        self._dense, self._dimension = dense, dimension
        self._records: dict[int, edge.Record] = {}
        self._waiting: list[edge.Point] = []

    def run(self, *, is_id_doubtful: bool) -> Proof:
        proof = Proof()
        for windows in grouped(self._points()):
            verdict = judge(windows, is_id_doubtful=is_id_doubtful)
            proof.enter(windows, verdict)
            digests = {point: digest_of(self._records[point]) for point, _ in windows}
            self.found = self.found.written(digests, {})
            if verdict == "whole":
                self.kept = self.kept.written(digests, {})
                self._keep(windows)
            for point, _ in windows:
                del self._records[point]
        self._send()
        if self._target is not None:
            self._target.flush()
            self._target.close()
        return proof

    def _points(self) -> Iterator[tuple[int, dict[str, Any]]]:
        offset = None
        while True:
            request = edge.ScrollRequest(offset=offset, limit=_READ_POINTS, with_payload=True, with_vector=True)
            records, offset = self._engine.scroll(request)
            for record in records:
                point = integer_of(record.id)
                self._records[point] = record
                yield point, record.payload or {}
            if offset is None:
                return

    def _keep(self, windows: Windows) -> None:
        for point, payload in windows:
            vectors = self._records[point].vector
            named: dict[str, Any] = vectors if isinstance(vectors, dict) else {}
            if not self._is_right(named.get(self._dense)):
                self.bad_vectors.append(point)
                named = {name: vector for name, vector in named.items() if name != self._dense}
            self._waiting.append(edge.Point(f"{point:032x}", named, dict(payload)))
        if len(self._waiting) >= _WRITE_POINTS:
            self._send()

    def _is_right(self, vector: Any) -> bool:
        """Whether a dense vector has the length and the norm that the engine gives every vector."""
        if not isinstance(vector, list) or len(vector) != self._dimension:
            return False
        norm = math.sqrt(sum(value * value for value in vector))
        return math.isfinite(norm) and abs(norm - 1) < 1e-3

    def _send(self) -> None:
        if self._target is not None and self._waiting:
            self._target.update(edge.UpdateOperation.upsert_points(self._waiting))
        self._waiting = []
