"""What a caller gets, and when, if a stage hangs or fails: the whole pipeline over stages that obey the test."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from searchkit import SearchKit
from searchkit.config import AdaptiveDepthConfig, RerankerProfile, SearchKitConfig
from searchkit.errors import CollectionError, ConfigError, RerankError, RetrievalTimeoutError
from searchkit.pipeline import TwoStagePipeline
from searchkit.request import SearchRequest
from searchkit.reranking import CrossEncoderReranker
from searchkit.reranking.engine_limits import EngineLimits
from searchkit.reranking.scheduler import ScheduledReranker
from searchkit.stages import Candidate, PairScores, Window
from searchkit.testing import FakeEncoder, FakeReranker, FakeSparseEncoder
from searchkit.types import RetrievalEvidence, SearchResult

PATIENCE_S = 20.0
"""How long a test waits for something that must happen; never how long it takes."""

LATE_S = 0.1
"""The promise: an answer comes at most this long after the deadline."""

SLACK_S = 1.0
"""What a loaded machine may add to it in a test."""


def candidate(number: int, text: str = "", window: Window | None = None) -> Candidate:
    return Candidate(
        id=f"p{number}",
        text=text or f"text {number} " + "word " * number,
        window=window or Window(),
        evidence=RetrievalEvidence(rank=number, fused_score=1.0 / number),
    )


def wait_until(claim: Callable[[], object]) -> None:
    """Wait for something that another thread brings about without telling."""
    end = time.monotonic() + PATIENCE_S
    while not claim():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


class ListRetriever:
    """Finds the same candidates for every query, after ``before`` was called."""

    def __init__(self, candidates: Sequence[Candidate], before: Callable[[], object] = lambda: None) -> None:
        self._candidates = list(candidates)
        self._before = before

    def retrieve(self, requests):
        self._before()
        return [self._candidates[: request.depth] for request in requests]


class GatedReranker(FakeReranker):
    """Word overlap; hangs from the call number ``hangs_from`` on until the test releases it."""

    def __init__(self, hangs_from: int = 1) -> None:
        super().__init__()
        self._hangs_from = hangs_from
        self.release = threading.Event()
        self.calls: list[list[tuple[str, str]]] = []

    def score_pairs(self, pairs, *, deadline=None) -> PairScores:
        self.calls.append(list(pairs))
        if len(self.calls) >= self._hangs_from:
            assert self.release.wait(PATIENCE_S)
        return super().score_pairs(pairs)


class Bench:
    """A pipeline with parts of the test's choice, and the time that its last search took."""

    def __init__(self) -> None:
        self._opened: list[ScheduledReranker] = []
        self.release = threading.Event()
        self.seconds = 0.0

    def pipeline(self, reranker, *, retriever=None, whole_texts=None, config=None, limits=None) -> TwoStagePipeline:
        self._opened.append(ScheduledReranker(reranker, limits=limits))
        return TwoStagePipeline(
            encoder=FakeEncoder(),
            sparse_encoder=FakeSparseEncoder(),
            retriever=retriever or ListRetriever([candidate(number) for number in range(1, 31)]),
            reranker=self._opened[-1],
            whole_texts=whole_texts or (lambda found: {one.passage: f"whole {one.id}" for one in found}),
            config=config or SearchKitConfig(),
        )

    def search(self, pipeline: TwoStagePipeline, query: str = "text", **arguments) -> SearchResult:
        started = time.monotonic()
        try:
            return pipeline.search([query], [SearchRequest(**arguments)])[0]
        finally:
            self.seconds = time.monotonic() - started

    def assert_in_time(self, deadline_s: float) -> None:
        assert self.seconds < deadline_s + LATE_S + SLACK_S

    def close(self) -> None:
        self.release.set()
        for one in self._opened:
            one.reranker.release.set() if isinstance(one.reranker, GatedReranker) else None
            one.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def test_a_hung_second_stage_degrades_at_the_deadline(bench):
    pipeline = bench.pipeline(GatedReranker())
    result = bench.search(pipeline, deadline_s=0.1)
    bench.assert_in_time(0.1)
    assert result.status == "degraded"
    assert "before stage 2 scored anything" in result.reason
    assert [hit.id for hit in result] == [f"p{rank}" for rank in range(1, 11)]
    assert result.scored_count == 0


