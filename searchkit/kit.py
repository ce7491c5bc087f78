"""SearchKit: opens a collection and closes what it opened."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from searchkit.calibrating import CalibrationReport, Judgments, Unjudged, calibrate, checked_judgments
from searchkit.collection import open_collection
from searchkit.config import SearchKitConfig
from searchkit.encoding import Bm25Encoder, SentenceEncoder
from searchkit.errors import ConfigError, RerankError
from searchkit.face import KitFace
from searchkit.kit_arguments import check_objects, check_place, hidden_key
from searchkit.parts import wired
from searchkit.request import checked_request, checked_text
from searchkit.reranking import CrossEncoderReranker
from searchkit.scoped import ScopedKit
from searchkit.stages import Encoder, Reranker, SparseEncoder, TokenReader

DEFAULT_PATH = ".searchkit"


class SearchKit(KitFace):
    """A collection of passages with a two-stage search.

    Safe to use from several threads. Use it as a context manager, or call `close`.

    Args:
        collection: Name of the collection.
        path: Folder of the embedded engine; the collection lies in ``path/collection``. Default ``.searchkit``.
        url: Address of a Qdrant server; excludes ``path`` and ``client``.
        client: A ``QdrantClient`` of yours, ``QdrantClient(":memory:")`` included; it is never closed here.
        api_key: Key for ``url``.
        encoder: Bi-encoder object; default `SentenceEncoder`.
        sparse_encoder: BM25 object; default `Bm25Encoder` for English, as in ``Bm25Encoder("german")`` for another.
        reranker: Cross-encoder object; default `CrossEncoderReranker` with the shipped model.
        config: All other settings.

    Raises:
        ConfigError: The arguments contradict each other or have the wrong type.
        CollectionError: The collection exists and was made with other settings, is damaged, locked, or not ours.
    """

    def __init__(
        self,
        collection: str,
        *,
        path: str | Path | None = None,
        url: str | None = None,
        client: Any = None,
        api_key: str | None = None,
        encoder: Encoder | None = None,
        sparse_encoder: SparseEncoder | None = None,
        reranker: Reranker | None = None,
        config: SearchKitConfig | None = None,
    ) -> None:
        key, api_key = hidden_key(api_key), None
        check_place(path, url, client, key)
        check_objects(encoder, sparse_encoder, reranker, config)
        settings = config or SearchKitConfig()
        dense, sparse = encoder or SentenceEncoder(), sparse_encoder or Bm25Encoder()
        model = reranker or CrossEncoderReranker()
        opened = open_collection(
            collection,
            path=DEFAULT_PATH if url is None and client is None and path is None else path,
            url=url,
            client=client,
            api_key=key,
            encoder=dense,
            sparse_encoder=sparse,
            config=settings,
            token_reader=model if isinstance(model, TokenReader) else None,
        )
        super().__init__(wired(opened, dense, sparse, model, settings))

    @classmethod
    def attach(
        cls,
        collection: str,
        *,
        client: Any = None,
        url: str | None = None,
        api_key: str | None = None,
        text_field: str | None = None,
        vector: str | None = None,
        encoder: Encoder | None = None,
        sparse_encoder: SparseEncoder | None = None,
        reranker: Reranker | None = None,
        config: SearchKitConfig | None = None,
        check_encoder: bool = True,
        read_only: bool = True,
    ) -> SearchKit:
        """Return a kit that searches a collection of another tool's, without indexing anything again.

        Payload layout and vectors are detected for LangChain, LlamaIndex, Haystack, mcp-server-qdrant and the former
        ``QdrantClient.add``. Filters name metadata keys, wherever the layout keeps them. Where there is no BM25
        vector, ``mode="hybrid"`` searches the dense one, and the result's ``mode`` says so.

        With ``read_only=False`` `add` and `delete` work as well: points get the tool's own payload and vectors, so
        that it reads them back as its own, and nothing of ours beside them. One passage is one point.

        Args:
            collection: Name of the collection.
            client: A ``QdrantClient`` of yours; it is never closed here.
            url: Address of a Qdrant server; excludes ``client``.
            api_key: Key for ``url``.
            text_field: Payload field of the text, where it cannot be detected.
            vector: Name of the dense vector, where it cannot be detected.
            encoder: The bi-encoder that wrote the dense vectors; default `SentenceEncoder`.
            sparse_encoder: The BM25 that wrote the sparse vectors, if there are any; default `Bm25Encoder` for English.
            reranker: Cross-encoder object; default `CrossEncoderReranker` with the shipped model.
            config: All other settings.
            check_encoder: Whether some texts are encoded again, to refuse an encoder that wrote other vectors.
            read_only: Whether `add` and `delete` are refused.

        Raises:
            ConfigError: The arguments contradict each other or have the wrong type.
            CollectionError: The collection is missing, its layout or vectors are not certain, the encoder is another
                one, or it has vectors that we cannot write; the message lists what was found and what settles it.
        """
        from searchkit.collection.attach import attach_collection  # loads qdrant-client, which most kits never need

        key, api_key = hidden_key(api_key), None
        check_place(None, url, client, key)
        check_objects(encoder, sparse_encoder, reranker, config)
        settings = config or SearchKitConfig()
        dense, sparse = encoder or SentenceEncoder(), sparse_encoder or Bm25Encoder()
        attached = attach_collection(
            collection,
            client=client,
            url=url,
            api_key=key,
            text_field=text_field,
            vector=vector,
            encoder=dense,
            sparse_encoder=sparse,
            config=settings,
            check_encoder=check_encoder,
            read_only=read_only,
        )
        kit = cls.__new__(cls)
        KitFace.__init__(kit, wired(attached, dense, sparse, reranker, settings, has_sparse=attached.has_sparse))
        return kit

    def scoped(
        self, fields: Mapping[str, str | int | bool] | None = None, *, tenant: str | int | None = None
    ) -> ScopedKit:
        """Return a view of this kit that reads and writes what has the given metadata values alone.

        ``kit.scoped(tenant="acme")`` binds the field ``tenant``; ``kit.scoped({"team": "red", "region": "eu"})`` binds
        others. What that means for filters, ids and shared passages is said at `searchkit.scoped.ScopedKit`.

        Args:
            fields: Metadata fields with the value that each is bound to.
            tenant: Value of the field ``tenant``.

        Raises:
            ConfigError: Nothing is given, the tenant is given twice, or a field or a value cannot be bound.
        """
        try:
            bound = dict(fields or {})
        except (TypeError, ValueError) as error:
            raise ConfigError(f'fields={fields!r:.80} is no dict: pass one such as {{"team": "red"}}') from error
        if tenant is not None:
            if "tenant" in bound:
                raise ConfigError("the tenant is given twice, in the fields and as tenant=; give it once")
            bound["tenant"] = tenant
        return ScopedKit(self._parts, bound)

    def calibrate(
        self,
        judgments: Judgments,
        *,
        candidate_depth: int = 100,
        unjudged: Unjudged = "irrelevant",
        with_blend: bool = True,
        apply: bool = True,
    ) -> CalibrationReport:
        """Refit what turns logits into probabilities on judgments of your own, and use it from now on.

        Every judged query is searched and reranked. The new profile holds for this kit and those derived from it until
        it is closed; the model's files stay as they are. To keep it, pass ``report.profile`` to
        `searchkit.CrossEncoderReranker`, or write it beside the model with `searchkit.training.write_profile`.

        Args:
            judgments: ``{query: {passage id: relevance}}``, or `searchkit.types.Judgment` objects, which can carry
                criteria. Some fifty queries are a good number, also such that have no relevant passage;
                a fit on fewer than eight is used, but cannot be measured, and a warning says so.
            candidate_depth: Candidates a query; use the depth that you search with.
            unjudged: What a candidate without a judgment counts as: "irrelevant" fits judgments that list everything
                relevant, "ignored" fits judgments of single passages, such as clicks.
            with_blend: Whether first-stage evidence takes part; without it ``score`` is the second stage alone.
            apply: Whether to use the new profile; with False it is returned to look at, ``report.objection`` included.

        Returns:
            The profile and, from eight queries on, its calibration error on queries it was not fitted on, beside the
            error of the former one.

        Raises:
            ConfigError: A judgment is not understood, no candidate or every candidate is relevant, or, with ``apply``,
                the judgments contradict the model; the former profile stays in use.
            RerankError: Stage 2 failed.
        """
        judged = checked_judgments(judgments, unjudged)
        arguments = {"top_k": candidate_depth, "candidate_depth": candidate_depth, "mode": self._possible("hybrid")}
        texts = [checked_text(judgment.query) for judgment in judged]
        requests = [checked_request({**arguments, "criteria": judgment.criteria}) for judgment in judged]
        results = self._parts.pipeline.search(texts, requests)
        failed = next((result for result in results if result.status == "degraded"), None)
        if failed is not None:
            raise RerankError(f"calibrating needs stage 2, which failed: {failed.reason}")
        scheduled = self._parts.scheduled
        report = calibrate(judged, results, scheduled.profile, unjudged=unjudged, with_blend=with_blend)
        if apply and report.objection is not None:
            raise ConfigError(f"{report.objection}. The former profile stays in use; apply=False returns the fit")
        if apply:
            scheduled.use_profile(report.profile)
        return report

    def __repr__(self) -> str:
        if "_parts" not in vars(self):  # in the traceback of a failed opening
            return "SearchKit(not open)"
        return f"SearchKit({self.name!r}, {self._parts.collection.location})"

    def __enter__(self) -> SearchKit:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def optimize(self, *, wait: bool = True) -> bool:
        """Build the index of the dense vectors over what was written since it was last built.

        The embedded engine does it by itself after a write that leaves more than ``config.optimize.after_points``
        points without an index; a server does it by itself in any case. It runs in another process, on a copy, with
        searches and writes going on; it needs room for that copy in memory and on disk. A process that ends, here or
        there, leaves the collection as it was. `close` does not wait for it.

        Args:
            wait: Whether to return when it is done, or at once.

        Returns:
            With ``wait``, whether anything was rebuilt; else whether that is under way.

        Raises:
            RetrievalError: It failed; the collection is as it was.
            CollectionError: The collection does not exist, is read-only, or was closed meanwhile.
        """
        return self._parts.collection.optimize(wait=wait)

    @property
    def is_optimizing(self) -> bool:
        """Whether this process is having the index built."""
        return self._parts.collection.is_optimizing

    def close(self) -> None:
        """Release the collection and the threads; safe to call twice. A client that you gave stays open."""
        self._parts.scheduled.close()
        self._parts.pipeline.close()
        self._parts.threads.shutdown()
        self._parts.collection.close()
