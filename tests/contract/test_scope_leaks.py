"""Generated filters against a scope, on every engine: nothing of another tenant's is found, counted, read or deleted.

Each filter runs through a scoped kit over a collection that many share, and through a kit over a collection that holds
nothing but what that scope may see. Both must agree, call by call: what leaks shows as a difference, and so does what
is withheld. `make test` runs a hundred filters, `make soak` ten thousand on each engine (two thousand over sockets).
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from qdrant_client import models

from searchkit import SearchKit, SearchKitConfig
from searchkit.collection.schema import uuid_text
from searchkit.config import WindowConfig
from searchkit.errors import ConfigError
from searchkit.testing import FakeEncoder, FakeReranker

TENANTS = ("acme", "globex", "initech")
WORDS = ("wage", "hour", "school", "union", "dollar", "strike")
LONG = " ".join(f"word{number}" for number in range(60))
SHARED = [
    {"id": "handed-out", "text": "wage table for acme and globex", "tenant": ["acme", "globex"], "lang": "en"},
    {"id": "public", "text": "wage law for everybody", "lang": "en", "public": True},
    {"id": "a", "text": "a wage that belongs to nobody", "year": 2020},
    {"id": "plain-globex", "text": "hour of globex, written without a scope", "tenant": "globex", "year": 2021},
    {"id": "plain-acme", "text": f"hour of acme, written without a scope {LONG}", "tenant": "acme", "lang": "de"},
    {"id": "only-initech", "text": "a school of globex, written without a scope", "tenant": "globex", "lang": "de"},
]


def passages_of(tenant: str) -> list[dict[str, Any]]:
    """The same ids for every tenant, other texts."""
    draw = random.Random(tenant)
    made = [
        {
            "id": name,
            "text": f"{draw.choice(WORDS)} {draw.choice(WORDS)} secret of {tenant}",
            "lang": draw.choice(["en", "de"]),
            "year": draw.choice([2019, 2020, 2021]),
            "public": draw.random() < 0.5,
            "tags": draw.sample(WORDS, 2),
            "parts": [{"no": draw.randrange(3), "owner": draw.choice(TENANTS)}],
        }
        for name in "abcdef"
    ]
    made[3]["text"] = f"wage {LONG} of {tenant}"
    made.append({"id": f"only-{tenant}", "text": f"strike of {tenant}", "lang": "en"})
    return made


def visible_to(tenant: str) -> list[dict[str, Any]]:
    return [one for one in SHARED if one.get("tenant") == tenant or tenant in (one.get("tenant") or "")]


class World:
    """A collection that all tenants share, and for each tenant one that holds only what it may see."""

    def __init__(self, arguments: dict[str, Any], prefix: str) -> None:
        self.opened: list[SearchKit] = []
        self.arguments = arguments
        self.kit = self._open(f"{prefix}-shared")
        self.alone = {tenant: self._open(f"{prefix}-{tenant}") for tenant in TENANTS}
        for tenant in TENANTS:
            self.kit.scoped(tenant=tenant).add(passages_of(tenant))
            self.alone[tenant].scoped(tenant=tenant).add(passages_of(tenant))
            self.alone[tenant].add(visible_to(tenant))
        self.kit.add(SHARED)
        self.backend = self.kit._parts.collection._backend
        self.payloads = self.backend.fetch(self.points())

    def _open(self, name: str) -> SearchKit:
        config = SearchKitConfig(windows=WindowConfig(max_tokens=24, overlap_tokens=4))
        encoder = FakeEncoder(16, max_tokens=34)
        kit = SearchKit(name, **self.arguments, encoder=encoder, reranker=FakeReranker(), config=config)
        self.opened.append(kit)
        return kit

    def points(self) -> list[int]:
        return sorted(point for page in self.backend.scan(None) for point in page)

    def owned_by(self, tenant: str) -> set[int]:
        return {point for point, one in self.payloads.items() if (one.get("metadata") or {}).get("tenant") == tenant}


@pytest.fixture
def world(place) -> Iterator[World]:
    made = World(place.arguments, f"leaks-{uuid.uuid4().hex[:8]}")
    yield made
    for kit in made.opened:
        if "url" in place.arguments:
            kit._parts.collection._backend._client.delete_collection(kit.name)
        kit.close()


class Filters:
    """A seeded source of filters in the dict language and as Qdrant's own objects, meant to break out of a scope."""

    def __init__(self, seed: int, points: list[int]) -> None:
        self.draw = random.Random(seed)
        self.points = points

    def any(self) -> Any:
        return self.in_words() if self.draw.random() < 0.35 else self.native()

    def in_words(self, depth: int = 0) -> dict[str, Any]:
        tenant = self.draw.choice(TENANTS)
        parts: list[dict[str, Any]] = [
            {"tenant": tenant},
            {"tenant": list(TENANTS)},
            {"tenant": {"not": tenant}},
            {"tenant": {"exists": self.draw.random() < 0.5}},
            {"tenant": {"any": [], "not": []}},
            {"lang": self.draw.choice(["en", "de", "fr"])},
            {"year": {"gte": self.draw.choice([2018, 2020, 2022])}},
            {"public": self.draw.random() < 0.5},
            {"tags": self.draw.sample(WORDS, 3)},
            {"parts[].owner": tenant},
            {"parts.no": {"not": 1}},
            {},
        ]
        merged: dict[str, Any] = {}
        for part in self.draw.sample(parts, self.draw.randint(1, 3)):
            merged.update(part)
        if depth < 3 and self.draw.random() < 0.3:
            inner = [self.in_words(depth + 1) or {"lang": "en"} for _ in range(self.draw.randint(1, 3))]
            merged |= self.draw.choice([{"$or": inner}, {"$and": inner}, {"$not": inner[0]}])
        return merged

    def native(self, depth: int = 0) -> models.Filter:
        fields: dict[str, Any] = {}
        for name in ("must", "should", "must_not"):
            if self.draw.random() < 0.5:
                conditions = [self.condition(depth) for _ in range(self.draw.randint(0, 3))]
                fields[name] = conditions[0] if len(conditions) == 1 and self.draw.random() < 0.3 else conditions
        if self.draw.random() < 0.25:
            conditions = [self.condition(depth) for _ in range(self.draw.randint(1, 3))]
            fields["min_should"] = models.MinShould(conditions=conditions, min_count=self.draw.randint(1, 3))
        return models.Filter(**fields)

    def condition(self, depth: int) -> Any:
        if depth < 3 and self.draw.random() < 0.3:
            return self.native(depth + 1)
        return self.draw.choice([self.match, self.has_id, self.empty, self.nested, self.range])()

    def key(self) -> str:
        keys = ["metadata.tenant", "metadata.tenant[]", "metadata.lang", "metadata.tags", "metadata.parts[].owner"]
        return self.draw.choice([*keys, "id", "text", "tenant", "hash", "flags.public", "metadata"])

    def match(self) -> models.FieldCondition:
        words = [*TENANTS, "a", "b", "only-globex", "public", "en", "true", *WORDS]
        chosen = self.draw.sample(words, 3)
        match = self.draw.choice(
            [
                models.MatchValue(value=chosen[0]),
                models.MatchAny(any=chosen),
                models.MatchExcept(**{"except": chosen}),
                models.MatchText(text=chosen[0]),
            ]
        )
        return models.FieldCondition(key=self.key(), match=match)

    def has_id(self) -> models.HasIdCondition:
        chosen = self.draw.sample(self.points, self.draw.choice([1, 5, len(self.points)]))
        return models.HasIdCondition(has_id=[uuid_text(point) for point in chosen])

    def empty(self) -> Any:
        field = models.PayloadField(key=self.key())
        if self.draw.random() < 0.5:
            return models.IsEmptyCondition(is_empty=field)
        return models.IsNullCondition(is_null=field)

    def nested(self) -> models.NestedCondition:
        owner = models.FieldCondition(key="owner", match=models.MatchValue(value=self.draw.choice(TENANTS)))
        inside = models.Filter(**{self.draw.choice(["must", "must_not", "should"]): [owner]})
        return models.NestedCondition(nested=models.Nested(key="metadata.parts", filter=inside))

    def range(self) -> models.FieldCondition:
        key = self.draw.choice(["metadata.year", "window.index", "metadata.tenant"])
        return models.FieldCondition(key=key, range=models.Range(gte=self.draw.choice([0, 1, 2020])))


