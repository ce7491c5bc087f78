"""The retriever."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from langchain_core.callbacks import (
    AsyncCallbackManager,
    AsyncCallbackManagerForRetrieverRun,
    CallbackManager,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import get_config_list
from pydantic import ConfigDict, Field, SkipValidation, field_validator
from typing_extensions import override

from searchkit.errors import ConfigError
from searchkit.face import KitFace
from searchkit.integrations.rerank_only import checked_count, checked_kit
from searchkit.types import Hit, SearchMode, SearchResult

_PER_CALL = ("k", "candidate_depth", "criteria", "filter", "min_score", "deadline_s")


class SearchKitRetriever(BaseRetriever):
    """A `SearchKit` as a LangChain retriever.

    ``k``, ``candidate_depth``, ``criteria``, ``filter``, ``min_score`` and ``deadline_s`` can also be given per call:
    ``retriever.invoke("how are hairdressers paid", criteria="States a yearly wage.", k=2)``. ``batch`` and ``abatch``
    are one search: all their queries share the batches of both stages.

    A document carries the passage's id as ``Document.id``, the passage's metadata, and three keys of ours: ``_id``
    and ``_collection_name`` as langchain-qdrant writes them, and the score under ``score_key``. Where stage 2 was
    wanted and did not score a document, ``_reranked`` is ``False`` and the score is the first stage's.

    Attributes:
        kit: The collection to search. Not serialized.
        k: Documents wanted at most.
        candidate_depth: Passages that stage 1 hands to stage 2; raised to ``k`` where it is lower.
        criteria: What makes a passage relevant, in words; stage 2 alone reads it.
        filter: Condition on the metadata, as `SearchKit.search` takes it.
        min_score: Least probability of a document, 0..1; fewer documents or none may come back.
        deadline_s: Seconds that the whole search may take.
        mode: "hybrid", or one leg of stage 1 alone.
        rerank: Whether stage 2 runs.
        group_by: Metadata field; of each of its values only the best passage is kept.
        score_key: Metadata key of the score, a plain float; ``None`` leaves the score out, for retrievers that
            compare whole documents (``MultiQueryRetriever``). ``_reranked`` stays: a document that stage 2 scored for
            one query and not for another differs.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    kit: SkipValidation[KitFace] = Field(exclude=True, repr=False)
    k: int = Field(default=4, ge=1)
    candidate_depth: int = Field(default=50, ge=1)
    criteria: str | None = None
    filter: Any = None
    min_score: float | None = Field(default=None, ge=0, le=1)
    deadline_s: float | None = Field(default=None, gt=0)
    mode: SearchMode = "hybrid"
    rerank: bool = True
    group_by: str | None = None
    score_key: str | None = "relevance_score"

    @field_validator("kit")
    @classmethod
    def _is_kit(cls, kit: KitFace) -> KitFace:
        return checked_kit(kit)

    # LangChain reads off the synchronous signature which arguments of invoke() and ainvoke() it forwards.
    @override
    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        candidate_depth: int | None = None,
        criteria: str | None = None,
        filter: Any = None,
        min_score: float | None = None,
        deadline_s: float | None = None,
    ) -> list[Document]:
        given = (k, candidate_depth, criteria, filter, min_score, deadline_s)
        return self._documents(self.kit.search(query, **self._arguments(dict(zip(_PER_CALL, given, strict=True)))))

    @override
    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        candidate_depth: int | None = None,
        criteria: str | None = None,
        filter: Any = None,
        min_score: float | None = None,
        deadline_s: float | None = None,
    ) -> list[Document]:
        given = (k, candidate_depth, criteria, filter, min_score, deadline_s)
        arguments = self._arguments(dict(zip(_PER_CALL, given, strict=True)))
        return self._documents(await self.kit.asearch(query, **arguments))

    @override
    def batch(
        self,
        inputs: list[str],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[list[Document]]:
        """Search for all inputs at once; one list of documents each, in order.

        Args:
            inputs: The queries.
            config: One config for all, or one each.
            return_exceptions: Whether an input that failed yields its exception instead of raising it.
            **kwargs: The arguments of ``invoke``, for all inputs; an unknown one is a TypeError.
        """
        arguments = self._arguments(kwargs)
        configs = get_config_list(config, len(inputs))
        runs = [self._started(query, one) for query, one in zip(inputs, configs, strict=True)]
        outcomes = self._outcomes(inputs, arguments, isolate=return_exceptions)
        for run, outcome in zip(runs, outcomes, strict=True):
            if isinstance(outcome, Exception):
                run.on_retriever_error(outcome)
            else:
                run.on_retriever_end(outcome)
        return _returned(outcomes, return_exceptions=return_exceptions)

    @override
    async def abatch(
        self,
        inputs: list[str],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[list[Document]]:
        """Do what `batch` does without blocking the event loop."""
        arguments = self._arguments(kwargs)
        configs = get_config_list(config, len(inputs))
        runs = [await self._astarted(query, one) for query, one in zip(inputs, configs, strict=True)]
        outcomes = await self._aoutcomes(inputs, arguments, isolate=return_exceptions)
        for run, outcome in zip(runs, outcomes, strict=True):
            if isinstance(outcome, Exception):
                await run.on_retriever_error(outcome)
            else:
                await run.on_retriever_end(outcome)
        return _returned(outcomes, return_exceptions=return_exceptions)

    def _outcomes(
        self, queries: Sequence[str], arguments: Mapping[str, Any], *, isolate: bool
    ) -> list[list[Document] | Exception]:
        try:
            return [self._documents(result) for result in self.kit.search_batch(queries, **arguments)]
        except ConfigError as error:
            # One unusable query refuses the whole batch; whoever asked for exceptions wants the other answers.
            if not isolate or len(queries) == 1:
                return [error] * len(queries)
            return [self._outcomes([query], arguments, isolate=False)[0] for query in queries]
        except Exception as error:  # noqa: BLE001  # goes to the callbacks first and is raised after them
            return [error] * len(queries)

    async def _aoutcomes(
        self, queries: Sequence[str], arguments: Mapping[str, Any], *, isolate: bool
    ) -> list[list[Document] | Exception]:
        try:
            return [self._documents(result) for result in await self.kit.asearch_batch(queries, **arguments)]
        except ConfigError as error:
            if not isolate or len(queries) == 1:
                return [error] * len(queries)
            return [(await self._aoutcomes([query], arguments, isolate=False))[0] for query in queries]
        except Exception as error:  # noqa: BLE001  # goes to the callbacks first and is raised after them
            return [error] * len(queries)

    def _arguments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the search: those of the call, else those of the construction."""
        unknown = sorted(set(given).difference(_PER_CALL))
        if unknown:
            raise TypeError(f"unexpected argument {unknown[0]!r}: a call takes {', '.join(_PER_CALL)}")
        chosen = {
            name: getattr(self, name) if given.get(name) is None else given[name]
            for name in (*_PER_CALL, "mode", "rerank", "group_by")
        }
        top_k = checked_count("k", chosen.pop("k"))
        depth = checked_count("candidate_depth", chosen.pop("candidate_depth"))
        return {**chosen, "top_k": top_k, "candidate_depth": max(depth, top_k)}

    def _documents(self, result: SearchResult) -> list[Document]:
        return [self._document(hit) for hit in result]

    def _document(self, hit: Hit) -> Document:
        metadata = {**hit.metadata, "_id": hit.id, "_collection_name": self.kit.name}
        if self.score_key is not None:
            metadata[self.score_key] = float(hit.score)
        if self.rerank and hit.logit is None:
            metadata["_reranked"] = False
        return Document(id=str(hit.id), page_content=hit.text, metadata=metadata)

    @override
    def _get_ls_params(self, **kwargs: Any) -> LangSmithRetrieverParams:
        return LangSmithRetrieverParams(ls_retriever_name="searchkit", ls_vector_store_provider="Qdrant")

    def _started(self, query: str, config: RunnableConfig) -> CallbackManagerForRetrieverRun:
        manager = CallbackManager.configure(**self._tracing(config))
        return manager.on_retriever_start(None, query, name=self._run_name(config), run_id=config.get("run_id"))

    async def _astarted(self, query: str, config: RunnableConfig) -> AsyncCallbackManagerForRetrieverRun:
        manager = AsyncCallbackManager.configure(**self._tracing(config))
        return await manager.on_retriever_start(None, query, name=self._run_name(config), run_id=config.get("run_id"))

    def _run_name(self, config: RunnableConfig) -> str:
        return config.get("run_name") or self.get_name()

    def _tracing(self, config: RunnableConfig) -> dict[str, Any]:
        """Return what the base class passes to its callback manager in ``invoke``."""
        return {
            "inheritable_callbacks": config.get("callbacks"),
            "inheritable_tags": config.get("tags"),
            "local_tags": self.tags,
            "inheritable_metadata": {**(config.get("metadata") or {}), **self._get_ls_params()},
            "local_metadata": self.metadata,
        }


def _returned(outcomes: list[list[Document] | Exception], *, return_exceptions: bool) -> list[list[Document]]:
    failed = next((outcome for outcome in outcomes if isinstance(outcome, Exception)), None)
    if failed is not None and not return_exceptions:
        raise failed
    return cast("list[list[Document]]", outcomes)  # LangChain's own type leaves the exceptions out
