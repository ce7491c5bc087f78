"""What an application's OpenTelemetry sees of a search, and what it does not."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from qdrant_client import QdrantClient

from searchkit import SearchKit, SearchKitConfig, telemetry
from searchkit.errors import EncodingError, RerankError
from searchkit.testing import FakeEncoder, FakeReranker

SECRET = "zanzibar"
PASSAGES = [
    {"id": "wages", "text": f"Hairdressers of {SECRET} earn a yearly wage.", "year": 2021},
    {"id": "hours", "text": f"Hairdressers of {SECRET} work long hours.", "year": 2018},
    {"id": "euro", "text": "The dollar fell against the euro.", "year": 2021},
]


class BrokenReranker(FakeReranker):
    def score_pairs(self, pairs, *, deadline=None):
        raise ValueError(f"cannot read {pairs[0]}")


class BrokenEncoder(FakeEncoder):
    def encode_queries(self, texts):
        raise RuntimeError(f"cannot read {texts}")


@pytest.fixture(scope="module")
def exported():
    """Providers of our own with what they gather in memory.

    A process can set its providers once only, and another framework may have: ours are put in their place.
    """
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace, "_TRACER_PROVIDER", provider)
        patch.setattr(metrics._internal, "_METER_PROVIDER", MeterProvider([reader], shutdown_on_exit=False))
        telemetry._made.cache_clear()
        yield spans, reader
    telemetry._made.cache_clear()


@pytest.fixture
def spans(exported):
    exported[0].clear()
    return exported[0]


@pytest.fixture
def open_kit():
    client = QdrantClient(":memory:")
    opened = []

    def make(**arguments):
        arguments = {"encoder": FakeEncoder(), "reranker": FakeReranker()} | arguments
        opened.append(SearchKit("handbook", client=client, **arguments))
        opened[-1].add(PASSAGES)
        return opened[-1]

    yield make
    for kit in opened:
        kit.close()
    client.close()


def by_name(spans):
    found = {span.name: span for span in spans.get_finished_spans()}
    assert len(found) == len(spans.get_finished_spans())
    return found


def counted(reader, name):
    """Return the sums of a counter, or the counts of a histogram, by the values of their attributes."""
    data = reader.get_metrics_data()
    points = {}
    for resource in data.resource_metrics if data is not None else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points if metric.name == name else ():
                    key = tuple(sorted(point.attributes.items()))
                    points[key] = point.value if hasattr(point, "value") else point.count
    return points


def grown(before, after):
    return {key: value - before.get(key, 0) for key, value in after.items() if value != before.get(key, 0)}


@pytest.mark.parametrize("deadline_s", [None, 30.0])
def test_a_search_is_one_span_with_a_child_a_stage(open_kit, spans, deadline_s):
    open_kit().search("hairdressers wage", top_k=2, candidate_depth=3, deadline_s=deadline_s)
    found = by_name(spans)
    assert sorted(found) == ["searchkit.encode", "searchkit.rerank", "searchkit.retrieve", "searchkit.search"]
    root = found.pop("searchkit.search")
    assert root.parent is None
    assert all(span.parent.span_id == root.context.span_id for span in found.values())
    assert root.instrumentation_scope.name == "searchkit"


def test_a_search_hangs_below_the_span_of_its_caller(open_kit, spans):
    kit = open_kit()
    with trace.get_tracer("application").start_as_current_span("request") as outer:
        kit.search("hairdressers", rerank=False)
    assert by_name(spans)["searchkit.search"].parent.span_id == outer.get_span_context().span_id


async def test_an_asynchronous_search_hangs_below_the_span_of_its_caller(open_kit, spans):
    kit = open_kit()
    with trace.get_tracer("application").start_as_current_span("request") as outer:
        await kit.asearch("hairdressers")
    found = by_name(spans)
    assert found["searchkit.search"].parent.span_id == outer.get_span_context().span_id
    assert found["searchkit.retrieve"].parent.span_id == found["searchkit.search"].context.span_id


def test_spans_carry_what_was_asked_and_what_it_came_to(open_kit, spans):
    result = open_kit().search(
        "hairdressers wage", top_k=2, candidate_depth=3, criteria="a yearly wage", filter={"year": 2021}, deadline_s=30
    )
    found = by_name(spans)
    attributes = dict(found["searchkit.search"].attributes)
    assert attributes == {
        "searchkit.query_count": 1,
        "searchkit.mode": "hybrid",
        "searchkit.top_k": 2,
        "searchkit.candidate_depth": 3,
        "searchkit.rerank": True,
        "searchkit.deadline_s": 30.0,
        "searchkit.has_filter": True,
        "searchkit.has_criteria": True,
        "searchkit.status": "reranked",
        "searchkit.hit_count": 2,
        "searchkit.engine": "words",
        "searchkit.reranker": "fake-reranker",
        "searchkit.candidate_count": result.candidate_count,
        "searchkit.scored_count": 2,
        "searchkit.cached_count": 0,
        "searchkit.truncated_count": 0,
        "searchkit.tokens_used_count": 0,
        "searchkit.tokens_refused_count": 0,
        "searchkit.query_truncated_tokens": 0,
        "searchkit.rerank_query_truncated_tokens": 0,
    }
    assert dict(found["searchkit.encode"].attributes) == {"searchkit.query_count": 1}
    assert dict(found["searchkit.retrieve"].attributes) == {
        "searchkit.candidate_depth": 3,
        "searchkit.window_count": 2,
    }
    rerank = dict(found["searchkit.rerank"].attributes)
    assert 0 <= rerank.pop("searchkit.queue_s") < 30
    assert rerank == {"searchkit.window_count": 2, "searchkit.engine": "words"}


def test_scores_from_the_cache_are_counted_and_wait_for_nobody(open_kit, spans):
    kit = open_kit()
    kit.search("hairdressers wage")
    spans.clear()
    kit.search("hairdressers wage")
    found = by_name(spans)
    assert found["searchkit.search"].attributes["searchkit.cached_count"] == 3
    assert "searchkit.queue_s" not in found["searchkit.rerank"].attributes


def test_a_batch_is_one_span_that_adds_up_and_as_many_searches(open_kit, spans, exported):
    kit = open_kit()
    before = counted(exported[1], "searchkit.searches")
    results = kit.search_batch(["hairdressers wage", "euro"])
    attributes = by_name(spans)["searchkit.search"].attributes
    assert attributes["searchkit.query_count"] == 2
    assert attributes["searchkit.scored_count"] == sum(result.scored_count for result in results)
    after = counted(exported[1], "searchkit.searches")
    assert grown(before, after) == {(("searchkit.status", "reranked"),): 2}


def test_the_second_stage_alone_is_a_search_without_a_first_one(open_kit, spans):
    open_kit().rerank("hairdressers wage", ["a wage of hairdressers", "long hours"])
    found = by_name(spans)
    assert sorted(found) == ["searchkit.rerank", "searchkit.search"]
    assert "searchkit.mode" not in found["searchkit.search"].attributes
    assert found["searchkit.search"].attributes["searchkit.scored_count"] == 2


def test_a_degraded_search_says_so_in_span_and_counters(open_kit, spans, exported):
    kit = open_kit(reranker=BrokenReranker())
    names = ("searchkit.searches", "searchkit.degradations", "searchkit.stage.duration", "searchkit.search.duration")
    before = {name: counted(exported[1], name) for name in names}
    assert kit.search("hairdressers wage").status == "degraded"
    root = by_name(spans)["searchkit.search"]
    assert root.attributes["searchkit.status"] == "degraded"
    assert root.attributes["searchkit.reason_kind"] == "RerankError"
    assert root.status.status_code is StatusCode.UNSET  # the caller got an answer
    after = {name: grown(before[name], counted(exported[1], name)) for name in names}
    assert after == {
        "searchkit.searches": {(("searchkit.status", "degraded"),): 1},
        "searchkit.degradations": {(("searchkit.reason_kind", "RerankError"), ("searchkit.status", "degraded")): 1},
        "searchkit.stage.duration": {(("searchkit.stage", stage),): 1 for stage in ("encode", "retrieve", "rerank")},
        "searchkit.search.duration": {(("searchkit.mode", "hybrid"), ("searchkit.status", "degraded")): 1},
    }


def test_a_deadline_that_leaves_stage_2_no_time_is_a_degradation_of_that_kind(open_kit, spans):
    release = threading.Event()

    class Hanging(FakeReranker):
        def score_pairs(self, pairs, *, deadline=None):
            release.wait(30)
            return super().score_pairs(pairs, deadline=deadline)

    try:
        result = open_kit(reranker=Hanging()).search("hairdressers", deadline_s=2.0)
    finally:
        release.set()
    assert result.status == "degraded"
    assert by_name(spans)["searchkit.search"].attributes["searchkit.reason_kind"] == "deadline"


@pytest.mark.parametrize("broken", ["encoder", "reranker"])
def test_a_failed_search_is_an_error_by_its_class_alone(open_kit, spans, exported, broken):
    if broken == "encoder":
        kit, error, stage = open_kit(encoder=BrokenEncoder()), EncodingError, "searchkit.encode"
    else:
        config = SearchKitConfig(on_rerank_error="raise")
        kit, error, stage = open_kit(reranker=BrokenReranker(), config=config), RerankError, "searchkit.rerank"
    before = counted(exported[1], "searchkit.searches")
    with pytest.raises(error):
        kit.search(f"hairdressers of {SECRET}")
    found = by_name(spans)
    for span in (found["searchkit.search"], found[stage]):
        assert span.status.status_code is StatusCode.ERROR
        assert span.attributes["error.type"] == error.__name__
    after = counted(exported[1], "searchkit.searches")
    assert grown(before, after) == {(("error.type", error.__name__), ("searchkit.status", "failed")): 1}
    assert SECRET not in "".join(span.to_json() for span in found.values())


@pytest.mark.parametrize("reranker", [FakeReranker, BrokenReranker])
def test_no_text_is_recorded_by_itself(open_kit, spans, exported, reranker):
    open_kit(reranker=reranker()).search(
        f"hairdressers of {SECRET}", criteria=f"wages in {SECRET}", filter={"town": {"not": SECRET}}
    )
    assert SECRET not in "".join(span.to_json() for span in spans.get_finished_spans())
    assert SECRET not in exported[1].get_metrics_data().to_json()


def test_texts_are_recorded_where_the_configuration_asks_for_them(open_kit, spans):
    kit = open_kit(reranker=BrokenReranker(), config=SearchKitConfig(trace_texts=True))
    result = kit.search("hairdressers wage", criteria="a yearly wage", top_k=1)
    attributes = by_name(spans)["searchkit.search"].attributes
    assert attributes["searchkit.queries"] == ("hairdressers wage",)
    assert attributes["searchkit.criteria"] == ("a yearly wage",)
    assert attributes["searchkit.passages"] == (result[0].text,)
    assert attributes["searchkit.reasons"] == (result.reason,)


SEARCH = """
import sys
{first}
from qdrant_client import QdrantClient
from searchkit import SearchKit
from searchkit.testing import FakeEncoder, FakeReranker
kit = SearchKit("c", client=QdrantClient(":memory:"), encoder=FakeEncoder(), reranker=FakeReranker())
kit.add(["one text"])
print(kit.search("text").status, "opentelemetry.trace" in sys.modules)
"""


@pytest.mark.parametrize(
    ("first", "printed"),
    [
        ("", "reranked False"),  # installed, and not loaded by the application: nobody pays for it
        ("sys.modules['opentelemetry'] = None", "reranked False"),  # as if it were not installed
        ("import opentelemetry.trace", "reranked True"),  # loaded, but without an SDK
    ],
)
def test_a_search_needs_no_opentelemetry(first, printed):
    code = textwrap.dedent(SEARCH).format(first=first)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == (printed, 0), done.stderr
