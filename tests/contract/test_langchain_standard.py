"""LangChain's own suite for retrievers, without overrides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.retrievers import BaseRetriever
from langchain_tests.integration_tests import RetrieversIntegrationTests
from qdrant_client import QdrantClient

from searchkit import SearchKit
from searchkit.integrations.langchain import SearchKitRetriever
from searchkit.testing import FakeEncoder, FakeReranker


class TestSearchKitRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _kit(self) -> Iterator[None]:
        client = QdrantClient(":memory:")
        with SearchKit("standard", client=client, encoder=FakeEncoder(), reranker=FakeReranker()) as kit:
            kit.add([f"passage number {number}" for number in range(8)], show_progress=False)
            self.kit = kit
            yield
        client.close()

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return SearchKitRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"kit": self.kit}

    @property
    def retriever_query_example(self) -> str:
        return "which passage has the number 5"
