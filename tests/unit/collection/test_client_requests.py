"""Requests to a server stay below its size limit, and are halved when it finds them too large."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qdrant_client import QdrantClient
from qdrant_client.http.exceptions import UnexpectedResponse

from searchkit.collection.backends.base import Point
from searchkit.collection.backends.client import ClientBackend
from searchkit.collection.backends.client_requests import point_struct, request_parts
from searchkit.collection.manifest import manifest_of
from searchkit.collection.schema import point_id
from searchkit.config import SearchKitConfig
from searchkit.errors import PayloadError
from searchkit.stages import SparseVector
from searchkit.testing import FakeEncoder, FakeSparseEncoder

CONFIG = SearchKitConfig()


def point(number, chars=10):
    sparse = SparseVector([1, 2**32 - 1], [0.123456789, 1e-9])
    return Point(point_id(number), [-0.12345678901234567] * 64, sparse, {"id": number, "text": "é" * chars})


@given(st.lists(st.integers(0, 3000), max_size=30), st.integers(2000, 20_000))
def test_parts_keep_order_and_are_below_the_limit(sizes, limit):
    points = [point(number, chars) for number, chars in enumerate(sizes)]
    parts = list(request_parts(points, limit))
    assert [one for part in parts for one in part] == points
    for part in parts:
        sent = sum(len(point_struct(one, CONFIG).model_dump_json()) for one in part)
        assert part
        assert len(part) == 1 or sent <= limit


class SmallServer(QdrantClient):
    """The in-memory mode with a server's limit on the number of points in one request."""

    most = 3

    def __init__(self):
        super().__init__(":memory:")
        self.sizes = []

    def upsert(self, collection_name, points, **arguments):
        self.sizes.append(len(points))
        if len(points) > self.most:
            raise UnexpectedResponse(413, "Payload Too Large", b"", httpx.Headers())
        return super().upsert(collection_name, points, **arguments)


@pytest.fixture
def backend():
    made = ClientBackend(SmallServer(), "things", CONFIG, place="here", is_owner=True)
    made.create(manifest_of(FakeEncoder(), FakeSparseEncoder(), CONFIG))
    made.open()
    yield made
    made.close()


def test_a_request_that_is_too_large_is_halved_until_it_fits(backend):
    points = [point(number) for number in range(10)]
    backend.upsert(points, [])
    assert backend.count(None) == 10
    assert backend._client.sizes == [10, 5, 2, 3, 5, 2, 3]


def test_a_single_passage_that_is_too_large_is_named(backend):
    backend._client.most = 0
    with pytest.raises(PayloadError, match="passage 7 is larger than the server accepts"):
        backend.upsert([point(7)], [])


def test_an_owned_client_is_closed_with_the_backend(backend):
    backend.close()
    backend.close()
    with pytest.raises(RuntimeError, match="closed"):
        backend._client.count("things")
