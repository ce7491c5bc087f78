"""What a kit promises whatever holds its collection: groups, ties, pages, and one answer for sync and async callers."""

from __future__ import annotations

import asyncio
from datetime import datetime, timezone

import pytest
from qdrant_client import QdrantClient, models

from searchkit import SearchKit, SearchKitConfig
from searchkit.errors import CollectionError, ConfigError, PayloadError, RetrievalError, SearchkitError
from searchkit.testing import FakeEncoder, FakeReranker

LONG = " ".join(f"water{n} runs{n} over{n} stones{n}" for n in range(30))
PASSAGES = [
    {"id": "river", "text": f"the river runs to the sea {LONG}", "topic": "water", "year": 2020, "public": True},
    {"id": "sea", "text": "the sea is full of water", "topic": "water", "year": 2021, "public": False},
    {"id": "twin b", "text": "one text twice", "topic": "twins", "tags": ["x", "y"]},
    {"id": "twin a", "text": "one text twice", "topic": "twins", "tags": ["y"], "public": True},
    {"id": 7, "text": "a number is the name of this passage", "year": 2023, "by": {"name": "Ada", "alive": False}},
    {"id": "dated", "text": "water on a certain day", "day": datetime(2024, 5, 1, tzinfo=timezone.utc), "year": 2024.5},
]


@pytest.fixture
def make_kit(place):
    opened = []

    def make(name="kit", **settings):
        config = SearchKitConfig.model_validate({"windows": {"overlap_tokens": 4}} | place.settings | settings)
        kit = SearchKit(
            place.scoped(name),
            **place.arguments,
            encoder=FakeEncoder(64, max_tokens=34),
            reranker=FakeReranker(),
            config=config,
        )
        opened.append(kit)
        place.opened.append(kit._parts.collection)
        return kit

    yield make
    for kit in opened:
        kit.close()


@pytest.fixture
def kit(make_kit):
    made = make_kit()
    made.add(PASSAGES, show_progress=False)
    return made


@pytest.fixture(scope="module")
def reference():
    """The same passages in the in-memory mode."""
    client = QdrantClient(":memory:")
    config = SearchKitConfig.model_validate({"windows": {"overlap_tokens": 4}})
    made = SearchKit(
        "reference", client=client, encoder=FakeEncoder(64, max_tokens=34), reranker=FakeReranker(), config=config
    )
    made.add(PASSAGES, show_progress=False)
    yield made
    made.close()
    client.close()


def plain(result):
    """A result without the time it took."""
    return result.model_dump(exclude={"timings", "cached_count"})


SEARCHES = {
    "hybrid": {},
    "dense": {"mode": "dense"},
    "sparse": {"mode": "sparse"},
    "first stage": {"rerank": False},
    "first stage dense": {"rerank": False, "mode": "dense"},
    "first stage sparse": {"rerank": False, "mode": "sparse"},
    "criteria": {"criteria": "speaks of the sea"},
    "shallow": {"candidate_depth": 2, "top_k": 2},
    "deep": {"candidate_depth": 500, "top_k": 100},
    "one": {"top_k": 1},
    "min score": {"min_score": 0.5},
    "deadline": {"deadline_s": 60.0},
    "groups": {"group_by": "topic"},
    "groups of the first stage": {"group_by": "topic", "rerank": False},
    "equal": {"filter": {"topic": "water"}},
    "any": {"filter": {"topic": ["water", "twins"]}},
    "bool": {"filter": {"public": True}},
    "range": {"filter": {"year": {"gte": 2021, "lt": 2024}}},
    "fraction": {"filter": {"year": 2024.5}},
    "datetime": {"filter": {"day": {"gte": "2024-01-01"}}},
    "nested": {"filter": {"by.name": "Ada", "by.alive": False}},
    "array": {"filter": {"tags": "x"}},
    "not": {"filter": {"topic": {"not": "water"}}},
    "exists": {"filter": {"by": {"exists": True}}},
    "nothing": {"filter": {"topic": "fire"}},
    "filtered groups": {"filter": {"year": {"exists": False}}, "group_by": "topic"},
}


@pytest.mark.parametrize("case", SEARCHES)
async def test_sync_and_async_answer_the_same(kit, case):
    arguments = SEARCHES[case]
    for query in ("the river and the sea", "one text twice", "zebra"):
        assert plain(await kit.asearch(query, **arguments)) == plain(kit.search(query, **arguments))


async def test_sync_and_async_batches_answer_the_same(kit):
    queries = ["the river and the sea", "one text twice", "zebra"]
    criteria = ["speaks of the sea", None, "is a number"]
    together = await kit.asearch_batch(queries, criteria=criteria)
    assert [plain(one) for one in together] == [plain(one) for one in kit.search_batch(queries, criteria=criteria)]
    alone = [await kit.asearch(query, criteria=one) for query, one in zip(queries, criteria, strict=True)]
    assert [[hit.id for hit in one] for one in alone] == [[hit.id for hit in one] for one in together]


