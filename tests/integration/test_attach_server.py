"""A collection of another tool's on a server, over a real socket: searched, written, and asked again where it fails."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from qdrant_client import QdrantClient, models
from starlette.responses import Response

from searchkit import Bm25Encoder, SearchKit, SearchKitConfig
from searchkit.errors import CollectionError
from searchkit.testing import FakeEncoder, FakeReranker
from tests.wire.server import WireServer

TEXTS = ["Hairdressers are paid by the hour.", "The barber shop opens at nine.", "Friseure verdienen wenig."]
POINTS = [str(uuid.UUID(int=number + 1)) for number in range(3)]
NEW = "Cooks earn more than waiters."


@pytest.fixture
def server() -> Iterator[WireServer]:
    with WireServer() as made:
        client = QdrantClient(url=made.url, check_compatibility=False)
        client.create_collection(
            "theirs",
            vectors_config=models.VectorParams(size=64, distance=models.Distance.COSINE),
            sparse_vectors_config={"langchain-sparse": models.SparseVectorParams(modifier=models.Modifier.IDF)},
        )
        words = Bm25Encoder().encode_passages(TEXTS)
        points = [
            models.PointStruct(
                id=point,
                vector={
                    "": vector.tolist(),
                    "langchain-sparse": models.SparseVector(indices=one.indices, values=one.values),
                },
                payload={"page_content": text, "metadata": {"n": number}},
            )
            for number, (point, text, vector, one) in enumerate(
                zip(POINTS, TEXTS, FakeEncoder().encode_passages(TEXTS), words, strict=True)
            )
        ]
        client.upsert("theirs", points, wait=True)
        client.close()
        yield made


def attach(server: WireServer, *, read_only: bool = True) -> SearchKit:
    config = SearchKitConfig.model_validate({"server": {"retry": {"base_s": 0.001, "cap_s": 0.002}}})
    return SearchKit.attach(
        "theirs", url=server.url, encoder=FakeEncoder(), reranker=FakeReranker(), config=config, read_only=read_only
    )


def busy() -> Response:
    return Response(b'{"status":{"error":"planned"},"time":0}', 503, media_type="application/json")


def test_it_is_searched_and_written_over_the_wire(server: WireServer) -> None:
    with attach(server, read_only=False) as kit:
        assert kit.search("how are hairdressers paid").mode == "hybrid"
        report = kit.add([{"id": 7, "text": NEW, "n": 7}], show_progress=False)
        assert (report.added, kit.count({"n": {"gte": 1}})) == (1, 3)
        assert kit.search(NEW, mode="sparse")[0].id == 7
        assert kit.add(kit.get([7, *POINTS]), show_progress=False).unchanged == 4
        assert kit.delete(filter={"$or": [{"n": 0}, {"n": 7}]}) == 2
        assert kit.count() == 2


def test_reading_sends_nothing_that_writes(server: WireServer) -> None:
    server.requests.clear()
    with attach(server) as kit:
        kit.search("wages")
        kit.get(POINTS)
        with pytest.raises(CollectionError, match="read_only=False"):
            kit.add([NEW], show_progress=False)
    written = [
        (method, path)
        for method, path, _ in server.requests
        if method in {"PUT", "PATCH", "DELETE"} or "delete" in path
    ]
    assert server.requests
    assert written == []


def test_transient_failures_are_asked_again(server: WireServer) -> None:
    with attach(server, read_only=False) as kit:
        server.planned += [("points/query/batch", busy()), ("points/count", busy()), ("points", busy())]
        assert len(kit.search("wages")) == 3
        assert kit.count() == 3
        assert kit.add([NEW], show_progress=False).added == 1
        assert server.planned == []


def test_a_key_beside_the_metadata_counts_where_an_index_is_on_it(server: WireServer) -> None:
    client = QdrantClient(url=server.url, check_compatibility=False)
    client.create_payload_index("theirs", "group", models.PayloadSchemaType.KEYWORD)
    with attach(server, read_only=False) as kit:  # no point has it yet
        client.set_payload("theirs", {"group": "acme"}, points=[POINTS[0]])
        assert [hit.id for hit in kit.search("wages", filter={"group": "acme"})] == [POINTS[0]]
        assert kit.scoped({"group": "acme"}).count() == 1
        assert kit.delete(filter={"group": {"not": "acme"}}) == 2
    client.close()
