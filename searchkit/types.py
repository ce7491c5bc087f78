"""The data that goes in and comes out: passages, hits, results and reports.

All are pydantic models: frozen, strict (``top_k="10"`` fails) and closed (a misspelled field fails).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, overload

from pydantic import BaseModel, ConfigDict, Field

PassageId = str | int
"""What a caller calls a passage: a non-empty string or a non-negative integer (``1`` and ``"1"`` differ)."""

SearchMode = Literal["hybrid", "dense", "sparse"]
SearchStatus = Literal["reranked", "partial", "degraded", "retrieved"]


class Frozen(BaseModel):
    """Base of every model of ours: immutable, strict, no unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Passage(Frozen):
    """A unit of text to index.

    Without an id, one is derived from the text, so the same text added twice is one passage.
    """

    text: str
    id: PassageId | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)


class Snippet(Frozen):
    """The window of a passage that scored best.

    ``start`` and ``end`` are character offsets into the passage's text: ``hit.text[start:end] == snippet.text``.
    """

    text: str
    start: int = Field(ge=0)
    end: int = Field(ge=0)


class RetrievalEvidence(Frozen):
    """What stage 1 knew of a hit. Ranks are 1-based; ``None`` means that this leg did not return it.

    Attributes:
        rank: Rank in the fused first-stage order, the order that reranking starts from.
        fused_score: Score that ``rank`` was sorted by (reciprocal rank fusion in hybrid mode, else the leg's own).
        dense_score: Cosine similarity, -1..1.
        dense_rank: Rank in the dense leg.
        sparse_score: BM25 score, >= 0.
        sparse_rank: Rank in the sparse leg.
    """

    rank: int | None = Field(default=None, ge=1)
    fused_score: float | None = None
    dense_score: float | None = None
    dense_rank: int | None = Field(default=None, ge=1)
    sparse_score: float | None = None
    sparse_rank: int | None = Field(default=None, ge=1)


class Hit(Frozen):
    """One passage of a result.

    Attributes:
        id: The caller's id.
        text: The whole passage, also when only a window of it was scored.
        metadata: The caller's metadata.
        rank: 1-based place in this result.
        score: Probability of relevance, 0..1, where ``logit`` is set; else the first stage's fused score.
        logit: Raw output of the cross-encoder for the best window; ``None`` when this hit was not reranked.
        retrieval: Scores and ranks of each leg of stage 1.
        snippet: The best window of a long passage; ``None`` when the passage is one window.
        truncated_tokens: Tokens of the scored window that the cross-encoder could not see.
    """

    id: PassageId
    text: str
    metadata: dict[str, Any] = Field(default_factory=dict)
    rank: int = Field(ge=1)
    score: float
    logit: float | None = None
    retrieval: RetrievalEvidence = RetrievalEvidence()
    snippet: Snippet | None = None
    truncated_tokens: int = Field(default=0, ge=0)


class Timings(Frozen):
    """Wall-clock milliseconds of one search; ``total`` includes what lies between the stages.

    In a batch the stages are shared: each result carries the times of the whole batch.
    """

    encode: float = 0.0
    retrieve: float = 0.0
    rerank: float = 0.0
    total: float = 0.0

    def __getitem__(self, stage: str) -> float:
        """Return the milliseconds of ``stage``, so that ``timings["rerank"]`` works as well."""
        if stage not in type(self).model_fields:
            raise KeyError(stage)
        return float(getattr(self, stage))