@pytest.mark.soak
def test_no_generated_filter_leaves_its_scope(place, world, soak_count):
    filters = Filters(7, world.points())
    draw = random.Random(8)
    found = 0
    count = soak_count(full=2_000, reduced=10) if "url" in place.arguments else soak_count(full=10_000, reduced=40)
    for number in range(count):
        tenant = draw.choice(TENANTS)
        condition = filters.any()
        scoped, alone = world.kit.scoped(tenant=tenant), world.alone[tenant]
        assert scoped.count(condition) == alone.count(condition), (number, tenant, condition)
        found += check_search(scoped, alone, draw, tenant, condition)
        check_delete(world, tenant, condition)
        check_ids(world, scoped, draw, tenant)
    assert found > 0
    assert world.backend.fetch(world.points()) == world.payloads


def check_search(scoped, alone, draw, tenant, condition) -> int:
    """Both kits return the same hits with the same evidence, and each is the tenant's."""
    options = {
        "filter": condition,
        "top_k": 50,
        "mode": draw.choice(["hybrid", "dense", "sparse"]),
        "rerank": draw.random() < 0.3,
        "group_by": draw.choice([None, None, "lang", "tenant"]),
    }
    query = " ".join(draw.sample(WORDS, 2))
    ours, theirs = scoped.search(query, **options), alone.search(query, **options)
    for hit in ours:
        owner = hit.metadata["tenant"]
        assert owner == tenant or (isinstance(owner, list) and tenant in owner)
    assert (len(ours), ours.candidate_count) == (len(theirs), theirs.candidate_count), (tenant, query, options)
    if options["group_by"] is None:  # which of two equals stands for its group may differ in a last digit
        assert details(ours) == pytest.approx(details(theirs), abs=1e-3), (tenant, query, options)
    return len(ours)