def test_a_second_stage_that_hangs_half_way_gives_a_partial_result_best_candidates_first(bench):
    reranker = GatedReranker(hangs_from=2)
    pipeline = bench.pipeline(reranker, limits=EngineLimits(max_cost=400))
    result = bench.search(pipeline, deadline_s=0.3)
    bench.assert_in_time(0.3)
    done = len(reranker.calls[0])
    assert 0 < done < 30
    assert result.status == "partial"
    assert f"after {done} of 30 windows" in result.reason
    assert result.scored_count == done
    assert {hit.id for hit in result if hit.logit is not None} <= {f"p{rank}" for rank in range(1, done + 1)}


def test_the_search_after_a_hang_works_once_the_model_answers(bench):
    reranker = GatedReranker()
    pipeline = bench.pipeline(reranker)
    assert bench.search(pipeline, deadline_s=0.05).status == "degraded"
    reranker.release.set()
    assert bench.search(pipeline).status == "reranked"


def test_a_hung_first_stage_is_a_timeout_at_the_deadline(bench):
    retriever = ListRetriever([candidate(1)], before=lambda: bench.release.wait(PATIENCE_S))
    pipeline = bench.pipeline(FakeReranker(), retriever=retriever)
    with pytest.raises(RetrievalTimeoutError, match="before the candidates were found"):
        bench.search(pipeline, deadline_s=0.1)
    bench.assert_in_time(0.1)


def test_whole_passages_that_do_not_arrive_are_a_timeout_at_the_deadline(bench):
    windowed = ListRetriever([candidate(1, "a window", Window(0, 2, 0, 8))])
    never = lambda _: bench.release.wait(PATIENCE_S)  # noqa: E731
    pipeline = bench.pipeline(FakeReranker(), retriever=windowed, whole_texts=never)
    with pytest.raises(RetrievalTimeoutError, match="whole passages"):
        bench.search(pipeline, deadline_s=0.1)
    bench.assert_in_time(0.1)


def test_hits_that_are_at_hand_are_returned_when_ordering_them_outlasts_the_deadline(bench, monkeypatch):
    monkeypatch.setattr("searchkit.pipeline.GRACE_S", -60.0)  # the time for reading whole passages is over by then
    result = bench.search(bench.pipeline(FakeReranker()), deadline_s=30.0)
    assert result.status == "reranked"
    assert len(result) > 0


def test_a_model_that_is_still_being_looked_for_degrades_at_the_deadline(bench):
    class Elsewhere(FakeReranker):
        @property
        def profile(self):
            assert bench.release.wait(PATIENCE_S)
            return RerankerProfile()

    pipeline = bench.pipeline(Elsewhere())
    result = bench.search(pipeline, deadline_s=0.1)
    bench.assert_in_time(0.1)
    assert result.status == "degraded"
    assert "before the model of stage 2 was ready" in result.reason
    bench.release.set()
    assert bench.search(pipeline, deadline_s=PATIENCE_S).status == "reranked"


def test_a_generous_deadline_changes_nothing(bench):
    pipeline = bench.pipeline(FakeReranker())
    hurried, calm = bench.search(pipeline, deadline_s=PATIENCE_S), bench.search(pipeline)
    assert hurried.status == "reranked"
    assert hurried.hits == calm.hits


def test_under_a_deadline_first_ranks_of_all_queries_and_first_windows_of_all_passages_come_first(bench):
    reranker = GatedReranker(hangs_from=99)
    found = [
        candidate(rank, f"passage {rank} window {window}", Window(window, 2, 0, 1))
        for rank in range(1, 4)
        for window in range(2)
    ]
    pipeline = bench.pipeline(reranker, retriever=ListRetriever(found))
    request = SearchRequest(deadline_s=PATIENCE_S)
    pipeline.search(["one", "two"], [request, request])
    order = [(query, text) for call in reranker.calls for query, text in call]
    expected = [f"passage {rank} window {window}" for window in range(2) for rank in range(1, 4)]
    assert order == [(query, text) for text in expected for query in ("one", "two")]


