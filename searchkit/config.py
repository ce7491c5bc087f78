"""Settings: frozen, strict, closed. Every field says its unit and its default; nothing is read from the environment."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from searchkit.settings import Settings

FilterFieldType = Literal["keyword", "integer", "float", "bool", "datetime", "text", "tenant"]
"""Kind of a payload index; "tenant" is a keyword by which the points of one tenant are stored together."""


class WindowConfig(Settings):
    """How long texts are split before they are encoded.

    Attributes:
        max_tokens: Longest window in tokens of the encoder's tokenizer, special tokens not counted; ``None`` takes
            what the encoder can read.
        overlap_tokens: Tokens that neighbouring windows share, so that a sentence on the border is whole in one; left
            out, a quarter of a window of fewer than 64 tokens.
    """

    max_tokens: int | None = Field(default=None, ge=8)
    overlap_tokens: int = Field(default=32, ge=0)


class IngestConfig(Settings):
    """How passages are written.

    Attributes:
        batch_size: Passages read, encoded and written together.
        request_bytes: Largest upsert to a server, in bytes of payload and vectors; a server refuses more than 32 MiB.
        max_passage_chars: Longest passage that is accepted, in characters.
        store_tokens: Whether the reranker's token ids are stored with each passage, so that stage 2 does not tokenize
            passages; about 3 bytes a token. Of use where stage 2 is fast, as on a GPU.
    """

    batch_size: int = Field(default=512, ge=1, le=16384)
    request_bytes: int = Field(default=4 * 2**20, ge=2**16, le=30 * 2**20)
    max_passage_chars: int = Field(default=2_000_000, ge=1)
    store_tokens: bool = True


class FusionConfig(Settings):
    """Reciprocal rank fusion of the dense and the BM25 leg: sum of weight / (k + rank), ranks from 1.

    Source: Cormack, Clarke and Buettcher, SIGIR 2009, which also gives k = 60.

    Attributes:
        k: Constant of the formula; larger flattens the difference between ranks.
        dense_weight: Weight of the dense leg.
        sparse_weight: Weight of the BM25 leg.
        leg_depth_factor: Each leg fetches ``candidate_depth`` times this before fusion.
    """

    k: int = Field(default=60, ge=1)
    dense_weight: float = Field(default=1.0, ge=0)
    sparse_weight: float = Field(default=1.0, ge=0)
    leg_depth_factor: float = Field(default=2.0, ge=1, le=10)

    @model_validator(mode="after")
    def _ranks_something(self) -> FusionConfig:
        if not self.dense_weight and not self.sparse_weight:
            raise ValueError("dense_weight and sparse_weight are both 0, so nothing would have a rank")
        return self


class HnswConfig(Settings):
    """The index of the dense vectors, in Qdrant's words; ``None`` leaves a value to the engine.

    Attributes:
        m: Edges per node.
        ef_construct: Neighbours considered while building.
        ef_search: Neighbours considered while searching.
    """

    m: int | None = Field(default=None, ge=0)
    ef_construct: int | None = Field(default=None, ge=4)
    ef_search: int | None = Field(default=128, ge=1)


class RetryConfig(Settings):
    """How requests to a server are repeated: after transport errors and the statuses 408, 429 and 5xx, never others.

    Attributes:
        attempts: Times that a request is sent at most; 1 never repeats.
        base_s: The first wait is random, up to this many seconds; each further one up to twice as much.
        cap_s: No wait of ours is longer.
        longest_wait_s: Longest wait that a server may ask for (Retry-After); a longer one is an error at once.
    """

    attempts: int = Field(default=4, ge=1, le=20)
    base_s: float = Field(default=0.1, gt=0)
    cap_s: float = Field(default=5.0, gt=0)
    longest_wait_s: float = Field(default=60.0, ge=0)


class CircuitBreakerConfig(Settings):
    """When a failing server is left alone: requests then fail at once, until one probe is answered.

    Attributes:
        failures: Failed requests in a row (transport errors and 5xx) that open the circuit; ``None`` never does.
        open_s: Seconds until the probe.
    """

    failures: int | None = Field(default=8, ge=1)
    open_s: float = Field(default=5.0, gt=0)


class StorageConfig(Settings):
    """How a server or a cluster keeps a collection that is created; ``None`` leaves a value to the server.

    The settings of a collection that exists are not changed. The embedded engine and the in-memory mode ignore them.

    Attributes:
        shard_number: Shards of the collection.
        replication_factor: Copies of each shard.
        write_consistency_factor: Copies that must have a write before it is acknowledged.
        quantization: "scalar" keeps a copy of the dense vectors in 8 bits a number, "binary" in one; candidates are
            scored again with the full vectors.
        quantized_in_ram: Whether that copy stays in memory.
        oversampling: Candidates taken by the copy, as a multiple of those wanted.
        vectors_on_disk: Whether the full dense vectors are read from disk.
        payload_on_disk: Whether texts and metadata are.
        hnsw_on_disk: Whether the index of the dense vectors is.
    """

    shard_number: int | None = Field(default=None, ge=1)
    replication_factor: int | None = Field(default=None, ge=1)
    write_consistency_factor: int | None = Field(default=None, ge=1)
    quantization: Literal["none", "scalar", "binary"] = "none"
    quantized_in_ram: bool = True
    oversampling: float = Field(default=2.0, ge=1)
    vectors_on_disk: bool | None = None
    payload_on_disk: bool | None = None
    hnsw_on_disk: bool | None = None


class ServerConfig(Settings):
    """How a Qdrant server or cluster is reached. Of a client of yours, ``retry``, ``breaker`` and ``storage`` apply.

    Attributes:
        prefer_grpc: Whether points go over gRPC instead of REST.
        grpc_port: Port of gRPC.
        verify_tls: Whether the server's certificate is checked; only REST can leave it.
        ca_file: File with the certificates that are trusted, instead of those of certifi.
        connect_timeout_s: Seconds until a connection must stand.
        read_timeout_s: Longest silence of the server; the whole request is bounded by `SearchKitConfig.timeout_s`.
        pool_size: Connections at most.
        retry: Repeated requests.
        breaker: Circuit breaker.
        storage: How a new collection is kept.
    """

    prefer_grpc: bool = False
    grpc_port: int = Field(default=6334, ge=1, le=65535)
    verify_tls: bool = True
    ca_file: str | None = None
    connect_timeout_s: float = Field(default=5.0, gt=0)
    read_timeout_s: float | None = Field(default=None, gt=0)
    pool_size: int = Field(default=32, ge=1)
    retry: RetryConfig = RetryConfig()
    breaker: CircuitBreakerConfig = CircuitBreakerConfig()
    storage: StorageConfig = StorageConfig()

    @model_validator(mode="after")
    def _can_be_met(self) -> ServerConfig:
        if self.prefer_grpc and not self.verify_tls:
            raise ValueError("gRPC always checks certificates: name yours in ca_file instead of verify_tls=False")
        if not self.verify_tls and self.ca_file is not None:
            raise ValueError("ca_file means nothing with verify_tls=False; leave one of them out")
        return self


class OptimizeConfig(Settings):
    """When the embedded engine builds its index in the background; a server decides that itself.

    A search compares the query with every point that is not indexed, some 3 ms for 20,000 of 384 dimensions.

    Attributes:
        after_points: Points that may be without an index when a write ends; ``None`` leaves it to
            `SearchKit.optimize`.
    """

    after_points: int | None = Field(default=20_000, ge=1)


class Calibration(Settings):
    """Platt scaling: probability = sigmoid(slope * logit + intercept). The default is the plain sigmoid."""

    slope: float = Field(default=1.0, gt=0)
    intercept: float = 0.0


class Blend(Settings):
    """Evidence of both stages in one log-odds, fitted as a logistic regression on judged candidates.

    log-odds = logit_weight * logit + rank_weight * (k + 1) / (k + rank) + dense_weight * dense_score
    + sparse_weight * log(1 + sparse_score) + intercept; the hit's score is its sigmoid. ``rank`` is the fused
    first-stage rank; a missing score counts as 0.
    """

    logit_weight: float = Field(gt=0)
    rank_weight: float = Field(default=0.0, ge=0)
    dense_weight: float = Field(default=0.0, ge=0)
    sparse_weight: float = Field(default=0.0, ge=0)
    intercept: float = 0.0
    k: int = Field(default=10, ge=1)


class RerankerProfile(Settings):
    """What belongs to a cross-encoder beside its weights; ``searchkit.json`` in the model's folder.

    Attributes:
        criteria_template: How stage 2 reads query and criteria; must hold ``{query}`` and ``{criteria}``.
        calibration: Turns a logit into a probability.
        blend: Adds first-stage evidence to it; ``None`` leaves the second stage alone in charge.
        fitted_on: Where calibration and blend come from, in words.
    """

    criteria_template: str = "{query} {criteria}"
    calibration: Calibration = Calibration()
    blend: Blend | None = None
    fitted_on: str = ""

    @field_validator("criteria_template")
    @classmethod
    def _has_both_fields(cls, template: str) -> str:
        if "{query}" not in template or "{criteria}" not in template:
            raise ValueError("must hold {query} and {criteria}")
        return template

    def compose(self, query: str, criteria: str | None) -> str:
        """Return what stage 2 reads as the query."""
        if criteria is None:
            return query
        # Not str.format: a query may hold braces of its own, and a template may hold others.
        head, _, tail = self.criteria_template.partition("{query}")
        return head.replace("{criteria}", criteria) + query + tail.replace("{criteria}", criteria)


class AdaptiveDepthConfig(Settings):
    """Score candidates in stretches and stop when the rest is unlikely to hold a hit.

    Worth it where stage 2 is slow (a CPU, a large model); on a GPU one large batch is faster than several small ones.

    Attributes:
        first: Passages of the first stretch.
        step: Passages of each further stretch.
        max_missed: Relevant passages that may be missed among the unscored ones, as an expected number.
    """

    first: int = Field(default=16, ge=1)
    step: int = Field(default=8, ge=1)
    max_missed: float = Field(default=0.03, gt=0)


class SearchKitConfig(Settings):
    """All settings of a `SearchKit`.

    Attributes:
        windows: Splitting of long texts.
        ingest: Writing.
        fusion: Fusion of the first stage's legs.
        hnsw: Index of the dense vectors.
        optimize: When the embedded engine builds that index.
        read_only: Whether writing is refused. Several processes may open one embedded collection that way at once, if
            none has it open for writing.
        filter_fields: Metadata fields that get a payload index before ingest, with their type; a passage whose value is
            of another type is refused, as no filter would find it.
        windows_per_passage: At most this many windows of one passage go to stage 2.
        blend: "model" takes the blend that the reranker's profile carries; "off" ignores it.
        adaptive_depth: Stops stage 2 early where that costs nothing; ``None`` scores every candidate.
        score_cache_bytes: Memory for scores of pairs that were asked before; 0 keeps none.
        on_rerank_error: "degrade" answers in first-stage order and says so; "raise" raises the error.
        timeout_s: Seconds that one request to a Qdrant server may take, from its first byte to the answer's last.
        server: Connection to a Qdrant server or cluster, and how it keeps a new collection.
        trace_texts: Whether OpenTelemetry spans carry the texts of queries, criteria, hits and errors; without it they
            carry counts, names and times alone.
        vector_name: Name of the dense vector in the collection.
        sparse_vector_name: Name of the BM25 vector.
    """

    windows: WindowConfig = WindowConfig()
    ingest: IngestConfig = IngestConfig()
    fusion: FusionConfig = FusionConfig()
    hnsw: HnswConfig = HnswConfig()
    optimize: OptimizeConfig = OptimizeConfig()
    read_only: bool = False
    filter_fields: dict[str, FilterFieldType] = Field(default_factory=dict)
    windows_per_passage: int = Field(default=3, ge=1)
    blend: Literal["model", "off"] = "model"
    adaptive_depth: AdaptiveDepthConfig | None = None
    score_cache_bytes: int = Field(default=64 * 2**20, ge=0)
    on_rerank_error: Literal["degrade", "raise"] = "degrade"
    timeout_s: float = Field(default=30.0, gt=0)
    server: ServerConfig = ServerConfig()
    trace_texts: bool = False
    vector_name: str = Field(default="dense", min_length=1)
    sparse_vector_name: str = Field(default="bm25", min_length=1)