def details(result) -> dict[Any, float]:
    """What both legs of stage 1 say of each hit."""
    return {
        (hit.id, hit.text, str(hit.metadata), leg): score or 0.0
        for hit in result
        for leg, score in (("dense", hit.retrieval.dense_score), ("sparse", hit.retrieval.sparse_score))
    }


def check_delete(world: World, tenant: str, condition: Any) -> None:
    """Nothing but the tenant's own points is gone; then they are written again."""
    before = set(world.points())
    try:
        count = world.kit.scoped(tenant=tenant).delete(filter=condition)
    except ConfigError as error:  # a filter that holds for all is refused by delete, as everywhere
        if "an empty filter would delete every passage" not in str(error):
            raise
        count = 0
    gone = before - set(world.points())
    assert gone <= world.owned_by(tenant), condition
    assert (count == 0) == (not gone)
    if gone:
        world.kit.add([one for one in SHARED if one.get("tenant") == tenant])
        report = world.kit.scoped(tenant=tenant).add(passages_of(tenant))
        assert report.updated == 0
        assert set(world.points()) == before


def check_ids(world: World, scoped, draw, tenant) -> None:
    """By id, a tenant reads, replaces and deletes its own passages, and learns nothing of others'."""
    ids = draw.sample([*"abcdefg", "only-acme", "only-globex", *(one["id"] for one in SHARED)], 4)
    readable = {one["id"]: one["text"] for one in [*visible_to(tenant), *passages_of(tenant)]}
    assert [(one.id, one.text) for one in scoped.get(ids)] == [(one, readable[one]) for one in ids if one in readable]
    others = set(world.points()) - world.owned_by(tenant)
    mine = [one for one in passages_of(tenant) if one["id"] in ids]
    elsewhere = next(other for other in TENANTS if other != tenant)
    copied = passages_of(elsewhere)[-1]
    report = scoped.add([copied])
    assert (report.added, report.updated, report.unchanged) == (1, 0, 0)
    assert scoped.delete([copied["id"]]) == 1
    wanted = [one for one in ids if one not in {shared["id"] for shared in visible_to(tenant)}]
    assert scoped.delete(wanted) == len(mine)
    assert set(world.points()) >= others
    assert scoped.add(mine).added == len(mine)
