from __future__ import annotations

from collections.abc import Iterator

import pytest
from qdrant_client import QdrantClient

from searchkit import SearchKit, SearchKitConfig
from searchkit.testing import FakeEncoder, FakeReranker
from tests.unit.integrations.wages import PASSAGES, CountingReranker, MakeKit


@pytest.fixture
def make_kit() -> Iterator[MakeKit]:
    opened: list[SearchKit] = []
    clients: list[QdrantClient] = []

    def make(reranker: FakeReranker | None = None, *, config: SearchKitConfig | None = None) -> SearchKit:
        clients.append(QdrantClient(":memory:"))
        kit = SearchKit(
            "wages",
            client=clients[-1],
            encoder=FakeEncoder(),
            reranker=reranker or CountingReranker(),
            config=config,
        )
        kit.add(PASSAGES, show_progress=False)
        opened.append(kit)
        return kit

    yield make
    for kit in opened:
        kit.close()
    for client in clients:
        client.close()


@pytest.fixture
def reranker() -> CountingReranker:
    return CountingReranker()


@pytest.fixture
def kit(make_kit: MakeKit, reranker: CountingReranker) -> SearchKit:
    return make_kit(reranker)
