"""Examining a collection, and repairing what can be repaired.

Unlike opening, an examination does not stop at the first thing that is wrong, needs no model, and changes nothing
unless it is asked to repair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from searchkit.collection.diagnosis import (
    Diagnosis,
    Finding,
    lost_ids,
    made_with,
    other_format,
    proof_findings,
    state_of,
)
from searchkit.collection.opening import open_backend
from searchkit.collection.proof import Payload, Proof, grouped, judge
from searchkit.config import SearchKitConfig
from searchkit.errors import CollectionError, StoreFormatError
from searchkit.stages import Encoder, SparseEncoder, TokenWriter

if TYPE_CHECKING:
    from searchkit.collection.backends.base import Backend

Encoders = Callable[[], tuple[Encoder, SparseEncoder]]


def examine(
    name: str,
    *,
    path: str | Path | None = None,
    url: str | None = None,
    client: Any = None,
    api_key: str | SecretStr | None = None,
    config: SearchKitConfig | None = None,
    repair: bool = False,
    encoders: Encoders | None = None,
    tokens: TokenWriter | None = None,
) -> Diagnosis:
    """Look at everything that a collection is made of and say what is wrong.

    An embedded collection is read by another process, from a copy, since a damaged one could end this one: it needs
    room for that copy on disk. While any process has it open, only what stands beside the store is looked at.

    Args:
        name: Name of the collection.
        path: Folder of the embedded engine; the collection lies in ``path/name``.
        url: Address of a Qdrant server.
        client: A ``QdrantClient``; exactly one of ``path``, ``url`` and ``client`` is given.
        api_key: Key for ``url``.
        config: Settings that the collection was made with, as far as a repair needs them.
        repair: Whether to repair what can be.
        encoders: Makes the encoders, if a repair has to encode texts again.
        tokens: Writes token ids for the reranker in use; tells which stored ones are of another.

    Raises:
        ConfigError: The arguments contradict each other.
        RetrievalError: A server does not answer.
    """
    settings = config or SearchKitConfig()
    if path is not None and url is None and client is None:
        from searchkit.collection.backends.folder_doctor import FolderDoctor

        return FolderDoctor(name, path, settings, encoders, tokens).examine(repair=repair)
    backend = open_backend(name, path=path, url=url, client=client, api_key=api_key, config=settings)
    try:
        return _examine_server(name, backend, tokens, repair=repair)
    finally:
        backend.close()


def _examine_server(name: str, backend: Backend, tokens: TokenWriter | None, *, repair: bool) -> Diagnosis:
    try:
        manifest = backend.find_manifest()
    except StoreFormatError as error:
        return Diagnosis(
            collection=name, location=backend.location, state="other format", findings=(other_format(error),)
        )
    except CollectionError as error:
        finding = Finding(subject="manifest", severity="problem", text=str(error))
        return Diagnosis(collection=name, location=backend.location, state="damaged", findings=(finding,))
    if manifest is None:
        return Diagnosis(collection=name, location=backend.location, state="missing")
    proof = Proof()
    for windows in grouped(_payloads(backend)):
        proof.enter(windows, judge(windows))
    findings = (
        made_with(manifest),
        *proof_findings(proof, tokens),
    )
    repaired: tuple[str, ...] = ()
    bad = proof.orphans + proof.bad_points
    if repair and bad:
        backend.delete(bad)
        repaired = (f"removed {len(bad)} points of passages that are not whole",)
        findings = tuple(finding for finding in findings if finding.severity != "problem")
    return Diagnosis(
        collection=name,
        location=backend.location,
        state=state_of(findings),
        findings=findings,
        passages=proof.passages,
        points=proof.points,
        lost=lost_ids(proof),
        repaired=repaired,
    )


def _payloads(backend: Backend) -> Iterator[tuple[int, Payload]]:
    for page in backend.scan(None):
        found = backend.fetch(page)
        yield from ((point, found[point]) for point in page if point in found)
