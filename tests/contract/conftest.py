"""The engines that hold a collection, as one fixture: every test of the contract suite runs on each of them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from searchkit.collection import Collection, open_collection
from searchkit.config import SearchKitConfig
from searchkit.stages import Candidate, RetrievalRequest
from searchkit.testing import FakeEncoder, FakeSparseEncoder


@dataclass
class Place:
    """Where collections live in one test, and how to open them."""

    kind: str
    arguments: dict[str, Any]
    opened: list[Collection] = field(default_factory=list)

    def open(self, name: str = "things", **changes: Any) -> Collection:
        """Open a collection with the fake encoders; ``changes`` are settings, or other encoders."""
        encoder = changes.pop("encoder", None) or FakeEncoder(64, max_tokens=34)
        sparse = changes.pop("sparse_encoder", None) or FakeSparseEncoder()
        changes.setdefault("windows", {"overlap_tokens": 4})
        collection = open_collection(
            self.scoped(name),
            **self.arguments,
            encoder=encoder,
            sparse_encoder=sparse,
            config=SearchKitConfig.model_validate(changes),
        )
        self.opened.append(collection)
        return collection

    def scoped(self, name: str) -> str:
        """A name that no other test run on the same server uses."""
        return name


@dataclass
class ServerPlace(Place):
    """A server is shared, so every test has its own names."""

    suffix: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    def scoped(self, name: str) -> str:
        return f"{name}-{self.suffix}"


QDRANT_URL = os.environ.get("QDRANT_URL")
SERVER = [pytest.param("server", marks=pytest.mark.server)] if QDRANT_URL else []


@pytest.fixture(params=["embedded", "memory", *SERVER])
def place(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Place]:
    if request.param == "embedded":
        where = Place("embedded", {"path": tmp_path / "data"})
        yield where
    else:
        from qdrant_client import QdrantClient

        client = QdrantClient(":memory:") if request.param == "memory" else QdrantClient(url=QDRANT_URL)
        kind = ServerPlace if request.param == "server" else Place
        where = kind(request.param, {"client": client})
        yield where
        if request.param == "server":
            for collection in where.opened:
                client.delete_collection(collection.name)
        client.close()
    for collection in where.opened:
        collection.close()


@pytest.fixture
def collection(place: Place) -> Collection:
    """A collection that does not exist yet."""
    return place.open()


Search = Callable[..., list[Candidate]]


@pytest.fixture
def search() -> Search:
    """Search a collection with the fake encoders, as the facade would."""
    dense, sparse = FakeEncoder(64), FakeSparseEncoder()

    def run(
        collection: Collection,
        query: str,
        depth: int = 10,
        mode: str = "hybrid",
        filter: Any = None,  # noqa: A002
    ) -> list[Candidate]:
        request = RetrievalRequest(
            depth=depth,
            dense=None if mode == "sparse" else dense.encode_queries([query])[0],
            sparse=None if mode == "dense" else sparse.encode_queries([query])[0],
            filter=filter,
        )
        return collection.retrieve([request])[0]

    return run
