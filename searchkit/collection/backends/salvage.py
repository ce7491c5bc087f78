"""Proving and rebuilding the store of a folder that this process has locked."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as edge

from searchkit.collection.backends.child import Child
from searchkit.collection.backends.copying import copy_store
from searchkit.collection.backends.embedded_errors import mapped_engine_errors
from searchkit.collection.backends.folder import ENGINE, VIEW_PREFIX, CollectionFolder, StoreRecord
from searchkit.collection.backends.seal import Damage, take_seal
from searchkit.collection.backends.store import create_engine, integer_of, take_census
from searchkit.collection.ledger import Ledger, read_ledger
from searchkit.collection.manifest import Manifest
from searchkit.collection.proof import Proof
from searchkit.collection.schema import TEXT
from searchkit.collection.vectors import passage_vectors, passage_words
from searchkit.config import SearchKitConfig
from searchkit.errors import CollectionError
from searchkit.stages import Encoder, SparseEncoder

DAMAGED = "damaged"
"""First part of the name that a store keeps of which a repair had to leave something out."""
_PAGE = 256
_SAMPLE = 16
_SAME_DIRECTION = 0.99


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a child found in a copy of the store.

    Attributes:
        found: Ledger of all that could be read.
        kept: Ledger of the passages that are whole.
        bad_vectors: Points of these whose dense vector cannot be right.
        proof: The passages.
        segments: Segments of the engine.
        indexes: Payload fields with an index.
    """

    found: Ledger
    kept: Ledger
    bad_vectors: list[int]
    proof: Proof
    segments: int
    indexes: list[str]


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What damaged files put in doubt.

    Attributes:
        dense: Whether dense vectors may be wrong.
        sparse: Whether BM25 vectors may be.
        ids: Whether payloads may lie at other points than their own.
    """

    dense: bool = False
    sparse: bool = False
    ids: bool = False


def suspicion(damage: Sequence[Damage], manifest: Manifest) -> Suspicion:
    """Return what damaged files put in doubt; texts and metadata have digests and need no suspicion."""
    parts = [Path(one.name).parts for one in damage]
    in_segments = [part[2] for part in parts if len(part) > 2 and part[0] == "segments"]
    known = {f"vector_storage-{manifest.dense_vector}", f"vector_storage-{manifest.sparse_vector}", "payload_storage"}
    indexes = {f"vector_index-{manifest.dense_vector}", f"vector_index-{manifest.sparse_vector}", "payload_index"}
    is_mapping = any(name not in known | indexes for name in in_segments)
    return Suspicion(
        dense=is_mapping or f"vector_storage-{manifest.dense_vector}" in in_segments,
        sparse=is_mapping or f"vector_storage-{manifest.sparse_vector}" in in_segments,
        ids=is_mapping,
    )


def prove(folder: CollectionFolder, engine: str, manifest: Manifest, doubt: Suspicion, target: str | None) -> Evidence:
    """Have a child read the store; into the engine ``target``, if given, it writes what is whole.

    Raises:
        RetrievalError: The engine cannot load it, or the child ended.
    """
    with _scratch(folder) as scratch:
        child = Child("searchkit.collection.backends.salvage_child", f"read the collection in {folder.path}")
        try:
            child.tell(
                {
                    "source": str((folder.path / engine).resolve()),
                    "scratch": str(scratch.resolve() / "copy"),
                    "target": None if target is None else str((folder.path / target).resolve()),
                    "dense": manifest.dense_vector,
                    "dimension": manifest.encoder.dimension,
                    "is_id_doubtful": doubt.ids,
                }
            )
            answer = child.hear("proven")
        finally:
            child.end()
    return Evidence(
        read_ledger(answer["found"]),
        read_ledger(answer["kept"]),
        answer["bad_vectors"],
        Proof(**answer["proof"]),
        answer["segments"],
        answer["indexes"],
    )


def rebuild(
    folder: CollectionFolder,
    engine: str,
    manifest: Manifest,
    doubt: Suspicion,
    config: SearchKitConfig,
    encoders: tuple[Encoder, SparseEncoder] | None,
) -> Evidence:
    """Write everything that is whole into a new engine, encode what is in doubt, and take that engine.

    Whatever happens before the last step leaves the folder as it was.

    Raises:
        RetrievalError: The store cannot be read.
        CollectionError: Vectors are in doubt and there is no encoder, or another than the store was made with.
    """
    record = StoreRecord(Ledger(), f"{ENGINE}-{secrets.token_hex(4)}")
    target = folder.path / record.engine
    try:
        with mapped_engine_errors(f"the collection in {folder.path}", "repair"):
            create_engine(target, manifest, config).close()
        evidence = prove(folder, engine, manifest, doubt, record.engine)
        with mapped_engine_errors(f"the collection in {folder.path}", "repair"):
            kept = _completed(target, manifest, doubt, evidence, encoders)
        _check_kept(kept, evidence)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
    if evidence.kept != evidence.found:  # somebody may want to look for more in it
        (folder.path / engine).rename(folder.path / record.engine.replace(ENGINE, DAMAGED))
    take_over(folder, StoreRecord(kept, record.engine, kept.points))
    return evidence


def _completed(
    target: Path,
    manifest: Manifest,
    doubt: Suspicion,
    evidence: Evidence,
    encoders: tuple[Encoder, SparseEncoder] | None,
) -> Ledger:
    """Bring the vectors of a rebuilt engine in order and return what it holds."""
    engine = edge.EdgeShard.load(str(target))
    try:
        _restore_vectors(engine, manifest, doubt, evidence, encoders)
        engine.flush()
        return take_census(engine).ledger
    finally:
        engine.close()


def _check_kept(kept: Ledger, evidence: Evidence) -> None:
    if kept != evidence.kept:
        raise CollectionError("the rebuilt store does not hold what was written to it; nothing was changed")


def take_over(folder: CollectionFolder, record: StoreRecord) -> None:
    """Make ``record`` the folder's, seal its engine and delete all others."""
    folder.drop_seal()
    folder.journal.unlink(missing_ok=True)
    folder.write_record(record)
    path = folder.path / record.engine
    with mapped_engine_errors(f"the collection in {folder.path}", "close"):
        edge.EdgeShard.load(str(path)).close()
    folder.write_seal(take_seal(path))
    tidy(folder, record)


