"""The engines that hold a collection, as one fixture: every test of the contract suite runs on each of them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from searchkit.collection import Collection, open_collection
from searchkit.config import SearchKitConfig
from searchkit.stages import Candidate, RetrievalRequest
from searchkit.testing import FakeEncoder, FakeSparseEncoder
from tests.wire.grpc_server import GrpcServer
from tests.wire.server import WireServer


@dataclass
class Place:
    """Where collections live in one test, and how to open them."""

    kind: str
    arguments: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    opened: list[Collection] = field(default_factory=list)

    def open(self, name: str = "things", **changes: Any) -> Collection:
        """Open a collection with the fake encoders; ``changes`` are settings, other encoders, or a reranker."""
        encoder = changes.pop("encoder", None) or FakeEncoder(64, max_tokens=34)
        sparse = changes.pop("sparse_encoder", None) or FakeSparseEncoder()
        token_reader = changes.pop("token_reader", None)
        changes.setdefault("windows", {"overlap_tokens": 4})
        collection = open_collection(
            self.scoped(name),
            **self.arguments,
            encoder=encoder,
            sparse_encoder=sparse,
            config=SearchKitConfig.model_validate(self.settings | changes),
            token_reader=token_reader,
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
BACKENDS = ["embedded", "memory", "wire", pytest.param("grpc", marks=pytest.mark.soak), *SERVER]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave gRPC to `make soak`: it differs from REST in the client alone, and tests/integration holds its edges."""
    if not config.getoption("--soak"):
        items[:] = [item for item in items if _place_of(item) != "grpc"]


def _place_of(item: pytest.Item) -> object:
    return item.callspec.params.get("place") if hasattr(item, "callspec") else None


@pytest.fixture(scope="session")
def wire_server() -> Iterator[WireServer]:
    """A server on a real socket that all tests share; see tests/wire."""
    with WireServer() as server:
        yield server


@pytest.fixture(scope="session")
def grpc_server(wire_server: WireServer) -> Iterator[GrpcServer]:
    """The same server over gRPC."""
    with GrpcServer(wire_server.store) as server:
        yield server


@pytest.fixture(params=BACKENDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    where = _place(request.param, request, tmp_path)
    yield where
    for collection in where.opened:
        collection.close()
    client = where.arguments.get("client")
    if request.param in {"server", "wire", "grpc"}:
        with closing(QdrantClient(url=where.arguments["url"], check_compatibility=False)) as cleaner:
            for name in {collection.name for collection in where.opened}:
                cleaner.delete_collection(name)
    if client is not None:
        client.close()


def _place(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if kind == "embedded":
        return Place(kind, {"path": tmp_path / "data"})
    if kind == "memory":
        return Place(kind, {"client": QdrantClient(":memory:")})
    if kind == "server":
        return ServerPlace(kind, {"url": QDRANT_URL})
    settings = {}
    if kind == "grpc":
        port = request.getfixturevalue("grpc_server").port
        settings = {"server": {"prefer_grpc": True, "grpc_port": port, "pool_size": 1}}
    return ServerPlace(kind, {"url": request.getfixturevalue("wire_server").url}, settings)


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
