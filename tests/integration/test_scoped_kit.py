"""A kit bound to a tenant: the same calls, the same models and threads, another view."""

from __future__ import annotations

import pytest
from qdrant_client import QdrantClient, models

from searchkit import SearchKit, SearchKitConfig
from searchkit.config import WindowConfig
from searchkit.errors import CollectionError, ConfigError, RerankError
from searchkit.testing import FakeEncoder, FakeReranker

LONG = " ".join(f"word{number}" for number in range(60))


CONFIG = SearchKitConfig(windows=WindowConfig(max_tokens=24, overlap_tokens=4))


@pytest.fixture
def kit(place):
    with SearchKit("shared", **place, encoder=FakeEncoder(), reranker=FakeReranker(), config=CONFIG) as made:
        for tenant in ("acme", "globex"):
            made.scoped(tenant=tenant).add(
                [
                    {"id": "pay", "text": f"the wage of {tenant}", "lang": "en"},
                    {"id": "long", "text": f"the wage book of {tenant} {LONG}"},
                ]
            )
        yield made


@pytest.fixture
def acme(kit):
    return kit.scoped(tenant="acme")


def test_every_call_stays_in_the_scope(acme):
    assert {hit.metadata["tenant"] for hit in acme.search("wage")} == {"acme"}
    assert [[hit.id for hit in one] for one in acme.search_batch(["wage", "wage book"], top_k=1)] == [["pay"], ["long"]]
    assert acme.count() == 2
    assert acme.get(["long"])[0].text == f"the wage book of acme {LONG}"
    assert acme.delete(["pay"]) == 1
    assert acme.count() == 1


async def test_asynchronous_calls_stay_in_the_scope_too(acme):
    assert {hit.metadata["tenant"] for hit in await acme.asearch("wage")} == {"acme"}
    assert [len(one) for one in await acme.asearch_batch(["wage", "book"])] == [2, 2]


def test_a_search_over_all_tenants_shows_passages_of_one_id_side_by_side(kit):
    hits = kit.search("the wage book", top_k=4)
    assert sorted((hit.id, hit.metadata["tenant"]) for hit in hits) == [
        ("long", "acme"), ("long", "globex"), ("pay", "acme"), ("pay", "globex"),
    ]  # fmt: skip
    for hit in hits:
        assert hit.metadata["tenant"] in hit.text


def test_a_score_that_one_tenant_asked_for_is_not_known_to_another(kit, acme):
    passages = ["the wage of hairdressers"]
    assert acme.rerank("wage", passages).cached_count == 0
    assert acme.rerank("wage", passages).cached_count == 1
    assert kit.scoped(tenant="acme").rerank("wage", passages).cached_count == 1
    assert kit.scoped(tenant="globex").rerank("wage", passages).cached_count == 0
    assert kit.rerank("wage", passages).cached_count == 0


def test_closing_a_scoped_kit_closes_nothing_and_closing_its_kit_closes_it(kit):
    with kit.scoped(tenant="acme") as acme:
        assert acme.count() == 2
    assert acme.count() == 2
    kit.close()
    with pytest.raises(CollectionError, match="closed"):
        acme.count()
    with pytest.raises(CollectionError, match="closed"):
        acme.search("wage")
    with pytest.raises(RerankError, match="closed"):
        acme.rerank("wage", ["text"])


def test_a_scope_can_be_made_before_the_collection_exists(tmp_path):
    with SearchKit("new", path=tmp_path, encoder=FakeEncoder(), reranker=FakeReranker()) as kit:
        first, second = kit.scoped(tenant="a"), kit.scoped(tenant="b")
        first.add(["text of a"])
        assert (first.count(), second.count(), kit.count()) == (1, 0, 1)


def test_fields_are_named_freely_and_a_tenant_once(kit):
    scoped = kit.scoped({"lang": "en", "tenant": "acme"})
    assert [hit.id for hit in scoped.search("wage")] == ["pay"]
    assert scoped.fields == {"lang": "en", "tenant": "acme"}
    assert "ScopedKit('shared', {'lang': 'en', 'tenant': 'acme'}" in repr(scoped)
    with pytest.raises(ConfigError, match="given twice"):
        kit.scoped({"tenant": "acme"}, tenant="globex")
    with pytest.raises(ConfigError, match="at least one field"):
        kit.scoped()
    with pytest.raises(ConfigError, match="cannot be bound"):
        kit.scoped(tenant=["acme", "globex"])


def test_a_passage_deleted_between_stage_1_and_reading_it_whole_is_no_hit(place, acme):
    class DeletesWhileScoring(FakeReranker):
        def score_pairs(self, pairs, *, deadline=None):
            acme.delete(["long"])
            return super().score_pairs(pairs, deadline=deadline)

    with SearchKit("shared", **place, encoder=FakeEncoder(), reranker=DeletesWhileScoring(), config=CONFIG) as other:
        found = other.scoped(tenant="acme").search("the wage book")
    assert [hit.id for hit in found] == ["pay"]


def test_adapters_take_a_scoped_kit(acme):
    retriever = pytest.importorskip("searchkit.integrations.langchain").SearchKitRetriever(kit=acme)
    assert {document.metadata["tenant"] for document in retriever.invoke("wage")} == {"acme"}


def test_an_attached_collection_can_be_scoped():
    client = QdrantClient(":memory:")
    client.create_collection("foreign", models.VectorParams(size=64, distance=models.Distance.COSINE))
    encoder = FakeEncoder(64)
    texts = [("wage of acme", "acme"), ("wage of globex", "globex"), ("wage of both", ["acme", "globex"])]
    client.upsert(
        "foreign",
        [
            models.PointStruct(
                id=number,
                vector=encoder.encode_passages([text])[0].tolist(),
                payload={"page_content": text, "metadata": {"tenant": tenant}},
            )
            for number, (text, tenant) in enumerate(texts)
        ],
    )
    with SearchKit.attach("foreign", client=client, encoder=encoder, reranker=FakeReranker()) as kit:
        acme = kit.scoped(tenant="acme")
        everybody = models.FieldCondition(key="metadata.tenant", match=models.MatchAny(any=["acme", "globex"]))
        for condition in (None, {"tenant": ["acme", "globex"]}, models.Filter(should=[everybody])):
            assert {hit.id for hit in acme.search("wage", filter=condition)} == {0, 2}
            assert acme.count(condition) == 2
        assert [passage.id for passage in acme.get([0, 1, 2])] == [0, 2]
        with pytest.raises(CollectionError, match="attached"):
            acme.add(["text"])
    client.close()
