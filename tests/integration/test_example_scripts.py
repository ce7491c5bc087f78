"""The scripts under examples/, each driven the way an app drives it."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from qdrant_client import QdrantClient

from searchkit import SearchKit
from searchkit.testing import FakeEncoder, FakeReranker
from tests.wire.server import WireServer

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
QUESTION = "how are hairdressers paid"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{Path(name).name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # annotations are resolved through it
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def kit() -> Iterator[SearchKit]:
    client = QdrantClient(":memory:")
    with SearchKit("handbook", client=client, encoder=FakeEncoder(), reranker=FakeReranker()) as kit:
        with (EXAMPLES / "handbook" / "passages.jsonl").open(encoding="utf-8") as lines:
            kit.add([json.loads(line) for line in lines], show_progress=False)
        yield kit
    client.close()


def test_the_fastapi_endpoint_answers_with_the_whole_result(kit: SearchKit) -> None:
    pytest.importorskip("fastapi")
    from fastapi.testclient import TestClient

    with TestClient(load("fastapi_app").create_app(kit)) as client:
        answer = client.post("/search", json={"query": QUESTION, "top_k": 2, "filter": {"country": "DE"}})
        assert answer.status_code == 200
        body = answer.json()
        assert (body["status"], len(body["hits"])) == ("reranked", 2)
        assert {hit["metadata"]["country"] for hit in body["hits"]} == {"DE"}
        refused = client.post("/search", json={"query": "  "})
        assert refused.status_code == 422
        assert "empty" in refused.json()["detail"]
    assert kit.count() > 0  # the app left the kit open


async def test_the_mcp_tool_searches(kit: SearchKit) -> None:
    pytest.importorskip("mcp.server.mcpserver")
    from mcp import Client

    async with Client(load("mcp_server").create_server(kit)) as client:
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == ["search_handbook"]
        assert "criteria" in tools[0].input_schema["properties"]
        answer = await client.call_tool("search_handbook", {"query": QUESTION, "top_k": 2})
        assert answer.structured_content is not None
        found = answer.structured_content["result"]
        assert [passage["id"] for passage in found] == [str(hit.id) for hit in kit.search(QUESTION, top_k=2)]
        assert all(0 <= passage["score"] <= 1 for passage in found)


async def test_the_haystack_component_runs_in_a_pipeline(kit: SearchKit) -> None:
    haystack = pytest.importorskip("haystack")
    pipeline = haystack.Pipeline()
    pipeline.add_component("retriever", load("haystack_component").SearchKitRetriever(kit, top_k=3))
    output = pipeline.run({"retriever": {"query": QUESTION, "filters": {"country": "US"}}})
    documents = output["retriever"]["documents"]
    expected = kit.search(QUESTION, top_k=3, filter={"country": "US"})
    assert [(one.id, one.content, one.score) for one in documents] == [
        (str(hit.id), hit.text, pytest.approx(hit.score)) for hit in expected
    ]
    again = await pipeline.run_async({"retriever": {"query": QUESTION, "filters": {"country": "US"}}})
    assert [one.id for one in again["retriever"]["documents"]] == [one.id for one in documents]


def test_the_settings_of_the_cluster_reach_a_server() -> None:
    config = load("cluster/cluster").CONFIG
    with (
        WireServer(is_strict=True) as server,
        SearchKit("handbook", url=server.url, encoder=FakeEncoder(), reranker=FakeReranker(), config=config) as kit,
    ):
        kit.add([{"id": "a", "text": "a text", "year": 2023, "lang": "en"}], show_progress=False)
        assert [hit.id for hit in kit.search("text", filter={"year": {"gte": 2020}, "lang": "en"})] == ["a"]
        made = server.store.created["handbook"]
    assert (made.shard_number, made.replication_factor, made.write_consistency_factor) == (3, 2, 2)


def test_the_compose_file_starts_three_nodes_that_find_each_other() -> None:
    yaml = pytest.importorskip("yaml")
    compose = yaml.safe_load((EXAMPLES / "cluster" / "docker-compose.yml").read_text(encoding="utf-8"))
    nodes = compose["services"]
    assert len(nodes) == 3
    for name, node in nodes.items():
        assert node["environment"]["QDRANT__CLUSTER__ENABLED"] == "true"
        assert node["command"][-1] == f"http://{name}:6335"
        assert ("--bootstrap" in node["command"]) == (name != "node1")
    ports = [port for node in nodes.values() for port in node["ports"]]
    assert len({port.partition(":")[0] for port in ports}) == len(ports)
