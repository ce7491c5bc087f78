"""What Qdrant answered about an attached collection, as passages and candidates. Pure."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from qdrant_client import models

from searchkit.collection.fusion import Fused, Leg, fuse, rank_leg
from searchkit.collection.layouts import DenseVector, Layout, Payload
from searchkit.collection.schema import point_id
from searchkit.collection.scope import Scope
from searchkit.config import FusionConfig
from searchkit.stages import Candidate, Window
from searchkit.types import Passage, PassageId, RetrievalEvidence

logger = logging.getLogger(__name__)

DENSE, SPARSE = "dense", "sparse"


@dataclass(frozen=True, slots=True)
class Attachment:
    """What was found out about a collection.

    Attributes:
        layout: How its payloads are laid out.
        dense: The dense vector to search in.
        sparse_name: The BM25 vector to search in, ``None`` if there is none.
    """

    layout: Layout
    dense: DenseVector
    sparse_name: str | None


@dataclass(frozen=True, slots=True)
class Answers:
    """Reads answers.

    Attributes:
        name: Name of the collection, for warnings.
        found: How it is laid out.
        fusion: How its legs are fused.
    """

    name: str
    found: Attachment
    fusion: FusionConfig

    def candidates(
        self, depth: int, answers: Mapping[str, Sequence[models.ScoredPoint]], scope: Scope
    ) -> tuple[list[Candidate], list[PassageId]]:
        """Return the candidates, best first, that lie within ``scope``; and the points without text.

        Args:
            depth: How many at most.
            answers: The points that each leg found, best first.
            scope: What the caller may read.
        """
        payloads = {plain_id(point.id): point.payload or {} for points in answers.values() for point in points}
        # What cannot be handed out is dropped before the cut, else it would use up the depth.
        passages, textless = self.readable(payloads, scope)
        # Fusion counts in keys of ours: numbered by id, so that ties fall the same way every time.
        points = sorted(passages, key=_by_id)
        keys = {point: key for key, point in enumerate(points)}
        legs = {leg: self._ranked(leg, found, keys) for leg, found in answers.items()}
        fused = fuse(list(legs.values()), self.fusion.k, depth, 1) if legs else []
        candidates: list[Candidate] = []
        for rank, one in enumerate(fused, start=1):
            point = points[one.key]
            passage = passages[point]
            window = Window(0, 1, 0, len(passage.text))
            evidence = self._evidence(rank, one, legs)
            passage_id = point if passage.id is None else passage.id
            candidates.append(Candidate(passage_id, passage.text, passage.metadata, window, evidence))
        return candidates, textless

    def readable(
        self, payloads: Mapping[PassageId, Payload], scope: Scope
    ) -> tuple[dict[PassageId, Passage], list[PassageId]]:
        """Return the passages of points by point, without those outside of ``scope``; and the points without text."""
        readable: dict[PassageId, Passage] = {}
        textless: list[PassageId] = []
        layout = self.found.layout
        for point, payload in payloads.items():
            text = layout.text_of(payload, point)
            metadata = layout.metadata_of(payload)
            if text is None:
                textless.append(point)
            elif scope.admits(metadata):
                readable[point] = Passage(text=text, id=layout.id_of(payload, point), metadata=metadata)
        return readable, textless

    def warn_of(self, textless: Iterable[PassageId]) -> None:
        """Log in one line that points were left out, if any were."""
        points = list(dict.fromkeys(textless))
        if points:
            more = f" and {len(points) - 1} more" if len(points) > 1 else ""
            message = "collection %r: left out point %r%s, without text where a %s layout keeps it"
            logger.warning(message, self.name, points[0], more, self.found.layout.name)

    def _ranked(self, leg: str, found: Sequence[models.ScoredPoint], keys: Mapping[PassageId, int]) -> Leg:
        weight = self.fusion.dense_weight if leg == DENSE else self.fusion.sparse_weight
        known = [point for point in found if plain_id(point.id) in keys]
        # Qdrant returns a distance for these two, lower is better.
        sign = -1.0 if leg == DENSE and self.found.dense.distance in {"Euclid", "Manhattan"} else 1.0
        return rank_leg([(point_id(keys[plain_id(point.id)]), sign * point.score) for point in known], weight)

    def _evidence(self, rank: int, fused: Fused, legs: Mapping[str, Leg]) -> RetrievalEvidence:
        dense, sparse = legs.get(DENSE, Leg(0.0)), legs.get(SPARSE, Leg(0.0))
        is_cosine = self.found.dense.distance == "Cosine"
        return RetrievalEvidence(
            rank=rank,
            fused_score=fused.score,
            dense_score=dense.scores.get(fused.key) if is_cosine else None,
            dense_rank=dense.ranks.get(fused.key),
            sparse_score=sparse.scores.get(fused.key),
            sparse_rank=sparse.ranks.get(fused.key),
        )


def plain_id(point: int | str | uuid.UUID) -> PassageId:
    """Return a point id of the client's as a passage id."""
    return str(point) if isinstance(point, uuid.UUID) else point


def canonical_id(one: PassageId) -> PassageId | None:
    """Return a point id as Qdrant prints it, so that LangChain's hexadecimal form finds its point as well."""
    if isinstance(one, int):
        return one
    try:
        return str(uuid.UUID(one))
    except ValueError:
        return None


def _by_id(point: PassageId) -> tuple[str, str]:
    return type(point).__name__, str(point).zfill(20)