class SearchResult(Frozen, Sequence[Hit]):
    """The hits of one search, best first, and the truth about how they came about.

    Behaves as a sequence of `Hit`. Equal scores are ordered by first-stage rank, then by id.

    Attributes:
        hits: The hits, ``rank`` 1 first.
        query: The query as searched.
        criteria: The criteria that stage 2 read beside the query.
        mode: Which legs of stage 1 ran; ``None`` for candidates that came from elsewhere.
        status: "reranked": every candidate was scored by stage 2, or adaptive depth found that the rest is unlikely to
            hold a hit (``scored_count`` and ``reason`` say so). "partial": the deadline stopped stage 2, the rest
            follows in first-stage order. "degraded": stage 2 was wanted and did not happen, see ``reason``.
            "retrieved": stage 2 was not asked for.
        reason: Why the status is "partial" or "degraded", why adaptive depth stopped early, or why nothing was grouped.
        timings: Milliseconds per stage.
        candidate_count: Passages that stage 1 handed to stage 2.
        scored_count: Passages that stage 2 scored.
        cached_count: Windows whose score was known from an earlier search; the model did not run for them.
        tokens_used_count: Windows whose token ids, stored at ingest, stage 2 used instead of tokenizing.
        tokens_refused_count: Windows whose stored token ids were of another reranker's tokenizer or of another text, or
            damaged; they were tokenized. Adding the passages again renews them.
        truncated_count: Candidates whose scored window lost tokens to stage 2's length limit.
        query_truncated_tokens: Tokens of the query that the bi-encoder could not see.
        rerank_query_truncated_tokens: Tokens of query and criteria that the cross-encoder could not see beside the
            longest window; the end is cut, where the criteria stand.
        reranker: Name of the cross-encoder.
        engine: What ran it (library, precision, device).
        blend: How first- and second-stage evidence became ``score``, in words; ``None`` if ``score`` is the
            calibrated second stage alone.
    """

    hits: tuple[Hit, ...] = ()
    query: str
    criteria: str | None = None
    mode: SearchMode | None = None
    status: SearchStatus
    reason: str | None = None
    timings: Timings = Timings()
    candidate_count: int = Field(default=0, ge=0)
    scored_count: int = Field(default=0, ge=0)
    cached_count: int = Field(default=0, ge=0)
    tokens_used_count: int = Field(default=0, ge=0)
    tokens_refused_count: int = Field(default=0, ge=0)
    truncated_count: int = Field(default=0, ge=0)
    query_truncated_tokens: int = Field(default=0, ge=0)
    rerank_query_truncated_tokens: int = Field(default=0, ge=0)
    reranker: str | None = None
    engine: str | None = None
    blend: str | None = None

    def __len__(self) -> int:
        """Return the number of hits."""
        return len(self.hits)

    def __iter__(self) -> Iterator[Hit]:  # type: ignore[override]  # pydantic iterates fields, a sequence its items
        """Iterate the hits, best first."""
        return iter(self.hits)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Hit, ...]: ...
    def __getitem__(self, index: int | slice) -> Hit | tuple[Hit, ...]:
        """Return one hit, or a tuple of hits for a slice."""
        return self.hits[index]


class Skipped(Frozen):
    """A passage that ``add`` left out, and why."""

    id: PassageId | None
    reason: str


class AddReport(Frozen):
    """What one ``add`` did. Every passage read is added, updated, unchanged or skipped.

    Attributes:
        added: Ids that were new.
        updated: Ids whose text or metadata changed.
        unchanged: Ids that were there with the same text and metadata; not encoded again.
        tokens_renewed: Those of ``unchanged`` whose stored token ids were missing, or of another reranker's tokenizer,
            and were written anew.
        skipped: Passages left out, each with its reason.
        truncated_count: Passages written whose end the encoder could not see. Only in an attached collection, where a
            passage is one point; a collection of ours splits long texts.
        seconds: Wall-clock time of the call.
    """

    added: int = Field(default=0, ge=0)
    updated: int = Field(default=0, ge=0)
    unchanged: int = Field(default=0, ge=0)
    tokens_renewed: int = Field(default=0, ge=0)
    skipped: tuple[Skipped, ...] = ()
    truncated_count: int = Field(default=0, ge=0)
    seconds: float = Field(default=0.0, ge=0)


class Judgment(Frozen):
    """What is relevant to one query, for `searchkit.SearchKit.calibrate`.

    Attributes:
        query: The query, as it is searched.
        relevance: Relevance by passage id: 0 is irrelevant, 1 and above relevant, between them relevant in part. A
            passage that the collection calls 7 is found under "7" too, as files of judgments name it.
        criteria: What stage 2 reads beside the query.
    """

    query: str
    relevance: dict[PassageId, Annotated[float, Field(allow_inf_nan=False)]]
    criteria: str | None = None
