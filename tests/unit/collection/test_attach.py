"""Collections as other tools write them, searched in place."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from searchkit import Bm25Encoder, SearchKit, SearchKitConfig
from searchkit.config import FusionConfig
from searchkit.errors import CollectionError, ConfigError, PayloadError
from searchkit.testing import FakeEncoder, FakeReranker

TEXTS = {
    "wage": "Hairdressers earn 35,000 dollars a year in this town.",
    "hour": "Hairdressers are paid by the hour or by the cut.",
    "shop": "The barber shop opens at nine and closes at six.",
    "koch": "Friseure verdienen im Jahr weniger als Köche.",
}
METADATA = {
    "wage": {"lang": "en", "year": 2021, "open": True, "author": {"name": "Ada"}},
    "hour": {"lang": "en", "year": 2019, "open": False},
    "shop": {"lang": "en", "year": 2023},
    "koch": {"lang": "de", "year": 2022, "open": True},
}
QUESTION = "how are hairdressers paid"
POINTS = {name: str(uuid.uuid5(uuid.NAMESPACE_URL, name)) for name in TEXTS}

HAYSTACK = uuid.UUID("3896d314-1e95-4a3a-b45a-945f9f0b541d")  # its points are numbered in this namespace


def _llama(name: str, *, is_new: bool = False) -> dict[str, Any]:
    body: dict[str, Any] = {"text_resource": {"text": TEXTS[name]}} if is_new else {"text": TEXTS[name]}
    node = {"id_": POINTS[name], "metadata": METADATA[name], "class_name": "TextNode", **body}
    own = {"_node_type": "TextNode", "document_id": "d", "doc_id": "d", "ref_doc_id": "d"}
    return {**METADATA[name], "_node_content": json.dumps(node), **own}


def _haystack(name: str) -> dict[str, Any]:
    return {"id": f"doc-{name}", "content": TEXTS[name], "blob": None, "meta": METADATA[name], "score": None}


# layout: (payload of a passage, name of the dense vector, name of the sparse vector, id of a passage)
LAYOUTS: dict[str, tuple[Any, str, str | None, Any]] = {
    "langchain": (lambda name: {"page_content": TEXTS[name], "metadata": METADATA[name]}, "", None, POINTS.get),
    "langchain-hybrid": (
        lambda name: {"page_content": TEXTS[name], "metadata": METADATA[name]},
        "",
        "langchain-sparse",
        POINTS.get,
    ),
    "langchainjs": (lambda name: {"content": TEXTS[name], "metadata": METADATA[name]}, "", None, POINTS.get),
    "llamaindex": (_llama, "", None, POINTS.get),
    "llamaindex-hybrid": (lambda name: _llama(name, is_new=True), "text-dense", "text-sparse-new", POINTS.get),
    "haystack": (_haystack, "", None, lambda name: f"doc-{name}"),
    "haystack-hybrid": (_haystack, "text-dense", "text-sparse", lambda name: f"doc-{name}"),
    "fastembed": (
        lambda name: {"document": TEXTS[name], **METADATA[name]},
        "fast-bge-small-en",
        "fast-sparse-bm25",
        POINTS.get,
    ),
    "mcp": (lambda name: {"document": TEXTS[name], "metadata": METADATA[name]}, "fast-minilm", None, POINTS.get),
}


def write(
    client: QdrantClient,
    payload: Any,
    dense: str = "",
    sparse: str | None = None,
    *,
    distance: models.Distance = models.Distance.COSINE,
    sparse_indices: list[int] | None = None,
) -> None:
    encoder, words = FakeEncoder(), Bm25Encoder()
    size = models.VectorParams(size=encoder.dimension, distance=distance)
    client.create_collection(
        "theirs",
        vectors_config={dense: size} if dense else size,
        sparse_vectors_config={sparse: models.SparseVectorParams()} if sparse else None,
    )
    points = []
    for name, text in TEXTS.items():
        vector: Any = {dense: encoder.encode_passages([text])[0].tolist()}
        if sparse:
            one = words.encode_passages([text])[0]
            vector[sparse] = models.SparseVector(indices=one.indices, values=one.values)
            if sparse_indices is not None:
                vector[sparse] = models.SparseVector(indices=sparse_indices, values=[1.0] * len(sparse_indices))
        body = payload(name)
        point = POINTS[name] if "meta" not in body else str(uuid.uuid5(HAYSTACK, body["id"]))
        points.append(models.PointStruct(id=point, vector=vector, payload=body))
    client.upsert("theirs", points)


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    client = QdrantClient(":memory:")
    yield client
    client.close()


def attach(client: QdrantClient, **arguments: Any) -> SearchKit:
    return SearchKit.attach("theirs", client=client, encoder=FakeEncoder(), reranker=FakeReranker(), **arguments)


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest, client: QdrantClient) -> str:
    payload, dense, sparse, _ = LAYOUTS[request.param]
    write(client, payload, dense, sparse)
    return str(request.param)


def test_ids_texts_and_metadata_come_back_right(client: QdrantClient, layout: str) -> None:
    identity = LAYOUTS[layout][3]
    with attach(client) as kit:
        result = kit.search(QUESTION, top_k=4)
        assert {hit.id: (hit.text, hit.metadata) for hit in result} == {
            identity(name): (TEXTS[name], METADATA[name]) for name in TEXTS
        }
        assert result[0].id == identity("hour")
        assert result.status == "reranked"


def test_hybrid_is_used_where_a_bm25_vector_exists_and_the_result_says_so(client: QdrantClient, layout: str) -> None:
    is_hybrid = LAYOUTS[layout][2] is not None
    with attach(client) as kit:
        result = kit.search(QUESTION, top_k=4)
        assert result.mode == ("hybrid" if is_hybrid else "dense")
        best = result[0].retrieval
        assert (best.sparse_rank is not None) == is_hybrid
        query, passage = FakeEncoder().encode_queries([QUESTION, TEXTS["hour"]])
        assert best.dense_score == pytest.approx(float(query @ passage), abs=1e-4)
        if not is_hybrid:
            with pytest.raises(ConfigError, match='mode="dense"'):
                kit.search(QUESTION, mode="sparse")


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"lang": "de"}, {"koch"}),
        ({"lang": ["de", "fr"]}, {"koch"}),
        ({"year": {"gte": 2021, "lt": 2023}}, {"wage", "koch"}),
        ({"year": 2019}, {"hour"}),
        ({"lang": {"not": "en"}}, {"koch"}),
        ({"open": True}, {"wage", "koch"}),
        ({"open": [True, False]}, {"wage", "koch", "hour"}),
        ({"open": {"exists": False}}, {"shop"}),
        ({"author.name": "Ada"}, {"wage"}),
        ({"lang": "en", "year": {"gt": 2020}}, {"wage", "shop"}),
        ({"$or": [{"lang": "de"}, {"year": 2019}]}, {"koch", "hour"}),
        ({"$not": {"$or": [{"lang": "de"}, {"open": True}]}}, {"shop", "hour"}),
        ({}, set(TEXTS)),
    ],
)
def test_filters_reach_the_metadata_wherever_it_lies(
    client: QdrantClient, layout: str, condition: dict[str, Any], expected: set[str]
) -> None:
    identity = LAYOUTS[layout][3]
    with attach(client) as kit:
        assert {hit.id for hit in kit.search(QUESTION, filter=condition)} == {identity(name) for name in expected}
        assert kit.count(condition) == len(expected)


def test_passages_can_be_read_by_id(client: QdrantClient, layout: str) -> None:
    identity = LAYOUTS[layout][3]
    with attach(client) as kit:
        passages = kit.get([identity("koch"), "unknown", 17, identity("wage")])
        assert [(one.id, one.text, one.metadata) for one in passages] == [
            (identity(name), TEXTS[name], METADATA[name]) for name in ("koch", "wage")
        ]


@pytest.mark.parametrize("ids", [[None], [uuid.UUID(int=1)], [1.0], [b"x"], "abc", 5])
def test_what_is_no_list_of_ids_is_refused(client: QdrantClient, layout: str, ids: Any) -> None:
    with attach(client) as kit, pytest.raises(PayloadError, match="id"):
        kit.get(ids)


def test_nothing_can_be_written(client: QdrantClient, layout: str) -> None:
    with attach(client) as kit:
        with pytest.raises(CollectionError, match="cannot add to 'theirs'"):
            kit.add(["new"], show_progress=False)
        with pytest.raises(CollectionError, match="cannot delete from 'theirs'"):
            kit.delete(["x"])
    assert client.count("theirs").count == len(TEXTS)


def test_a_qdrant_filter_is_taken_as_it_is(client: QdrantClient) -> None:
    write(client, LAYOUTS["langchain"][0])
    native = models.Filter(must=[models.FieldCondition(key="metadata.lang", match=models.MatchValue(value="de"))])
    with attach(client) as kit:
        assert [hit.id for hit in kit.search(QUESTION, filter=native)] == [POINTS["koch"]]
        with pytest.raises(ConfigError, match="a filter is a dict"):
            kit.search(QUESTION, filter="lang=de")


def test_a_plain_collection_needs_the_name_of_its_text(client: QdrantClient) -> None:
    write(client, lambda name: {"body": TEXTS[name], **METADATA[name]}, "mine")
    with pytest.raises(CollectionError, match="text_field='body'"):
        attach(client)
    with attach(client, text_field="body") as kit:
        assert kit.search(QUESTION, filter={"lang": "de"})[0].metadata == METADATA["koch"]
        assert "plain layout, dense vector 'mine'" in repr(kit)


def test_several_dense_vectors_need_a_choice(client: QdrantClient) -> None:
    params = models.VectorParams(size=64, distance=models.Distance.COSINE)
    client.create_collection("theirs", vectors_config={"title": params, "body": params})
    vector = FakeEncoder().encode_passages(["a text"])[0].tolist()
    client.upsert(
        "theirs",
        [models.PointStruct(id=1, vector={"body": vector}, payload={"page_content": "a text", "metadata": None})],
    )
    with pytest.raises(CollectionError, match=r"'body' .*'title' .*vector="):
        attach(client)
    with attach(client, vector="body") as kit:
        assert [hit.id for hit in kit.search("text")] == [1]


def test_a_late_interaction_vector_is_no_dense_vector(client: QdrantClient) -> None:
    single = models.VectorParams(size=64, distance=models.Distance.COSINE)
    multi = single.model_copy(
        update={"multivector_config": models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)}
    )
    client.create_collection("theirs", vectors_config={"one": single, "many": multi})
    with attach(client, text_field="body") as kit:
        assert "dense vector 'one'" in repr(kit)


def test_an_encoder_of_another_size_is_refused(client: QdrantClient) -> None:
    write(client, LAYOUTS["langchain"][0])
    with pytest.raises(CollectionError, match="has 64 dimensions and the encoder makes 32"):
        SearchKit.attach("theirs", client=client, encoder=FakeEncoder(32), reranker=FakeReranker())


class OtherEncoder(FakeEncoder):
    """Of the same size, and of another mind."""

    def _encode(self, texts: Any) -> Any:
        return super()._encode(texts)[:, ::-1].copy()


def test_an_encoder_that_wrote_other_vectors_is_refused(client: QdrantClient) -> None:
    write(client, LAYOUTS["langchain"][0])
    with pytest.raises(CollectionError, match="not written by this encoder"):
        SearchKit.attach("theirs", client=client, encoder=OtherEncoder(), reranker=FakeReranker())
    kit = SearchKit.attach(
        "theirs", client=client, encoder=OtherEncoder(), reranker=FakeReranker(), check_encoder=False
    )
    with kit:
        assert len(kit.search(QUESTION)) == 4


def test_a_sparse_vector_that_is_not_bm25_is_left_alone(client: QdrantClient, caplog: pytest.LogCaptureFixture) -> None:
    write(client, LAYOUTS["langchain"][0], "", "langchain-sparse", sparse_indices=[7, 12, 30_000])
    with caplog.at_level(logging.WARNING), attach(client) as kit:
        assert "is not BM25" in caplog.text
        assert kit.search(QUESTION).mode == "dense"


@pytest.mark.parametrize("distance", [models.Distance.EUCLID, models.Distance.MANHATTAN, models.Distance.DOT])
def test_other_distances_order_best_first_and_claim_no_cosine(client: QdrantClient, distance: models.Distance) -> None:
    write(client, LAYOUTS["langchain"][0], distance=distance)
    with attach(client) as kit:
        result = kit.search(TEXTS["shop"], rerank=False)
        assert result[0].id == POINTS["shop"]
        assert result[0].retrieval.dense_score is None
        assert [hit.score for hit in result] == sorted((hit.score for hit in result), reverse=True)


def test_a_point_without_text_is_left_out_and_reported(client: QdrantClient, caplog: pytest.LogCaptureFixture) -> None:
    write(client, LAYOUTS["langchain"][0])
    client.set_payload("theirs", {"page_content": " "}, points=[POINTS["hour"]])
    with caplog.at_level(logging.WARNING), attach(client) as kit:
        result = kit.search(QUESTION)
        assert POINTS["hour"] not in {hit.id for hit in result}
        assert [hit.retrieval.rank for hit in sorted(result, key=lambda hit: hit.retrieval.rank or 0)] == [1, 2, 3]
        assert POINTS["hour"] in caplog.text


def test_depth_and_fusion_settings_are_kept(client: QdrantClient) -> None:
    payload, dense, sparse, _ = LAYOUTS["langchain-hybrid"]
    write(client, payload, dense, sparse)
    config = SearchKitConfig(fusion=FusionConfig(dense_weight=0.0, k=1))
    with attach(client, config=config) as kit:
        result = kit.search(QUESTION, top_k=2, candidate_depth=2, rerank=False)
        assert result.candidate_count == 2
        best = result[0]
        assert best.score == pytest.approx(1 / 2)
        assert best.retrieval.sparse_rank == 1


def test_a_query_of_stopwords_finds_nothing_in_the_sparse_leg(client: QdrantClient) -> None:
    payload, dense, sparse, _ = LAYOUTS["langchain-hybrid"]
    write(client, payload, dense, sparse)
    with attach(client) as kit:
        assert len(kit.search("the and of", mode="sparse")) == 0
        assert len(kit.search("the and of")) == 4


def test_a_batch_answers_like_single_searches(client: QdrantClient) -> None:
    payload, dense, sparse, _ = LAYOUTS["langchain-hybrid"]
    write(client, payload, dense, sparse)
    with attach(client) as kit:
        queries = [QUESTION, "the and of", "barber shop"]
        batch = [[(hit.id, hit.score) for hit in result] for result in kit.search_batch(queries)]
        assert batch == [[(hit.id, hit.score) for hit in kit.search(query)] for query in queries]


async def test_an_attached_kit_searches_asynchronously(client: QdrantClient) -> None:
    write(client, LAYOUTS["langchain"][0])
    with attach(client) as kit:
        assert (await kit.asearch(QUESTION))[0].id == POINTS["hour"]


def test_a_missing_collection_is_named_with_those_that_are_there(client: QdrantClient) -> None:
    write(client, LAYOUTS["langchain"][0])
    with pytest.raises(CollectionError, match="no collection 'handbok'; found theirs"):
        SearchKit.attach("handbok", client=client, encoder=FakeEncoder(), reranker=FakeReranker())


def test_a_collection_of_ours_is_sent_to_the_constructor(client: QdrantClient) -> None:
    with SearchKit("ours", client=client, encoder=FakeEncoder(), reranker=FakeReranker()) as kit:
        kit.add(["a text"], show_progress=False)
    with pytest.raises(CollectionError, match="was made by searchkit"):
        SearchKit.attach("ours", client=client, encoder=FakeEncoder(), reranker=FakeReranker())


def test_exactly_one_place_is_needed(client: QdrantClient) -> None:
    with pytest.raises(ConfigError, match="client= or through url="):
        SearchKit.attach("theirs", encoder=FakeEncoder())
    with pytest.raises(ConfigError, match="url and client"):
        SearchKit.attach("theirs", client=client, url="http://localhost:6333")


@pytest.mark.parametrize("opened", [SearchKit, SearchKit.attach], ids=["made", "attached"])
@pytest.mark.parametrize(
    ("given", "says"),
    [
        (":memory:", r'not str; write client=QdrantClient\(":memory:"\)$'),
        ("http://localhost:6333", "not str; an address is given as url=$"),
        (7, r'not int; pass one, such as client=QdrantClient\(":memory:"\)$'),
        (AsyncQdrantClient(":memory:"), "not AsyncQdrantClient; SearchKit.asearch works with it$"),
    ],
    ids=["memory", "address", "number", "async"],
)
def test_what_is_no_client_is_named_with_what_to_write(opened, given, says) -> None:
    with pytest.raises(ConfigError, match=says):
        opened("theirs", client=given, encoder=FakeEncoder(), reranker=FakeReranker())


def test_a_server_that_is_not_there_is_a_clear_error() -> None:
    with pytest.raises(CollectionError, match="no server can be reached"):
        SearchKit.attach("theirs", url="http://127.0.0.1:9", encoder=FakeEncoder(), reranker=FakeReranker())


def test_a_client_of_ours_is_closed_where_attaching_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[QdrantClient] = []
    close = QdrantClient.close
    monkeypatch.setattr(QdrantClient, "close", lambda client, *rest: (closed.append(client), close(client, *rest)))
    with pytest.raises(CollectionError) as caught:
        SearchKit.attach("theirs", url="http://127.0.0.1:9", encoder=FakeEncoder(), reranker=FakeReranker())
    # Clients of earlier tests may be collected meanwhile; ours cannot be while its frames are held by the error.
    assert caught.tb is not None
    assert any("127.0.0.1:9" in str(vars(client._client)) for client in closed)


def test_the_callers_client_stays_open(client: QdrantClient) -> None:
    write(client, LAYOUTS["langchain"][0])
    kit = attach(client)
    kit.close()
    kit.close()
    assert client.count("theirs").count == len(TEXTS)


def test_a_closed_kit_searches_a_client_of_yours_no_more(client: QdrantClient) -> None:
    write(client, LAYOUTS["langchain"][0])
    kit = attach(client)
    assert kit.count() > 0
    kit.close()
    for act in (lambda: kit.search("bread"), kit.count, lambda: kit.search("bread", rerank=False)):
        with pytest.raises(CollectionError, match="is closed"):
            act()
    assert client.get_collections().collections


ROOTED = {"langchain": "metadata", "langchainjs": "metadata", "haystack": "meta", "mcp": "metadata"}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"group": "acme"}, {"wage", "shop"}),
        ({"group": {"not": "acme"}}, {"hour", "koch"}),
        ({"group": {"exists": False}}, {"koch"}),
        ({"size": {"gte": 2}}, {"wage", "hour"}),
        ({"shared": True}, {"wage"}),
        ({"shared": {"not": [True, False]}}, {"shop", "koch"}),
        ({"owner.name": "Ada"}, {"wage"}),
        ({"$not": {"$or": [{"group": "acme"}, {"lang": "de"}]}}, {"hour"}),
        ({"lang": "de"}, {"koch"}),
    ],
)
@pytest.mark.parametrize("name", ROOTED)
def test_keys_beside_a_metadata_object_are_filtered_as_they_are_shown(
    client: QdrantClient, name: str, condition: dict[str, Any], expected: set[str]
) -> None:
    beside: dict[str, dict[str, Any]] = {
        "wage": {"group": "acme", "size": 3, "shared": True, "owner": {"name": "Ada"}},
        "hour": {"group": "globex", "size": 2, "shared": False},
        "shop": {"group": "globex"},  # its metadata says acme, and goes first
        "koch": {},
    }
    payload, dense, _, identity = LAYOUTS[name]

    def with_keys_beside(key: str) -> dict[str, Any]:
        made = {**payload(key), **beside[key]}
        more = {"shop": {"group": "acme"}, "hour": {"group": None, "size": []}}.get(key, {})
        made[ROOTED[name]] = {**made[ROOTED[name]], **more}
        return made

    write(client, with_keys_beside, dense)
    with attach(client) as kit:
        shown = {hit.id: hit.metadata.get("group") for hit in kit.search(QUESTION)}
        assert shown == {identity(key): {"wage": "acme", "hour": "globex", "shop": "acme"}.get(key) for key in TEXTS}
        assert {hit.id for hit in kit.search(QUESTION, filter=condition)} == {identity(key) for key in expected}
        assert kit.count(condition) == len(expected)
        scoped = kit.scoped({"group": "acme"})
        assert {hit.id for hit in scoped.search(QUESTION)} == {identity("wage"), identity("shop")}
        assert scoped.count() == 2


def test_deleting_by_what_a_key_beside_is_not_spares_those_that_it_is(client: QdrantClient) -> None:
    write(client, lambda name: {**LAYOUTS["langchain"][0](name), "group": "acme" if name == "wage" else "globex"})
    with attach(client, read_only=False) as kit:
        assert kit.delete(filter={"group": {"not": "globex"}}) == 1
        assert kit.get([POINTS["wage"]]) == []
        assert kit.count() == 3


def test_nothing_is_deleted_by_a_key_beside_that_attaching_did_not_see(client: QdrantClient) -> None:
    write(client, LAYOUTS["langchain"][0])
    with attach(client, read_only=False) as kit:
        client.set_payload("theirs", {"group": "globex"}, points=[POINTS["shop"]])
        assert "group" not in kit.get([POINTS["shop"]])[0].metadata
        with pytest.raises(CollectionError, match=r"nothing was deleted: .* keeps 'group' beside its metadata"):
            kit.delete(filter={"$not": {"group": "globex"}})
        assert kit.count() == 4
        assert kit.delete(filter={"lang": "de"}) == 1


@pytest.mark.parametrize("is_hybrid", [False, True])
def test_points_without_text_do_not_use_up_the_depth(
    client: QdrantClient, is_hybrid: bool, caplog: pytest.LogCaptureFixture
) -> None:
    payload, dense, sparse, _ = LAYOUTS["langchain-hybrid" if is_hybrid else "langchain"]
    write(client, payload, dense, sparse)
    near = client.retrieve("theirs", [POINTS["hour"]], with_vectors=True)[0].vector
    empty = {"page_content": "", "metadata": {}}
    client.upsert("theirs", [models.PointStruct(id=n, vector=near, payload=empty) for n in range(80)])  # type: ignore[arg-type]
    with attach(client) as kit:
        batch = kit.search_batch([QUESTION, TEXTS["hour"]], top_k=2, candidate_depth=2, rerank=False)
        assert [len(result) for result in batch] == [2, 2]
        assert [record.message.count("and 79 more") for record in caplog.records] == [1]
        result = kit.search(TEXTS["hour"], top_k=3, candidate_depth=3, rerank=False)
        assert result[0].id == POINTS["hour"]
        assert [hit.retrieval.rank for hit in result] == [1, 2, 3]
        assert result.candidate_count == 3


def test_points_without_text_are_reported_in_one_line(client: QdrantClient, caplog: pytest.LogCaptureFixture) -> None:
    write(client, LAYOUTS["langchain"][0])
    client.set_payload("theirs", {"page_content": " "}, points=[POINTS["hour"], POINTS["wage"], POINTS["shop"]])
    with caplog.at_level(logging.WARNING), attach(client) as kit:
        assert len(kit.search(QUESTION)) == 1
    assert len(caplog.records) == 1
    assert "and 2 more, without text" in caplog.text
