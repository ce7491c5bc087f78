"""What the demo remembers from run to run, beside the index: which corpus it holds and what was measured on it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, ValidationError

from searchkit.cli.stdlib import StandardLibrary
from searchkit.types import Frozen

if TYPE_CHECKING:
    from searchkit.evaluation import JudgedQueries
    from searchkit.stages import Encoder, Reranker

FILE_NAME = "stdlib-demo.json"
_VERSION = 1


class SystemRow(Frozen):
    """One way to search and how well it did.

    Attributes:
        name: What the table calls it.
        measures: Mean of each measure over all judged queries.
        p50_ms: Median latency of searches made one at a time; ``None`` if none was timed.
    """

    name: str
    measures: dict[str, float]
    p50_ms: float | None = None


class MeasuredTable(Frozen):
    """The demo's table.

    Attributes:
        key: Checksum of everything that it depends on.
        rows: One for each way to search.
        query_count: Judged queries searched in every way.
        reranker: Name of the cross-encoder.
        engine: What ran it.
    """

    key: str
    rows: tuple[SystemRow, ...]
    query_count: int
    reranker: str | None = None
    engine: str | None = None


class DemoMemo(Frozen):
    """The state of the demo's folder.

    Attributes:
        version: Of this file's form.
        corpus: Checksum of the passages in the index; empty while it is not complete.
        ids: Ids that may be in the index, so that names which another Python lacks can be deleted.
        table: The last table; ``None`` before the first.
    """

    version: int = _VERSION
    corpus: str = ""
    ids: tuple[str, ...] = ()
    table: MeasuredTable | None = Field(default=None)

    @classmethod
    def read(cls, folder: str | Path) -> DemoMemo:
        """Return what was remembered; nothing if the file is missing, damaged or of another form."""
        try:
            memo = cls.model_validate_json((Path(folder) / FILE_NAME).read_bytes())
        except (OSError, ValidationError):
            return cls()
        return memo if memo.version == _VERSION else cls()

    def write(self, folder: str | Path) -> None:
        """Remember this, in one step, so that an interrupted run leaves the old file."""
        target = Path(folder) / FILE_NAME
        draft = target.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(self.model_dump_json(), encoding="utf-8")
        draft.replace(target)

    def with_table(self, table: MeasuredTable) -> DemoMemo:
        """Return a copy that remembers ``table``."""
        return self.model_copy(update={"table": table})


def library_checksum(library: StandardLibrary) -> str:
    """Return the SHA-256 (hex) over all passages."""
    digest = hashlib.sha256()
    for passage in library.passages:
        digest.update(json.dumps([passage.id, passage.text, passage.metadata]).encode())
    return digest.hexdigest()


def table_key(corpus: str, judged: JudgedQueries, *, encoder: Encoder, reranker: Reranker) -> str:
    """Return a checksum of what decides the table: corpus, queries, judgments, both models and searchkit's version."""
    from searchkit import __version__
    from searchkit.models.hashing import weight_hash

    model_path = getattr(reranker, "model_path", None)
    parts = [
        __version__,
        corpus,
        judged.model_dump_json(),
        encoder.fingerprint().model_dump_json(),
        f"{type(reranker).__name__} {reranker.name}",
        reranker.profile.model_dump_json(),
        weight_hash(model_path) if isinstance(model_path, Path) else "",
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
