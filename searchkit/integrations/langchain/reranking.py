"""Stage 2 alone: a compressor for other people's retrievers and a drop-in cross-encoder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from langchain_core.callbacks import Callbacks
from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.runnables import run_in_executor
from pydantic import ConfigDict, Field, PrivateAttr, SkipValidation
from typing_extensions import override

from searchkit.errors import RerankError
from searchkit.face import KitFace
from searchkit.integrations.rerank_only import Placed, kit_for, reranked
from searchkit.reranking.calibration import probabilities
from searchkit.stages import Reranker


class SearchKitCompressor(BaseDocumentCompressor):
    """Reranks what any retriever found: the compressor of a ``ContextualCompressionRetriever``.

    Returns copies; the documents given are left as they are. Equal scores keep the order given. A document that
    stage 2 did not score (blank text, passed deadline, failed model) follows behind the others, without a score.

    Attributes:
        top_n: Documents to keep at most, whatever the retriever's ``k``.
        criteria: What makes a document relevant, in words.
        deadline_s: Seconds that reranking may take.
        score_key: Metadata key of the score, a plain float 0..1; ``None`` leaves the score out.
        kit: A `SearchKit` whose stage 2 is used. Not serialized.
        reranker: A cross-encoder to use, in place of a kit. Without either, the shipped model. Not serialized.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    top_n: int = Field(default=4, ge=1)
    criteria: str | None = None
    deadline_s: float | None = Field(default=None, gt=0)
    score_key: str | None = "relevance_score"
    kit: SkipValidation[KitFace | None] = Field(default=None, exclude=True, repr=False)
    reranker: SkipValidation[Reranker | None] = Field(default=None, exclude=True, repr=False)
    _kit: KitFace = PrivateAttr()

    @override
    def model_post_init(self, context: Any, /) -> None:
        self._kit = kit_for(self.kit, self.reranker)

    def __getstate__(self) -> dict[Any, Any]:
        # The kit is found again where this is unpickled, so that all adapters of a process share one.
        return {**super().__getstate__(), "__pydantic_private__": None}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__({**state, "__pydantic_private__": {}})
        self._kit = kit_for(self.kit, self.reranker)

    @override
    def compress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks | None = None,
        *,
        criteria: str | None = None,
    ) -> list[Document]:
        """Return the best documents for ``query``, best first, as copies with their score.

        Args:
            documents: The candidates.
            query: What the cross-encoder reads.
            callbacks: Not used; LangChain traces the retriever around this.
            criteria: Replaces the compressor's own.
        """
        placed = reranked(
            self._kit,
            query,
            [document.page_content for document in documents],
            top_k=self.top_n,
            criteria=self.criteria if criteria is None else criteria,
            deadline_s=self.deadline_s,
        )
        return [self._copy(documents[place.index], place) for place in placed]

    @override
    async def acompress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks | None = None,
        *,
        criteria: str | None = None,
    ) -> list[Document]:
        """Do what `compress_documents` does without blocking the event loop."""
        return await run_in_executor(
            None, partial(self.compress_documents, documents, query, callbacks, criteria=criteria)
        )

    def _copy(self, document: Document, place: Placed) -> Document:
        metadata = dict(document.metadata)
        if self.score_key is not None:
            metadata.pop(self.score_key, None)  # an earlier stage's score would pass for ours
            if place.hit is not None and place.hit.logit is not None:
                metadata[self.score_key] = float(place.hit.score)
        return document.model_copy(update={"metadata": metadata})


class SearchKitCrossEncoder(BaseCrossEncoder):
    """A cross-encoder for LangChain's own ``CrossEncoderReranker`` and other code that wants a ``BaseCrossEncoder``.

    Args:
        reranker: The cross-encoder, an object; default the shipped one, which all adapters of a process share.
        criteria: What makes a text relevant, in words; read beside every query.

    Raises:
        ConfigError: ``reranker`` is something else, such as the name of a model.
    """

    def __init__(self, reranker: Reranker | None = None, *, criteria: str | None = None) -> None:
        self._given = reranker
        self._criteria = criteria
        self._reranker = kit_for(None, reranker).reranker

    def __getstate__(self) -> dict[str, Any]:
        # As with the compressor: the shipped model is found again where this is unpickled.
        return {name: value for name, value in self.__dict__.items() if name != "_reranker"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reranker = kit_for(None, self._given).reranker

    @override
    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        """Return the probability of relevance, 0..1, of each (query, text) pair, in order.

        Raises:
            RerankError: The model failed, or returned NaN, which no sort can place.
        """
        if not text_pairs:
            return []
        profile = self._reranker.profile
        pairs = [(profile.compose(query, self._criteria), text) for query, text in text_pairs]
        scores = self._reranker.score_pairs(pairs)
        if np.isnan(scores.logits).any():
            raise RerankError(f"{self._reranker.name} returned NaN: its weights or inputs are broken")
        return [float(value) for value in probabilities(scores.logits, profile, None, blend=False)]
