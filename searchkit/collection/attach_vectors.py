"""Whether our encoders write what another tool's collection holds: some of its texts encoded again and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from qdrant_client import QdrantClient, models

from searchkit.collection.attached_answers import plain_id
from searchkit.collection.backends.client_calls import ClientCalls
from searchkit.collection.layout_payloads import encoded_text
from searchkit.collection.layouts import DenseVector, Layout, Payload
from searchkit.errors import CollectionError
from searchkit.stages import Encoder, SparseEncoder

COMPARED_POINTS = 8
"""Points whose texts are encoded again, to compare with what is stored."""
LEAST_COSINE = 0.4
"""Below it, stored vectors are of another model: the same one gives 1, and 0.6 or more for a text that was stored with
a heading or a prompt; two models give about 0."""
LEAST_WRITING_COSINE = 0.95
"""Below it, a prompt, a heading or a model differs: bearable to search with, not to mix new vectors in. The same model
in another engine or precision gives 0.97 or more."""
MOST_LENGTH_DIFFERENCE = 0.02
"""Relative; where the distance is not the cosine, vectors of another length rank differently."""
LEAST_SHARED_WORDS = 0.5
"""Share of a text's BM25 terms that a stored sparse vector must have to be BM25 at all."""
LEAST_EQUAL_WORDS, MOST_WEIGHT_DIFFERENCE = 0.8, 0.1
"""Share of equal terms, and relative difference of their weights, that BM25 of the same settings stays within. Ours and
fastembed's give 1 and 0 for prose, and differ in how they cut code."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A point of the collection, read to be compared.

    Attributes:
        text: Its text.
        payload: Its payload.
        vectors: Its vectors by name.
    """

    text: str
    payload: Payload
    vectors: dict[str, Any]


def stored_points(
    client: QdrantClient, calls: ClientCalls, name: str, layout: Layout, sampled: Sequence[models.Record]
) -> list[Stored]:
    """Return some of the sampled points that have a text, with their vectors."""
    texts = {point.id: layout.text_of(point.payload or {}, plain_id(point.id)) for point in sampled}
    payloads = {point.id: point.payload or {} for point in sampled if texts[point.id] is not None}
    chosen = list(payloads)[:COMPARED_POINTS]
    if not chosen:
        return []
    records = calls.run("read", lambda: client.retrieve(name, chosen, with_payload=False, with_vectors=True))
    found = []
    for record in records:
        vectors: Any = record.vector if isinstance(record.vector, dict) else {"": record.vector}
        found.append(Stored(texts[record.id] or "", payloads[record.id], vectors))
    return found


def check_dense(name: str, dense: DenseVector, stored: Sequence[Stored], encoder: Encoder) -> None:
    """Refuse an encoder that did not write the dense vectors.

    Raises:
        CollectionError: The stored vectors are of another model.
    """
    pairs = [(one.text, one.vectors[dense.name]) for one in stored if one.vectors.get(dense.name) is not None]
    if not pairs:
        return
    cosine, _ = _compared(pairs, encoder)
    if cosine < LEAST_COSINE:
        raise CollectionError(
            f"the dense vector {dense.name!r} of {name!r} was not written by this encoder: texts encoded again have a "
            f"cosine of {cosine:.2f} to what is stored (1.00 is the same model). Pass encoder= with the model that "
            "wrote it, or check_encoder=False if something else than the text was encoded on purpose"
        )


def check_dense_writing(
    name: str, dense: DenseVector, layout: Layout, stored: Sequence[Stored], encoder: Encoder
) -> None:
    """Refuse an encoder whose vectors may not be mixed with the stored ones.

    Raises:
        CollectionError: New vectors would differ from the tool's own.
    """
    pairs = _pairs(dense.name, layout, stored)
    if not pairs:
        return
    cosine, length = _compared(pairs, encoder)
    if cosine < LEAST_WRITING_COSINE:
        raise CollectionError(
            f"cannot write to {name!r}: texts encoded again have a cosine of {cosine:.2f} to what is stored under "
            f"{dense.name!r}, and points written now would rank unlike the others. Pass encoder= with the model and "
            "prompts that wrote it, check_encoder=False to write nevertheless, or leave read_only=True to search"
        )
    if dense.distance != "Cosine" and abs(length - 1.0) > MOST_LENGTH_DIFFERENCE:
        raise CollectionError(
            f"cannot write to {name!r}: its vectors {dense.name!r} are compared by {dense.distance} and have a length "
            f"of {length:.2f}, ours have 1.00, and points written now would rank unlike the others. Pass "
            "check_encoder=False to write nevertheless, or leave read_only=True to search"
        )


def is_bm25(sparse_name: str, stored: Sequence[Stored], encoder: SparseEncoder) -> bool:
    """Return whether the words of a text are found in its stored sparse vector."""
    pairs = [(one.text, one.vectors[sparse_name]) for one in stored if one.vectors.get(sparse_name) is not None]
    shares = [
        len(set(fresh.indices).intersection(there.indices)) / len(fresh.indices)
        for fresh, (_, there) in zip(encoder.encode_passages([text for text, _ in pairs]), pairs, strict=True)
        if fresh.indices
    ]
    return bool(shares) and float(np.median(shares)) >= LEAST_SHARED_WORDS


def is_same_bm25(sparse_name: str, layout: Layout, stored: Sequence[Stored], encoder: SparseEncoder) -> bool:
    """Return whether our BM25 gives the words and weights that are stored, so that new vectors may be mixed in."""
    pairs = _pairs(sparse_name, layout, stored)
    equal, differences = [], []
    for fresh, (_, there) in zip(encoder.encode_passages([text for text, _ in pairs]), pairs, strict=True):
        ours = dict(zip(fresh.indices, fresh.values, strict=True))
        theirs = dict(zip(there.indices, there.values, strict=True))
        shared = ours.keys() & theirs.keys()
        if ours:
            equal.append(len(shared) / len(ours.keys() | theirs.keys()))
        differences += [abs(ours[index] - theirs[index]) / ours[index] for index in shared]
    if not differences:
        return False
    return float(np.median(equal)) >= LEAST_EQUAL_WORDS and float(np.median(differences)) <= MOST_WEIGHT_DIFFERENCE


def _pairs(vector: str, layout: Layout, stored: Sequence[Stored]) -> list[tuple[str, Any]]:
    """Return what the tool encoded of each point, with the vector that it got."""
    return [
        (encoded_text(layout, one.payload), one.vectors[vector])
        for one in stored
        if one.vectors.get(vector) is not None
    ]


def _compared(pairs: Sequence[tuple[str, Any]], encoder: Encoder) -> tuple[float, float]:
    """Return the median cosine of texts encoded again to what is stored, and the median stored length."""
    fresh = encoder.encode_passages([text for text, _ in pairs])
    there = np.asarray([vector for _, vector in pairs], dtype=np.float32)
    lengths = np.maximum(np.linalg.norm(there, axis=1), 1e-9)
    return float(np.median((fresh * there).sum(axis=1) / lengths)), float(np.median(lengths))