async def test_many_async_callers_each_get_their_own_answer(kit):
    queries = [f"{word} {n}" for n in range(8) for word in ("river", "sea", "number", "twice")]
    answers = await asyncio.gather(*(kit.asearch(query) for query in queries))
    assert [one.query for one in answers] == queries
    assert [plain(one) for one in answers] == [plain(kit.search(query)) for query in queries]


@pytest.mark.parametrize("wrong", [{"top_k": 0}, {"filter": {"a": {"b": 1}}}, {"mode": "both"}, {"deadline_s": -1}])
async def test_sync_and_async_refuse_the_same(kit, wrong):
    with pytest.raises(ConfigError) as one:
        kit.search("text", **wrong)
    with pytest.raises(ConfigError) as other:
        await kit.asearch("text", **wrong)
    assert str(one.value) == str(other.value)


@pytest.mark.parametrize("case", SEARCHES)
def test_every_place_finds_what_the_in_memory_mode_finds(kit, reference, case):
    for query in ("the river and the sea", "one text twice", "zebra"):
        here, there = kit.search(query, **SEARCHES[case]), reference.search(query, **SEARCHES[case])
        others = {hit.id: hit for hit in there}
        assert {hit.id for hit in here} == others.keys()
        for hit in here:  # ranks may differ where an engine's rounding breaks a tie
            same = others[hit.id]
            assert (hit.text, hit.metadata, hit.snippet) == (same.text, same.metadata, same.snippet)
            assert hit.logit == same.logit
            for leg in ("dense_score", "sparse_score"):
                assert getattr(hit.retrieval, leg) == pytest.approx(getattr(same.retrieval, leg), abs=1e-5)


def test_of_a_group_only_the_best_hit_is_kept(kit):
    whole = kit.search("water twice", top_k=10)
    grouped = kit.search("water twice", top_k=10, group_by="topic")
    best = {}
    for hit in whole:
        best.setdefault(hit.metadata.get("topic", hit.id), hit.id)
    assert [hit.id for hit in grouped] == list(best.values())


def test_groups_are_cut_after_grouping(kit):
    assert len(kit.search("water twice", top_k=3, group_by="topic")) == 3


def test_passages_without_the_field_are_groups_of_their_own(kit):
    assert {hit.id for hit in kit.search("water", top_k=10, group_by="topic")} >= {7, "dated"}


def test_equal_passages_are_ordered_by_id_a_hundred_times(kit):
    first = [hit.id for hit in kit.search("one text twice", rerank=False)]
    assert first[:2] == ["twin a", "twin b"]
    for _ in range(100):
        assert [hit.id for hit in kit.search("one text twice", rerank=False)] == first


def test_more_passages_than_a_page_are_counted_read_and_deleted(make_kit):
    kit = make_kit("pages", filter_fields={"half": "integer"})
    kit.add(({"id": n, "text": f"text {n}", "half": n % 2} for n in range(2300)), show_progress=False)
    assert (kit.count(), kit.count({"half": 1})) == (2300, 1150)
    native = models.Filter(must=[models.FieldCondition(key="metadata.half", match=models.MatchValue(value=1))])
    assert kit.count(native) == 1150
    assert [passage.id for passage in kit.get(range(2300))] == list(range(2300))
    assert kit.delete(filter={"half": 1}) == 1150
    assert kit.count() == 1150
    assert kit.delete(range(2300)) == 1150
    assert kit.count() == 0


def test_a_search_deeper_than_the_collection_finds_all_of_it(kit):
    result = kit.search("text", candidate_depth=10_000, top_k=10_000, rerank=False, mode="dense")
    assert {hit.id for hit in result} == {passage["id"] for passage in PASSAGES}


def test_hits_are_whole_passages_with_the_best_window(kit):
    best = kit.search("water17 runs17 stones17")[0]
    assert (best.id, best.text) == ("river", PASSAGES[0]["text"])
    assert "water17" in best.snippet.text
    assert best.text[best.snippet.start : best.snippet.end] == best.snippet.text


def test_a_second_kit_sees_what_the_first_wrote(kit, make_kit):
    other = make_kit()
    kit.add([{"id": "new", "text": "a newcomer"}], show_progress=False)
    assert [passage.text for passage in other.get(["new"])] == ["a newcomer"]
    other.delete(["new"])
    assert kit.get(["new"]) == []


def test_errors_of_every_call_are_ours(make_kit):
    kit = make_kit("absent")
    for call in (
        kit.count,
        lambda: kit.get(["a"]),
        lambda: kit.delete(["a"]),
        lambda: kit.search("text"),
        lambda: kit.delete(filter={"a": 1}),
    ):
        with pytest.raises(CollectionError, match="add passages first"):
            call()
    with pytest.raises(PayloadError):
        kit.add([{"id": 1}])
    assert issubclass(RetrievalError, SearchkitError)


def test_a_closed_kit_says_so(make_kit):
    kit = make_kit()
    kit.add(PASSAGES, show_progress=False)
    kit.close()
    for call in (kit.count, lambda: kit.get(["sea"]), lambda: kit.add(["text"])):
        with pytest.raises(CollectionError, match="is closed"):
            call()
