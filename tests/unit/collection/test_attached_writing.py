"""Writing into collections that other tools own, and refusing where points of ours would be unlike theirs."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from searchkit import Bm25Encoder, SearchKit, SearchKitConfig
from searchkit.config import IngestConfig
from searchkit.errors import CollectionError, ConfigError, EncodingError, PayloadError
from searchkit.testing import FakeEncoder, FakeReranker
from tests.unit.collection.test_attach import LAYOUTS, METADATA, POINTS, TEXTS, OtherEncoder, write

NEW = "Cooks earn more than waiters in most towns."
NEW_ID = str(uuid.uuid5(uuid.NAMESPACE_URL, NEW))
COSINE_64 = models.VectorParams(size=64, distance=models.Distance.COSINE)


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    client = QdrantClient(":memory:")
    yield client
    client.close()


def attach(client: QdrantClient, **arguments: Any) -> SearchKit:
    given = {"encoder": FakeEncoder(), "reranker": FakeReranker(), "read_only": False, **arguments}
    return SearchKit.attach("theirs", client=client, **given)


@pytest.fixture
def langchain(client: QdrantClient) -> Iterator[SearchKit]:
    write(client, LAYOUTS["langchain"][0])
    with attach(client) as kit:
        yield kit


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_written_comes_back_in_every_layout(client: QdrantClient, layout: str) -> None:
    payload, dense, sparse, identity = LAYOUTS[layout]

    def as_embedded(name: str) -> dict[str, Any]:
        made: dict[str, Any] = payload(name)
        if "_node_content" in made:  # the dumped vectors are of the text alone
            node = {**json.loads(made["_node_content"]), "excluded_embed_metadata_keys": list(METADATA[name])}
            made["_node_content"] = json.dumps(node)
        return made

    write(client, as_embedded, dense, sparse)
    with attach(client) as kit:
        report = kit.add([{"id": NEW_ID, "text": NEW, "metadata": {"lang": "fr", "n": 1}}], show_progress=False)
        assert (report.added, report.truncated_count) == (1, 0)
        assert [hit.id for hit in kit.search(NEW, filter={"lang": "fr"})] == [NEW_ID]
        assert kit.get([NEW_ID])[0].metadata == {"lang": "fr", "n": 1}
        assert kit.add(kit.get([identity(name) for name in TEXTS]), show_progress=False).unchanged == len(TEXTS)
        assert kit.delete(filter={"lang": "en"}) == 3
        assert kit.count() == 2


def test_a_passage_without_an_id_gets_one_from_its_text(client: QdrantClient, langchain: SearchKit) -> None:
    assert langchain.add([NEW], show_progress=False).added == 1
    assert langchain.add([NEW], show_progress=False).unchanged == 1
    assert client.count("theirs").count == 5


def test_what_is_unchanged_is_not_encoded_again(client: QdrantClient) -> None:
    write(client, LAYOUTS["langchain"][0])
    encoder = FakeEncoder()
    with attach(client, encoder=encoder) as kit:
        encoder.encoded_count = 0
        kit.add([*kit.get(list(POINTS.values())), NEW], show_progress=False)
        assert encoder.encoded_count == 1


@pytest.mark.parametrize("is_copied", [False, True])
def test_replacing_keeps_keys_beside_the_metadata_and_says_so_only_once(client: QdrantClient, is_copied: bool) -> None:
    def payload(name: str) -> dict[str, Any]:
        return {"page_content": TEXTS[name], "metadata": {"n": 1, **({"t": "a"} if is_copied else {})}, "t": "a"}

    write(client, payload)
    with attach(client) as kit:
        held = kit.get([POINTS["wage"]])[0]
        again = {"id": held.id, "text": NEW, "metadata": held.metadata}
        assert kit.add([held], show_progress=False).unchanged == 1
        assert kit.add([again], show_progress=False).updated == 1
        stored = client.retrieve("theirs", [POINTS["wage"]])[0].payload
        assert stored == {**payload("wage"), "page_content": NEW}
        assert kit.search(NEW, filter={"t": "a"})[0].text == NEW
        without = {"id": held.id, "text": TEXTS["wage"], "n": 2}
        reports = [kit.add([without], show_progress=False) for _ in range(2)]
        assert [(one.updated, one.unchanged) for one in reports] == [(1, 0), (0, 1)]
        assert kit.get([POINTS["wage"]])[0].metadata == {"t": "a", "n": 2}


def test_both_spellings_of_a_uuid_are_one_passage(langchain: SearchKit) -> None:
    twice = [{"id": NEW_ID, "text": NEW}, {"id": uuid.UUID(NEW_ID).hex, "text": NEW}]
    report = langchain.add(twice, show_progress=False)
    assert (report.added, [one.reason for one in report.skipped]) == (
        1,
        ["the same passage came before in this call"],
    )
    with pytest.raises(PayloadError, match="came before in this call with another text"):
        langchain.add(iter([{"id": NEW_ID, "text": "a"}, {"id": uuid.UUID(NEW_ID).hex, "text": "b"}]))


def test_an_id_that_no_point_can_have_is_refused_before_anything_is_written(
    client: QdrantClient, langchain: SearchKit
) -> None:
    with pytest.raises(PayloadError, match=r"the id 'a1' cannot be a point of Qdrant.*\(nothing was written\)"):
        langchain.add([{"text": NEW}, {"id": "a1", "text": NEW}], show_progress=False)
    assert client.count("theirs").count == 4


def test_of_a_stream_the_batches_before_a_bad_passage_stay(client: QdrantClient) -> None:
    write(client, LAYOUTS["langchain"][0])
    with (
        attach(client, config=SearchKitConfig(ingest=IngestConfig(batch_size=2))) as kit,
        pytest.raises(PayloadError, match="2 passages before it were written and stay"),
    ):
        kit.add(iter(["one text", "another text", " "]), show_progress=False)
    assert client.count("theirs").count == 6


def test_a_text_longer_than_the_encoder_reads_is_written_whole_and_counted(client: QdrantClient) -> None:
    write(client, LAYOUTS["langchain"][0])
    with attach(client, encoder=FakeEncoder(max_tokens=20)) as kit:
        long = " ".join(f"word{number}" for number in range(40))
        report = kit.add([long, "short text"], show_progress=False)
        assert (report.added, report.truncated_count) == (2, 1)
        assert kit.search("word1")[0].text == long


def test_a_text_of_stopwords_has_no_sparse_vector(client: QdrantClient) -> None:
    payload, dense, sparse, _ = LAYOUTS["langchain-hybrid"]
    write(client, payload, dense, sparse)
    with attach(client) as kit:
        kit.add([{"id": 7, "text": "the and of"}], show_progress=False)
        assert 7 in {hit.id for hit in kit.search("the")}
    stored: Any = client.retrieve("theirs", [7], with_vectors=True)[0].vector
    assert "langchain-sparse" not in stored


def test_unusable_vectors_are_never_written(client: QdrantClient) -> None:
    write(client, LAYOUTS["langchain"][0])

    class Breaking(FakeEncoder):
        def encode_passages(self, texts: Any) -> Any:
            vectors = super().encode_passages(texts)
            return vectors * np.nan if NEW in texts else vectors

    with attach(client, encoder=Breaking()) as kit, pytest.raises(EncodingError, match="NaN"):
        kit.add([NEW], show_progress=False)
    assert client.count("theirs").count == 4


def test_deleting_counts_what_was_there(client: QdrantClient, langchain: SearchKit) -> None:
    assert langchain.delete([POINTS["hour"], uuid.UUID(POINTS["hour"]).hex, NEW_ID, 17, "no uuid"]) == 1
    assert langchain.delete([]) == 0
    assert langchain.delete(filter={"year": {"gte": 2022}}) == 2
    native = models.Filter(must=[models.HasIdCondition(has_id=[POINTS["wage"]])])
    assert langchain.delete(filter=native) == 1
    assert client.count("theirs").count == 0
    for wrong in ({"filter": {}}, {}, {"ids": ["a"], "filter": {"a": 1}}):
        with pytest.raises(ConfigError):
            langchain.delete(**wrong)  # type: ignore[arg-type]


def test_reading_stays_the_default(client: QdrantClient) -> None:
    write(client, LAYOUTS["langchain"][0])
    kit = SearchKit.attach("theirs", client=client, encoder=FakeEncoder(), reranker=FakeReranker())
    with kit, pytest.raises(CollectionError, match="attach it with read_only=False"):
        kit.add([NEW], show_progress=False)


def test_a_sparse_vector_that_is_not_bm25_stops_writing(client: QdrantClient) -> None:
    write(client, LAYOUTS["langchain"][0], "", "langchain-sparse", sparse_indices=[7, 12, 30_000])
    with pytest.raises(CollectionError, match="would lack its vectors 'langchain-sparse'"):
        attach(client)


@pytest.mark.parametrize("settings", [{"k": 2.4}, {"average_length": 20.0}, {"stopwords": []}])
def test_bm25_of_other_settings_is_searched_and_not_written(
    client: QdrantClient, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.unit.collection import test_attach

    monkeypatch.setattr(test_attach, "Bm25Encoder", lambda: Bm25Encoder(**settings))
    payload, dense, sparse, _ = LAYOUTS["langchain-hybrid"]
    write(client, payload, dense, sparse)
    with attach(client, read_only=True) as kit:
        assert kit.search(NEW).mode == "hybrid"
    with pytest.raises(CollectionError, match="BM25 of another language or other settings"):
        attach(client)


def test_bm25_of_other_settings_is_written_by_the_object_that_has_them(
    client: QdrantClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.unit.collection import test_attach

    theirs = Bm25Encoder("german", average_length=20.0)
    monkeypatch.setattr(test_attach, "Bm25Encoder", lambda: theirs)
    write(client, LAYOUTS["langchain"][0], "", "langchain-sparse")
    with attach(client, sparse_encoder=theirs) as kit:
        kit.add([{"id": NEW_ID, "text": "Die Häuser der Städte"}], show_progress=False)
        assert [hit.id for hit in kit.search("Haus", mode="sparse", rerank=False)] == [NEW_ID]


@pytest.mark.parametrize("is_multi", [False, True])
def test_a_further_dense_vector_stops_writing(client: QdrantClient, is_multi: bool) -> None:
    many = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM) if is_multi else None
    other = COSINE_64.model_copy(update={"multivector_config": many})
    client.create_collection("theirs", vectors_config={"text": COSINE_64, "image": other})
    with pytest.raises(CollectionError, match="would lack its vectors 'image'"):
        attach(client, text_field="body", vector="text")


def test_an_encoder_without_the_stored_heading_searches_and_does_not_write(client: QdrantClient) -> None:
    class Heading(FakeEncoder):
        def encode_passages(self, texts: Any) -> Any:
            return super().encode_passages([f"town council wages report {text}" for text in texts])

    write(client, LAYOUTS["langchain"][0])
    with attach(client, encoder=Heading(), read_only=True) as kit:
        assert len(kit.search(NEW)) == 4
    with pytest.raises(CollectionError, match=r"cosine of 0\.[5-9].*check_encoder=False to write nevertheless"):
        attach(client, encoder=Heading())
    with attach(client, encoder=Heading(), check_encoder=False) as kit:
        assert kit.add([NEW], show_progress=False).added == 1
    with pytest.raises(CollectionError, match="not written by this encoder"):
        attach(client, encoder=OtherEncoder())


@pytest.mark.parametrize("distance", [models.Distance.DOT, models.Distance.EUCLID])
def test_vectors_of_another_length_stop_writing_where_length_counts(
    client: QdrantClient, distance: models.Distance
) -> None:
    write(client, LAYOUTS["langchain"][0], distance=distance)
    with attach(client) as kit:
        assert kit.add([NEW], show_progress=False).added == 1
    for record in client.scroll("theirs", with_vectors=True)[0]:
        doubled = [2.0 * value for value in record.vector]  # type: ignore[union-attr, operator]
        client.update_vectors("theirs", [models.PointVectors(id=record.id, vector=doubled)])
    with pytest.raises(CollectionError, match=r"length of 2\.00"):
        attach(client)


@pytest.mark.parametrize("field", ["page_content", "content", "document", "_node_content"])
def test_an_empty_collection_of_some_tools_gets_its_first_passage_from_that_tool(
    client: QdrantClient, field: str
) -> None:
    client.create_collection("theirs", vectors_config=COSINE_64)
    with pytest.raises(CollectionError, match="write its first passage with that tool"):
        attach(client, text_field=field)


def test_an_empty_collection_with_a_sparse_vector_cannot_be_compared(client: QdrantClient) -> None:
    sparse = {"words": models.SparseVectorParams()}
    client.create_collection("theirs", vectors_config=COSINE_64, sparse_vectors_config=sparse)
    with pytest.raises(CollectionError, match="would lack its vectors 'words'"):
        attach(client, text_field="body")


class SmallServer(QdrantClient):
    """Refuses more than two points at once, and any point of the id 7."""

    def upsert(self, collection_name: str, points: Any, **rest: Any) -> Any:
        if len(points) > 2 or points[0].id == 7:
            raise UnexpectedResponse(413, "Payload Too Large", b"too large", httpx.Headers())
        return super().upsert(collection_name, points, **rest)


def test_a_request_that_is_too_large_is_sent_in_halves() -> None:
    client = SmallServer(":memory:")
    client.create_collection("theirs", vectors_config=COSINE_64)
    with attach(client, text_field="body") as kit:
        assert kit.add([f"text {number}" for number in range(9)], show_progress=False).added == 9
        assert kit.count() == 9
        with pytest.raises(PayloadError, match="the point 7 is larger than the server accepts"):
            kit.add([{"id": 7, "text": "large"}], show_progress=False)
    client.close()


def test_threads_may_write_and_read_at_once(langchain: SearchKit) -> None:
    def work(number: int) -> int:
        langchain.add([f"passage {number} {part}" for part in range(5)], show_progress=False)
        return len(langchain.search(f"passage {number}", rerank=False))

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(16)))
    assert langchain.count() == 4 + 16 * 5
