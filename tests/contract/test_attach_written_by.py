"""Collections written by the real libraries are searched as they are."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from searchkit import SearchKit
from searchkit.testing import FakeEncoder, FakeReranker
from tests.contract.foreign_stores import (
    LANGUAGES,
    NAME,
    TEXTS,
    haystack_filled,
    langchain_filled,
    llamaindex_filled,
    plain_filled,
)

QUESTION = "how are hairdressers paid"


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    client = QdrantClient(":memory:")
    yield client
    client.close()


def attach(client: QdrantClient, **arguments: Any) -> SearchKit:
    return SearchKit.attach(NAME, client=client, encoder=FakeEncoder(), reranker=FakeReranker(), **arguments)


def check(client: QdrantClient, *, mode: str, ids: list[Any]) -> None:
    with attach(client) as kit:
        result = kit.search(QUESTION)
        assert result.mode == mode
        assert result[0].text == TEXTS[0]
        assert {hit.id: hit.text for hit in result} == dict(zip(ids, TEXTS, strict=True))
        german = kit.search(QUESTION, filter={"lang": "de"})
        assert [(hit.id, hit.metadata) for hit in german] == [(ids[2], {"lang": "de"})]
        assert [passage.text for passage in kit.get([ids[1]])] == [TEXTS[1]]


@pytest.mark.parametrize("mode", ["dense", "hybrid"])
def test_langchain_qdrant(client: QdrantClient, mode: str) -> None:
    _, ids = langchain_filled(client, mode)
    check(client, mode=mode, ids=[str(uuid.UUID(one)) for one in ids])
    with attach(client) as kit:
        assert [passage.text for passage in kit.get(ids)] == TEXTS  # LangChain's ids lack the dashes


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant:UserWarning")
@pytest.mark.parametrize("mode", ["dense", "hybrid"])
def test_llamaindex(client: QdrantClient, mode: str) -> None:
    _, ids = llamaindex_filled(client, mode)
    check(client, mode=mode, ids=ids)


@pytest.mark.parametrize("mode", ["dense", "hybrid"])
def test_haystack(mode: str) -> None:
    store, ids = haystack_filled(mode)
    check(store._client, mode=mode, ids=ids)
    store._client.close()


async def test_mcp_server_qdrant(tmp_path: Path) -> None:
    from tests.contract.memory_server import memory_server, stored

    async with memory_server(tmp_path) as server:
        for text, language in zip(TEXTS, LANGUAGES, strict=True):
            await stored(server, text, {"lang": language})
    client = QdrantClient(path=str(tmp_path))
    points = {record.payload["document"]: record.id for record in client.scroll(NAME, with_payload=True)[0]}
    check(client, mode="dense", ids=[points[text] for text in TEXTS])
    client.close()


def test_plain_qdrant_client(client: QdrantClient) -> None:
    plain_filled(client)
    with attach(client, text_field="text") as kit:
        assert [hit.id for hit in kit.search(QUESTION, filter={"lang": "de"})] == [2]
        assert kit.search(QUESTION)[0].metadata == {"lang": "en"}