def tidy(folder: CollectionFolder, record: StoreRecord) -> None:
    """Delete what optimizations and readers left that were interrupted."""
    for leftover in folder.leftovers(record):
        shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def _scratch(folder: CollectionFolder) -> Iterator[Path]:
    scratch = folder.path / f"{VIEW_PREFIX}{secrets.token_hex(4)}"
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _restore_vectors(
    engine: edge.EdgeShard,
    manifest: Manifest,
    doubt: Suspicion,
    evidence: Evidence,
    encoders: tuple[Encoder, SparseEncoder] | None,
) -> None:
    """Encode the texts again whose vectors are in doubt; all of them, since a damaged file does not say which."""
    if not (doubt.dense or doubt.sparse or evidence.bad_vectors):
        return
    if encoders is None:
        raise CollectionError("vectors are in doubt and there is no encoder at hand to make them again")
    encoder = encoders[0]
    if encoder.fingerprint().weight_hash != manifest.encoder.weight_hash:
        raise CollectionError(
            f"vectors are in doubt, and the encoder at hand ({encoder.fingerprint().model}) is not the one they were "
            f"made with ({manifest.encoder.model})"
        )
    lexical = encoders[1].fingerprint()
    if lexical.weight_hash != manifest.sparse_encoder.weight_hash:
        raise CollectionError(
            f"vectors are in doubt, and the sparse encoder at hand ({lexical.model}) is not the one they were made "
            f"with ({manifest.sparse_encoder.model}); searchkit.collection.doctor.examine takes it in encoders="
        )
    wanted = None if doubt.dense or doubt.sparse else set(evidence.bad_vectors)
    for records in _pages(engine):
        chosen = [record for record in records if wanted is None or integer_of(record.id) in wanted]
        if chosen:
            engine.update(edge.UpdateOperation.upsert_points(_encoded(chosen, manifest, *encoders)))


def _encoded(
    records: Sequence[edge.Record], manifest: Manifest, encoder: Encoder, sparse_encoder: SparseEncoder
) -> list[edge.Point]:
    texts = [str((record.payload or {})[TEXT]) for record in records]
    dense = passage_vectors(encoder, texts, manifest.encoder).tolist()
    sparse = passage_words(sparse_encoder, texts)
    points = []
    for record, vector, terms in zip(records, dense, sparse, strict=True):
        vectors: dict[str, Any] = {manifest.dense_vector: vector}
        if terms.indices:
            vectors[manifest.sparse_vector] = edge.SparseVector(terms.indices, terms.values)
        points.append(edge.Point(record.id, vectors, record.payload or {}))
    return points


def agrees_with(
    folder: CollectionFolder, engine: str, manifest: Manifest, encoder: Encoder, sparse_encoder: SparseEncoder
) -> bool:
    """Whether both encoders make the vectors that a store holds, judged by a sample.

    Raises:
        RetrievalError: The engine cannot load it.
    """
    with _scratch(folder) as scratch, mapped_engine_errors(f"the collection in {folder.path}", "read"):
        copy_store(folder.path / engine, scratch / "copy")
        shard = edge.EdgeShard.load(str(scratch / "copy"))
        try:
            request = edge.ScrollRequest(limit=_SAMPLE, with_payload=[TEXT], with_vector=True)
            records, _ = shard.scroll(request)
        finally:
            shard.close()
    vectors = [record.vector.get(manifest.dense_vector) for record in records if isinstance(record.vector, dict)]
    texts = [str((record.payload or {}).get(TEXT, "")) for record in records]
    if not records or any(not isinstance(one, list) or len(one) != manifest.encoder.dimension for one in vectors):
        return False
    words = [record.vector.get(manifest.sparse_vector) for record in records if isinstance(record.vector, dict)]
    terms = [set(one.indices) if isinstance(one, edge.SparseVector) else set() for one in words]
    if terms != [set(one.indices) for one in passage_words(sparse_encoder, texts)]:
        return False
    stored = np.asarray(vectors, dtype=np.float32)
    made = passage_vectors(encoder, texts, manifest.encoder)
    made = made / np.linalg.norm(made, axis=1, keepdims=True)
    return bool((np.einsum("ij,ij->i", stored, made) > _SAME_DIRECTION).all())


def _pages(engine: edge.EdgeShard) -> Iterator[list[edge.Record]]:
    offset = None
    while True:
        records, offset = engine.scroll(edge.ScrollRequest(offset=offset, limit=_PAGE, with_payload=True))
        yield records
        if offset is None:
            return
