"""SearchKit: opens a collection and closes what it opened."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import SecretStr

from searchkit.calibrating import CalibrationReport, Judgments, Unjudged, calibrate, checked_judgments
from searchkit.collection import open_collection
from searchkit.config import SearchKitConfig
from searchkit.encoding import Bm25Encoder, SentenceEncoder
from searchkit.errors import ConfigError, RerankError
from searchkit.face import KitFace
from searchkit.parts import wired
from searchkit.request import checked_request, checked_text
from searchkit.reranking import CrossEncoderReranker
from searchkit.scoped import ScopedKit
from searchkit.stages import Encoder, Reranker, TokenReader

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
        reranker: Reranker | None = None,
        config: SearchKitConfig | None = None,
    ) -> None:
        key, api_key = _hidden(api_key), None
        _check_place(path, url, client, key)
        _check_objects(encoder, reranker, config)
        settings = config or SearchKitConfig()
        dense, sparse = encoder or SentenceEncoder(), Bm25Encoder()
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

        key, api_key = _hidden(api_key), None
        _check_place(None, url, client, key)
        _check_objects(encoder, reranker, config)
        settings = config or SearchKitConfig()
        dense, sparse = encoder or SentenceEncoder(), Bm25Encoder()
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


def _hidden(api_key: str | None) -> SecretStr | None:
    """Return the key in a form that no frame, repr or dump shows."""
    if api_key is not None and not isinstance(api_key, str):
        raise ConfigError(f"api_key is a string, not {type(api_key).__name__}")
    if api_key is not None and not (api_key.isascii() and api_key.isprintable() and api_key == api_key.strip()):
        raise ConfigError(
            "api_key holds characters that no request can carry, perhaps the line break of a file: strip it"
        )
    return None if api_key is None else SecretStr(api_key)


def _check_place(path: object, url: object, client: object, api_key: object) -> None:
    given = [name for name, value in (("path", path), ("url", url), ("client", client)) if value is not None]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} were given: a collection lies in one place; pass one of them")
    if path is not None and (not isinstance(path, str | os.PathLike) or isinstance(os.fspath(path), bytes)):
        raise ConfigError(f"path is a folder's name, not {type(path).__name__}")
    if path is not None and (not os.fspath(path) or "\x00" in str(os.fspath(path))):
        raise ConfigError(f"path={os.fspath(path)!r} is no folder's name; the working directory is '.'")
    if url is not None and (not isinstance(url, str) or not url.strip()):
        raise ConfigError(f"url={url!r} is no address; write http://host:6333")
    if api_key is not None and url is None:
        raise ConfigError("api_key was given without url: only a server asks for a key; pass url= as well")


def _check_objects(encoder: object, reranker: object, config: object) -> None:
    wanted = (
        ("encoder", encoder, Encoder, 'SentenceEncoder("BAAI/bge-small-en-v1.5")'),
        ("reranker", reranker, Reranker, 'CrossEncoderReranker("cross-encoder/ms-marco-MiniLM-L6-v2")'),
        ("config", config, SearchKitConfig, "SearchKitConfig(windows=WindowConfig(max_tokens=128))"),
    )
    for name, value, kind, example in wanted:
        if value is not None and (isinstance(value, type) or not isinstance(value, kind)):
            raise ConfigError(f"{name}={value!r:.80} is no {kind.__name__}: pass an object such as {example}")
