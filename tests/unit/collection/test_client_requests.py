"""Requests to a server stay below its size limit, and are halved when it finds them too large."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from searchkit.collection import open_collection
from searchkit.collection.backends.base import Point
from searchkit.collection.backends.client import ClientBackend
from searchkit.collection.backends.client_requests import point_struct, request_parts
from searchkit.collection.manifest import manifest_of
from searchkit.collection.schema import point_id
from searchkit.config import SearchKitConfig
from searchkit.errors import CollectionError, PayloadError
from searchkit.stages import RetrievalRequest, SparseVector
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


class Remote(QdrantClient):
    """The in-memory mode that passes for a server: it is split for, and indexes are made."""

    def __init__(self):
        super().__init__(":memory:")
        self.indexed = {}
        self.requests = []

    @property
    def init_options(self):
        return {"url": "http://here"}

    def create_payload_index(self, collection_name, field_name, field_schema, **arguments):
        self.indexed[field_name] = field_schema
        return models.UpdateResult(status=models.UpdateStatus.COMPLETED)

    def upsert(self, collection_name, points, **arguments):
        self.requests.append([str(one.id) for one in points])
        assert arguments == {"wait": True}
        return super().upsert(collection_name, points, **arguments)


def open_remote(client, **changes):
    return open_collection(
        "things",
        client=client,
        encoder=FakeEncoder(64, max_tokens=34),
        sparse_encoder=FakeSparseEncoder(),
        config=SearchKitConfig.model_validate({"windows": {"overlap_tokens": 4}} | changes),
    )


def test_declared_fields_and_the_window_index_are_indexed_before_the_first_write():
    client = Remote()
    collection = open_remote(client, filter_fields={"year": "integer", "public": "bool", "a.b": "datetime"})
    assert client.indexed == {}
    collection.add(["text"])
    assert client.indexed == {
        "window.index": "integer",
        "metadata.year": "integer",
        "flags.public": "keyword",
        "metadata.a.b": "datetime",
    }
    assert len(client.requests) == 1


def test_the_first_window_of_a_passage_is_sent_last():
    client = Remote()
    collection = open_remote(client, ingest={"request_bytes": 2**16})
    text = " ".join(f"word{n}" for n in range(900))
    collection.add([{"id": "a", "text": text}])
    sent = [one for request in client.requests for one in request]
    assert len(client.requests) > 1
    assert sent[-1].endswith("000000")
    assert sorted(sent)[0] == sent[-1]
    assert collection.get(["a"])[0].text == text


def test_a_write_that_breaks_between_two_requests_is_repaired_by_adding_again():
    client = Remote()
    collection = open_remote(client, ingest={"request_bytes": 2**16})
    old, new = (" ".join(f"{name}{n}" for n in range(900)) for name in ("old", "new"))
    collection.add([{"id": "a", "text": old}])

    whole = client.upsert

    def broken(collection_name, points, **arguments):
        if client.requests[-1:] == [None]:
            raise KeyboardInterrupt
        result = whole(collection_name, points, **arguments)
        client.requests.append(None)
        return result

    client.requests.clear()
    client.upsert = broken
    with pytest.raises(KeyboardInterrupt):
        collection.add([{"id": "a", "text": new}])
    client.upsert = whole
    client.requests.clear()
    report = collection.add([{"id": "a", "text": old}])
    assert report.updated == 1
    assert collection.get(["a"])[0].text == old
    assert collection.count() == 1


@pytest.mark.filterwarnings("ignore:Local mode performs exact")
def test_a_server_is_told_how_far_to_search():
    client = Remote()
    collection = open_remote(client, hnsw={"ef_search": 77})
    collection.add(["some text"])
    seen = []
    whole = client.query_batch_points

    def note(collection_name, requests, **arguments):
        seen.extend(requests)
        return whole(collection_name, requests, **arguments)

    client.query_batch_points = note
    vector = FakeEncoder(64).encode_queries(["text"])[0]
    [[candidate]] = collection.retrieve([RetrievalRequest(depth=3, dense=vector)])
    assert candidate.text == "some text"
    assert [request.params.hnsw_ef for request in seen] == [77]
    assert [request.limit for request in seen] == [6]


def test_another_process_that_creates_the_collection_first_wins():
    client = Remote()
    first, second = open_remote(client), open_remote(client, windows={"overlap_tokens": 5})
    made = ClientBackend(client, "things", CONFIG, place="here", is_owner=False)
    assert made.find_manifest() is None
    first.add(["text"])
    assert made.create(manifest_of(FakeEncoder(), FakeSparseEncoder(), CONFIG)) == made.find_manifest()
    with pytest.raises(CollectionError, match="overlap_tokens 4, but is opened with 5"):
        second.add(["text"])