def test_many_deadlines_over_a_hung_model_are_all_kept(bench):
    pipeline = bench.pipeline(GatedReranker())
    found: list[tuple[str, float]] = []

    def ask(number: int) -> None:
        started = time.monotonic()
        try:
            status: str = pipeline.search([f"query {number}"], [SearchRequest(deadline_s=0.5)])[0].status
        except RetrievalTimeoutError:  # on a loaded machine not even stage 1 gets its turn
            status = "timeout"
        found.append((status, time.monotonic() - started))

    callers = [threading.Thread(target=ask, args=(number,)) for number in range(32)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(PATIENCE_S)
    assert len(found) == 32
    assert {status for status, _ in found} <= {"degraded", "timeout"}
    assert max(seconds for _, seconds in found) < 0.5 + LATE_S + 2 * SLACK_S


def test_scores_known_from_an_earlier_search_are_counted_and_hold_without_a_model(bench):
    reranker = GatedReranker(hangs_from=2)
    pipeline = bench.pipeline(reranker)
    first = bench.search(pipeline, query="text")
    assert (first.status, first.cached_count) == ("reranked", 0)
    second = bench.search(pipeline, query="text", deadline_s=0.2)
    assert (second.status, second.cached_count, second.scored_count) == ("reranked", 30, 30)
    assert second.hits == first.hits
    third = bench.search(pipeline, query="text", deadline_s=0.2, criteria="other words")
    assert (third.status, third.cached_count) == ("degraded", 0)


def test_a_failing_batch_mate_fails_alone(bench):
    class Picky(GatedReranker):
        def score_pairs(self, pairs, *, deadline=None):
            scores = super().score_pairs(pairs, deadline=deadline)
            if any("bad" in query for query, _ in pairs):
                raise ValueError("bad pair")
            return scores

    reranker = Picky()
    pipeline = bench.pipeline(reranker)
    results: dict[str, SearchResult] = {}

    def ask(query: str) -> None:
        results[query] = pipeline.search([query], [SearchRequest()])[0]

    callers = [threading.Thread(target=ask, args=(query,)) for query in ("first", "good", "bad", "fine")]
    for caller in callers:
        caller.start()
    reranker.release.set()
    for caller in callers:
        caller.join(PATIENCE_S)
    assert {query: result.status for query, result in results.items()} == {
        "first": "reranked",
        "good": "reranked",
        "bad": "degraded",
        "fine": "reranked",
    }
    assert "bad pair" in results["bad"].reason
    assert not np.isnan([hit.score for hit in results["good"]]).any()


# Through the kit


PASSAGES = [{"id": f"p{number}", "text": f"people live in town {number}"} for number in range(40)]


@pytest.fixture
def open_kit(tmp_path):
    opened = []

    def make(reranker, **settings) -> SearchKit:
        config = SearchKitConfig(**settings)
        opened.append(SearchKit("towns", path=tmp_path, encoder=FakeEncoder(), reranker=reranker, config=config))
        opened[-1].add(PASSAGES)
        return opened[-1]

    yield make
    for kit in opened:
        kit.reranker.release.set()
        kit.close()


def test_a_kit_keeps_a_deadline_over_a_hung_model_and_recovers(open_kit):
    reranker = GatedReranker()
    kit = open_kit(reranker)
    started = time.monotonic()
    result = kit.search("people in town 7", deadline_s=0.5)
    assert time.monotonic() - started < 0.5 + LATE_S + SLACK_S
    assert (result.status, result.scored_count) == ("degraded", 0)
    assert len(result) == 10
    reranker.release.set()
    assert kit.search("people in town 7", deadline_s=PATIENCE_S).status == "reranked"


async def test_a_deadline_in_centuries_is_none(open_kit):
    kit = open_kit(GatedReranker())
    kit.reranker.release.set()
    for seconds in (9_223_372_037, 1e300):
        assert kit.search("people in town 7", deadline_s=seconds).status == "reranked"
        assert (await kit.asearch("people in town 7", deadline_s=seconds)).status == "reranked"


async def test_a_cancelled_search_takes_its_pairs_out_of_the_queue(open_kit):
    reranker = GatedReranker()
    kit = open_kit(reranker)
    first = asyncio.create_task(kit.asearch("first"))
    await asyncio.to_thread(wait_until, lambda: reranker.calls)
    second = asyncio.create_task(kit.asearch("second"))
    queue = kit._parts.scheduled._engine_thread._queue
    await asyncio.to_thread(wait_until, lambda: len(queue) == 80)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    reranker.release.set()
    assert (await first).status == "reranked"
    assert (await kit.asearch("third")).status == "reranked"
    assert {query for call in reranker.calls for query, _ in call} == {"first", "third"}


def test_closing_a_kit_over_a_hung_model_does_not_hang(open_kit):
    reranker = GatedReranker()
    kit = open_kit(reranker)
    waits = threading.Thread(target=lambda: kit.search("people"), daemon=True)
    waits.start()
    wait_until(lambda: reranker.calls)
    closes = threading.Thread(target=kit.close, daemon=True)
    closes.start()
    closes.join(PATIENCE_S)
    assert not closes.is_alive()
    waits.join(PATIENCE_S)
    assert not waits.is_alive()


def test_a_repeated_search_is_answered_from_the_cache_unless_switched_off(open_kit):
    reranker = GatedReranker(hangs_from=99)
    kit = open_kit(reranker)
    first, second = kit.search("people in town 7"), kit.search("people in town 7")
    assert (first.cached_count, second.cached_count) == (0, second.candidate_count)
    assert second.hits == first.hits
    kit.close()
    kit = open_kit(reranker, score_cache_bytes=0)
    assert [kit.search("people in town 7").cached_count for _ in range(2)] == [0, 0]


def test_adaptive_depth_says_how_many_were_scored(open_kit):
    kit = open_kit(GatedReranker(hangs_from=99), adaptive_depth=AdaptiveDepthConfig(first=10, step=5, max_missed=100.0))
    result = kit.search("people in town 7", top_k=5, candidate_depth=40)
    assert result.status == "reranked"
    assert result.scored_count == 10
    assert result.candidate_count == 40
    assert result.reason == "stage 2 stopped after 10 of 40 windows: the rest is unlikely to be a hit"
    assert all(hit.logit is not None for hit in result)


async def test_waiting_for_a_thread_counts(open_kit):
    kit = open_kit(GatedReranker())
    kit.reranker.release.set()
    gate = threading.Event()
    executor = kit.parts.threads.executor
    busy = [executor.submit(gate.wait, PATIENCE_S) for _ in range(executor._max_workers)]
    started = time.monotonic()
    with pytest.raises(RetrievalTimeoutError, match="before a thread was free"):
        await kit.asearch("people", deadline_s=0.2)
    assert time.monotonic() - started < 0.2 + LATE_S + SLACK_S
    waits = asyncio.create_task(kit.asearch("people", deadline_s=PATIENCE_S))
    await asyncio.sleep(0.3)
    gate.set()
    assert (await waits).timings.total >= 300
    assert all(one.result() for one in busy)


async def test_a_closed_kit_says_so_on_every_edge(open_kit):
    kit = open_kit(GatedReranker())
    kit.close()
    with pytest.raises(CollectionError, match="closed"):
        kit.search("people")
    with pytest.raises(CollectionError, match="closed"):
        await kit.asearch("people")
    with pytest.raises(RerankError, match="closed"):
        kit.rerank("people", ["a", "b"])


def test_a_mistake_of_set_up_is_no_fault_of_the_moment(tmp_path):
    reranker = CrossEncoderReranker(engine="openvino", precision="fp16")
    with SearchKit("towns", path=tmp_path, encoder=FakeEncoder(), reranker=reranker) as kit:
        kit.add(PASSAGES[:3])
        with pytest.raises(ConfigError, match="openvino"):
            kit.search("people")
    with pytest.raises(ConfigError, match="is no Reranker"):
        SearchKit("towns", path=tmp_path, encoder=FakeEncoder(), reranker=CrossEncoderReranker)


def test_criteria_that_are_not_read_to_the_end_are_counted(tmp_path, cross_encoder_folder):
    reranker = CrossEncoderReranker(cross_encoder_folder(), device="cpu", max_length=64)
    with SearchKit("towns", path=tmp_path, encoder=FakeEncoder(), reranker=reranker) as kit:
        kit.add(PASSAGES[:3])
        assert kit.search("people", criteria="in berlin").rerank_query_truncated_tokens == 0
        criteria = "people live in berlin " * 40
        for _ in range(2):
            result = kit.search("people", criteria=criteria)
            composed = len(reranker.token_spans(reranker.compose("people", criteria)))
            longest = max(len(reranker.token_spans(hit.text)) for hit in result)
            assert result.rerank_query_truncated_tokens == composed - (64 - 3 - longest)
        alone = kit.rerank("people", ["in berlin"], criteria=criteria)
        assert alone.rerank_query_truncated_tokens == composed - (64 - 3 - 2)


def test_a_closed_kit_leaves_no_threads_behind(tmp_path):
    before = set(threading.enumerate())
    with SearchKit("kit", path=tmp_path, encoder=FakeEncoder(), reranker=FakeReranker()) as kit:
        kit.add(["a passage"])
        kit.search("a passage", deadline_s=PATIENCE_S)
        assert any(thread.name == "searchkit-bounded" for thread in set(threading.enumerate()) - before)
    wait_until(lambda: not set(threading.enumerate()) - before)
