"""What Qdrant answered about an attached collection, as passages and candidates. Pure."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qdrant_client import models

from searchkit.collection.fusion import Fused, Leg, fuse, rank_leg
from searchkit.collection.layouts import DenseVector, Layout
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
    ) -> list[Candidate]:
        """Return the candidates, best first, that lie within ``scope``.

        Args:
            depth: How many at most.
            answers: The points that each leg found, best first.
            scope: What the caller may read.
        """
        if not answers:
            return []
        payloads = {plain_id(point.id): point.payload or {} for points in answers.values() for point in points}
        # Fusion counts in keys of ours: numbered by id, so that ties fall the same way every time.
        points = sorted(payloads, key=_by_id)
        keys = {point: key for key, point in enumerate(points)}
        legs = {leg: self._ranked(leg, found, keys) for leg, found in answers.items()}
        fused = fuse(list(legs.values()), self.fusion.k, depth, 1)
        candidates: list[Candidate] = []
        for one in fused:
            point = points[one.key]
            passage = self.passage(point, payloads[point])
            if passage is not None and passage.id is not None and scope.admits(passage.metadata):
                evidence = self._evidence(len(candidates) + 1, one, legs)
                window = Window(0, 1, 0, len(passage.text))
                candidates.append(Candidate(passage.id, passage.text, passage.metadata, window, evidence))
        return candidates

    def _ranked(self, leg: str, found: Sequence[models.ScoredPoint], keys: Mapping[PassageId, int]) -> Leg:
        weight = self.fusion.dense_weight if leg == DENSE else self.fusion.sparse_weight
        # Qdrant returns a distance for these two, lower is better.
        sign = -1.0 if leg == DENSE and self.found.dense.distance in {"Euclid", "Manhattan"} else 1.0
        return rank_leg([(point_id(keys[plain_id(point.id)]), sign * point.score) for point in found], weight)

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

    def passage(self, point: PassageId, payload: Mapping[str, Any]) -> Passage | None:
        """Return the passage of a point; ``None`` and a warning where it has no text."""
        layout = self.found.layout
        text = layout.text_of(payload, point)
        if text is None:
            logger.warning(
                "collection %r: point %r has no text where a %s layout keeps it", self.name, point, layout.name
            )
            return None
        return Passage(text=text, id=layout.id_of(payload, point), metadata=layout.metadata_of(payload))


def plain_id(point: int | str | uuid.UUID) -> PassageId:
    """Return a point id of the client's as a passage id."""
    return str(point) if isinstance(point, uuid.UUID) else point


def _by_id(point: PassageId) -> tuple[str, str]:
    return type(point).__name__, str(point).zfill(20)
