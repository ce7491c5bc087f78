from __future__ import annotations

import gc
import os
import re
import signal
import threading
import time
import weakref
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

import numpy as np
import pytest

from searchkit.config import RerankerProfile
from searchkit.deadline import Deadline
from searchkit.errors import ConfigError, DeviceMemoryError, MissingExtraError, ModelLoadError, RerankError
from searchkit.reranking.engine_limits import EngineLimits
from searchkit.reranking.pair_queue import PairQueue, Ticket, pair_cost
from searchkit.reranking.scheduler import ScheduledReranker
from searchkit.stages import PairScores, Reranker, TokenUse
from tests.token_reader import WordsReranker

PATIENCE_S = 20.0
"""How long a test waits for something that must happen; never how long it takes."""


def logit_of(pair: tuple[str, str]) -> float:
    return float(np.float32(zlib.crc32("\x00".join(pair).encode()) / 2**31 - 1))


class ScriptedReranker:
    """Scores a pair by its hash; every call first goes through ``on_call``, which may wait or raise."""

    name = "scripted"
    profile = RerankerProfile()

    def __init__(self, on_call: Callable[[Sequence[tuple[str, str]]], object] = lambda pairs: None) -> None:
        self.on_call = on_call
        self.calls: list[list[tuple[str, str]]] = []
        self.deadlines: list[Deadline | None] = []
        self.threads: set[str] = set()
        self.running = 0
        self.most_running = 0
        self._lock = threading.Lock()

    def score_pairs(self, pairs: Sequence[tuple[str, str]], *, deadline: Deadline | None = None) -> PairScores:
        with self._lock:
            self.calls.append(list(pairs))
            self.deadlines.append(deadline)
            self.threads.add(threading.current_thread().name)
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        try:
            self.on_call(pairs)
        finally:
            with self._lock:
                self.running -= 1
        logits = np.array([logit_of(pair) for pair in pairs], dtype=np.float32)
        return PairScores(logits, np.array([len(text) % 3 for _, text in pairs], dtype=np.int64), "scripted")

    @property
    def scored(self) -> list[tuple[str, str]]:
        return [pair for call in self.calls for pair in call]


class Gate:
    """Holds the engine in a call until the test opens it."""

    def __init__(self) -> None:
        self.is_entered = threading.Event()
        self._open = threading.Event()

    def __call__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self.is_entered.set()
        assert self._open.wait(PATIENCE_S)

    def open(self) -> None:
        self._open.set()

    def wait_entered(self) -> None:
        assert self.is_entered.wait(PATIENCE_S)


class Caller:
    """A call in a thread of its own."""

    def __init__(self, work: Callable[[], PairScores]) -> None:
        self._work = work
        self._result: PairScores | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._work()
        except BaseException as error:  # noqa: BLE001  # raised again by result()
            self._error = error

    @property
    def is_waiting(self) -> bool:
        return self._thread.is_alive()

    def result(self) -> PairScores:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "the caller still waits"
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result


def pairs_of(query: str, count: int) -> list[tuple[str, str]]:
    return [(query, f"text {number} of {query}") for number in range(count)]


def wait_until(claim: Callable[[], bool]) -> None:
    """Wait for something that another thread brings about without telling."""
    pause = threading.Event()
    end = Deadline.after(PATIENCE_S)
    while not claim():
        assert not end.is_over, "it did not happen"
        pause.wait(0.002)


@pytest.fixture
def quick() -> Iterator[Callable[..., ScheduledReranker]]:
    """Make scheduled rerankers and close them."""
    made = []

    def make(reranker: ScriptedReranker, **arguments: Any) -> ScheduledReranker:
        arguments.setdefault("cache_bytes", 0)
        made.append(ScheduledReranker(reranker, **arguments))
        return made[-1]

    yield make
    for one in made:
        one.close()


def assert_own_scores(scores: PairScores, pairs: Sequence[tuple[str, str]]) -> None:
    assert scores.logits.tolist() == [logit_of(pair) for pair in pairs]
    assert scores.truncated_tokens.tolist() == [len(text) % 3 for _, text in pairs]


def behind_gate(make: Any, gate: Gate, **arguments: Any) -> tuple[ScriptedReranker, ScheduledReranker, Caller]:
    """Return a scheduler whose engine is held in a call for the returned caller."""
    reranker = ScriptedReranker(gate)
    scheduled = make(reranker, **arguments)
    first = Caller(lambda: scheduled.score_pairs([("gate", "gate")]))
    gate.wait_entered()
    return reranker, scheduled, first


def test_it_is_a_reranker_and_passes_on_name_and_profile(quick):
    scheduled = quick(ScriptedReranker())
    assert isinstance(scheduled, Reranker)
    assert scheduled.name == "scripted"
    assert scheduled.profile == RerankerProfile()


def test_scores_come_back_in_the_order_asked_and_to_the_row_that_asked(quick):
    pairs = pairs_of("q", 50) + pairs_of("q", 3) + [("q", "x" * length) for length in (900, 1, 40)]
    for deadline in (None, Deadline.after(60)):
        assert_own_scores(quick(ScriptedReranker()).score_pairs(pairs, deadline=deadline), pairs)


def test_no_pairs_need_no_engine(quick):
    reranker = ScriptedReranker()
    assert quick(reranker).score_pairs([]).logits.shape == (0,)
    assert reranker.calls == []


def test_a_lone_small_call_is_one_engine_call(quick):
    reranker = ScriptedReranker()
    quick(reranker).score_pairs(pairs_of("q", 20))
    assert len(reranker.calls) == 1


def test_callers_that_wait_together_share_one_engine_call(quick):
    gate = Gate()
    reranker, scheduled, first = behind_gate(quick, gate)
    asked = [pairs_of(f"q{number}", 3) for number in range(10)]
    callers = [Caller(partial(scheduled.score_pairs, pairs)) for pairs in asked]
    wait_until(lambda: len(scheduled._engine_thread._queue) == 31)
    gate.open()
    for caller, pairs in zip(callers, asked, strict=True):
        assert_own_scores(caller.result(), pairs)
    first.result()
    assert len(reranker.calls) == 2
    assert reranker.most_running == 1
    assert len(reranker.threads) == 1


def test_an_engine_call_never_exceeds_its_budget(quick):
    reranker = ScriptedReranker()
    pairs = pairs_of("q", 500)
    limits = EngineLimits(max_cost=1000)
    assert_own_scores(quick(reranker, limits=limits).score_pairs(pairs), pairs)
    assert max(sum(map(pair_cost, call)) for call in reranker.calls) <= 1000
    assert len(reranker.calls) < 40


def test_a_pair_larger_than_the_budget_goes_alone(quick):
    pairs = [("q", "x" * 5000), *pairs_of("q", 5)]
    reranker = ScriptedReranker()
    assert_own_scores(quick(reranker, limits=EngineLimits(max_cost=300)).score_pairs(pairs), pairs)
    assert [("q", "x" * 5000)] in reranker.calls


def test_a_small_request_beside_a_thousand_pairs_is_in_the_next_engine_call(quick):
    gate = Gate()
    reranker = ScriptedReranker(gate)
    scheduled = quick(reranker, limits=EngineLimits(max_cost=2000))
    large, small = pairs_of("large", 1000), pairs_of("small", 5)
    first = Caller(lambda: scheduled.score_pairs(large))
    gate.wait_entered()
    second = Caller(lambda: scheduled.score_pairs(small))
    wait_until(lambda: len(scheduled._engine_thread._queue) == 1005)
    gate.open()
    assert_own_scores(second.result(), small)
    assert_own_scores(first.result(), large)
    assert set(small) <= set(reranker.calls[1])
    assert len(reranker.calls) > 20


def test_the_same_pair_asked_twice_at_once_is_scored_once(quick):
    gate = Gate()
    reranker, scheduled, first = behind_gate(quick, gate)
    shared = pairs_of("q", 8)
    callers = [Caller(lambda: scheduled.score_pairs([*shared, *shared])) for _ in range(5)]
    callers.append(Caller(lambda: scheduled.score_pairs([("gate", "gate")])))  # it is in the engine right now
    wait_until(lambda: sum(len(cell.readers) for cell in scheduled._engine_thread._queue._cells.values()) == 82)
    gate.open()
    for caller in callers[:-1]:
        assert_own_scores(caller.result(), [*shared, *shared])
    callers[-1].result()
    first.result()
    assert sorted(reranker.scored) == sorted([("gate", "gate"), *shared])


def test_sixty_four_threads_get_their_own_scores(quick):
    reranker = ScriptedReranker()
    scheduled = quick(reranker, cache_bytes=2**16, limits=EngineLimits(max_cost=4000))

    def ask(caller: int) -> int:
        random = Random(caller)
        for _ in range(20):
            pairs = [(f"q{random.randrange(90)}", "word " * random.randrange(60)) for _ in range(random.randrange(40))]
            deadline = None if random.random() < 0.5 else Deadline.after(60)
            assert_own_scores(scheduled.score_pairs(pairs, deadline=deadline), pairs)
        return caller

    with ThreadPoolExecutor(64) as threads:
        assert list(threads.map(ask, range(64))) == list(range(64))
    assert reranker.most_running == 1
    assert len(scheduled._engine_thread._queue) == 0


def test_kits_that_share_a_reranker_share_its_thread(quick):
    reranker = ScriptedReranker()
    one, other = quick(reranker), quick(reranker)
    nested = quick(one)
    assert one._engine_thread is other._engine_thread is nested._engine_thread
    one.close()
    one.close()
    assert_own_scores(other.score_pairs(pairs_of("q", 3)), pairs_of("q", 3))
    assert quick(ScriptedReranker())._engine_thread is not other._engine_thread


# Deadlines and callers that leave


def test_a_deadline_is_kept_by_a_model_that_hangs(quick):
    gate = Gate()
    scheduled = quick(ScriptedReranker(gate))
    started = time.monotonic()
    scores = scheduled.score_pairs(pairs_of("q", 4), deadline=Deadline.after(0.05))
    assert time.monotonic() - started < 5
    assert np.isnan(scores.logits).all()
    gate.open()


def test_what_was_scored_before_the_deadline_comes_back_in_order_of_promise(quick):
    gate = Gate()
    reranker = ScriptedReranker(lambda pairs: gate(pairs) if len(reranker.calls) == 3 else None)
    pairs = [("q", "long text " * (40 - rank)) for rank in range(40)]
    scheduled = quick(reranker, limits=EngineLimits(max_cost=2000))
    scores = scheduled.score_pairs(pairs, deadline=Deadline.after(1.0))
    done = len(reranker.calls[0]) + len(reranker.calls[1])
    assert 0 < done < 40
    assert_own_scores(
        replace(scores, logits=scores.logits[:done], truncated_tokens=scores.truncated_tokens[:done]), pairs[:done]
    )
    assert np.isnan(scores.logits[done:]).all()
    gate.open()


def test_a_caller_that_left_takes_its_pairs_out_of_the_queue(quick):
    gate = Gate()
    reranker, scheduled, first = behind_gate(quick, gate)
    scheduled.score_pairs(pairs_of("left", 100), deadline=Deadline.after(0.02))
    assert len(scheduled._engine_thread._queue) == 1
    gate.open()
    first.result()
    pairs = pairs_of("q", 2)
    assert_own_scores(scheduled.score_pairs(pairs), pairs)
    assert not [pair for pair in reranker.scored if pair[0] == "left"]


def test_pairs_that_somebody_else_wants_stay_when_a_caller_leaves(quick):
    gate = Gate()
    _, scheduled, first = behind_gate(quick, gate)
    pairs = pairs_of("q", 10)
    stays = Caller(lambda: scheduled.score_pairs(pairs[3:6]))
    wait_until(lambda: len(scheduled._engine_thread._queue) == 4)
    scheduled.score_pairs(pairs, deadline=Deadline.after(0.02))
    gate.open()
    assert_own_scores(stays.result(), pairs[3:6])
    first.result()


def test_a_deadline_that_is_over_asks_the_engine_nothing(quick):
    reranker = ScriptedReranker()
    assert np.isnan(quick(reranker).score_pairs(pairs_of("q", 3), deadline=Deadline.after(0)).logits).all()
    assert reranker.calls == []


def test_the_engine_is_told_when_nobody_waits_any_more(quick):
    reranker = ScriptedReranker()
    scheduled = quick(reranker)
    deadline = Deadline.after(60)
    scheduled.score_pairs(pairs_of("q", 3), deadline=deadline)
    scheduled.score_pairs(pairs_of("r", 3))
    assert reranker.deadlines == [deadline, None]


@pytest.fixture
def _interrupts_raise():
    """A shell starts its background jobs with SIGINT ignored, and Python leaves that as it is."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interrupts_raise")
def test_an_interrupted_caller_leaves_the_queue(quick):
    gate = Gate()
    reranker, scheduled, first = behind_gate(quick, gate)
    main = threading.main_thread().ident
    assert main is not None
    wakes = threading.Timer(0.1, lambda: signal.pthread_kill(main, signal.SIGINT))
    wakes.start()
    with pytest.raises(KeyboardInterrupt):
        scheduled.score_pairs(pairs_of("left", 10))
    wakes.join()
    gate.open()
    first.result()
    assert len(scheduled._engine_thread._queue) == 0
    assert not [pair for pair in reranker.scored if pair[0] == "left"]


class Hasty(ScriptedReranker):
    """Scores at most ``at_most`` pairs of a call that has a deadline."""

    at_most = 2

    def score_pairs(self, pairs, *, deadline=None):
        scores = super().score_pairs(pairs, deadline=deadline)
        if deadline is not None:
            scores.logits[self.at_most :] = np.nan
        return scores


def test_what_an_engine_leaves_before_the_deadline_is_handed_to_it_again_in_order(quick):
    reranker = Hasty()
    pairs = pairs_of("q", 9)
    assert_own_scores(quick(reranker).score_pairs(pairs, deadline=Deadline.after(60)), pairs)
    assert [call[0] for call in reranker.calls] == pairs[::2]


def test_an_engine_that_sees_no_time_for_anything_ends_the_wait(quick):
    reranker = Hasty()
    reranker.at_most = 0
    assert np.isnan(quick(reranker).score_pairs(pairs_of("q", 9), deadline=Deadline.after(0.9)).logits).all()
    assert len(reranker.calls) == 1


# Failures


def fail_on(query: str, error: BaseException) -> Callable[[Sequence[tuple[str, str]]], None]:
    def on_call(pairs: Sequence[tuple[str, str]]) -> None:
        if any(pair[0] == query for pair in pairs):
            raise error

    return on_call


def test_a_bad_request_does_not_fail_those_it_was_merged_with(quick):
    gate = Gate()
    reranker, scheduled, first = behind_gate(quick, gate)
    asked = {query: pairs_of(query, 3) for query in ("a", "bad", "c")}
    callers = {query: Caller(partial(scheduled.score_pairs, pairs)) for query, pairs in asked.items()}
    wait_until(lambda: len(scheduled._engine_thread._queue) == 10)
    reranker.on_call = fail_on("bad", RuntimeError("boom"))
    gate.open()
    first.result()
    with pytest.raises(RerankError, match="RuntimeError: boom") as caught:
        callers["bad"].result()
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert caught.value.__cause__.__traceback__ is not None
    for query in ("a", "c"):
        assert_own_scores(callers[query].result(), asked[query])
    assert [{pair[0] for pair in call} for call in reranker.calls[2:]] == [{"a"}, {"bad"}, {"c"}]


def test_a_failing_request_alone_is_not_tried_again_and_the_next_one_works(quick):
    reranker = ScriptedReranker(fail_on("bad", ModelLoadError("no such model")))
    scheduled = quick(reranker)
    with pytest.raises(ModelLoadError, match="no such model"):
        scheduled.score_pairs(pairs_of("bad", 3))
    assert len(reranker.calls) == 1
    assert_own_scores(scheduled.score_pairs(pairs_of("q", 3)), pairs_of("q", 3))


def test_each_caller_gets_an_exception_of_its_own(quick):
    gate = Gate()
    reranker, scheduled, first = behind_gate(quick, gate)
    callers = [Caller(lambda: scheduled.score_pairs([("bad", "text")])) for _ in range(2)]
    wait_until(lambda: sum(len(cell.readers) for cell in scheduled._engine_thread._queue._cells.values()) == 3)
    reranker.on_call = fail_on("bad", RerankError("broken"))
    gate.open()
    first.result()
    errors = []
    for caller in callers:
        with pytest.raises(RerankError, match="broken") as caught:
            caller.result()
        errors.append(caught.value)
    assert errors[0] is not errors[1]
    assert errors[0].__cause__ is errors[1].__cause__


@pytest.mark.parametrize("crash", [SystemExit(3), KeyboardInterrupt(), MemoryError()])
def test_a_crash_in_the_engine_thread_fails_the_call_and_the_next_one_works(quick, crash):
    reranker = ScriptedReranker(fail_on("bad", crash))
    scheduled = quick(reranker)
    with pytest.raises(RerankError, match=type(crash).__name__):
        scheduled.score_pairs(pairs_of("bad", 3))
    assert_own_scores(scheduled.score_pairs(pairs_of("q", 3)), pairs_of("q", 3))


def test_out_of_memory_halves_the_batch_until_it_fits(quick):
    def on_call(pairs: Sequence[tuple[str, str]]) -> None:
        if len(pairs) > 4:
            raise DeviceMemoryError(f"{len(pairs)} pairs do not fit")

    reranker = ScriptedReranker(on_call)
    scheduled = quick(reranker)
    pairs = pairs_of("q", 32)
    assert_own_scores(scheduled.score_pairs(pairs), pairs)
    tried = len(reranker.calls)
    assert_own_scores(scheduled.score_pairs(pairs_of("r", 32)), pairs_of("r", 32))
    assert max(len(call) for call in reranker.calls[tried:]) <= 4  # the smaller budget is remembered


def test_a_halved_batch_grows_again_when_memory_lasts(quick):
    is_full = threading.Event()
    is_full.set()

    def on_call(pairs: Sequence[tuple[str, str]]) -> None:
        if is_full.is_set() and len(pairs) > 4:
            raise DeviceMemoryError(f"{len(pairs)} pairs do not fit")

    reranker = ScriptedReranker(on_call)
    scheduled = quick(reranker, limits=EngineLimits(max_cost=3000))
    scheduled.score_pairs(pairs_of("q", 32))
    is_full.clear()
    tried = len(reranker.calls)
    for number in range(8):
        scheduled.score_pairs(pairs_of(f"q{number}", 100))
    assert max(len(call) for call in reranker.calls[tried : tried + 10]) <= 4
    assert max(len(call) for call in reranker.calls[tried:]) > 4


def test_out_of_memory_with_a_single_pair_is_raised(quick):
    reranker = ScriptedReranker(fail_on("q", DeviceMemoryError("1 pair does not fit")))
    with pytest.raises(DeviceMemoryError, match="1 pair does not fit"):
        quick(reranker).score_pairs(pairs_of("q", 8))
    assert [len(call) for call in reranker.calls] == [8, 4, 2, 1]  # what is left of the request is not tried


def test_a_score_that_is_no_number_is_an_error(quick):
    class Broken(ScriptedReranker):
        def score_pairs(self, pairs, *, deadline=None):
            scores = super().score_pairs(pairs, deadline=deadline)
            scores.logits[1] = np.nan
            return scores

    with pytest.raises(RerankError, match="NaN for 1 of 3"):
        quick(Broken()).score_pairs(pairs_of("q", 3))


def test_scores_of_the_wrong_shape_are_an_error(quick):
    class Short(ScriptedReranker):
        def score_pairs(self, pairs, *, deadline=None):
            return super().score_pairs(pairs[1:], deadline=deadline)

    with pytest.raises(RerankError, match=r"\(2,\)"):
        quick(Short()).score_pairs(pairs_of("q", 3))


# A model that hangs


def test_a_hung_call_fails_its_caller_and_another_thread_takes_over(quick):
    gate = Gate()
    reranker = ScriptedReranker(lambda pairs: gate(pairs) if pairs[0][0] == "hang" else None)
    scheduled = quick(reranker, limits=EngineLimits(hang_s=0.05, first_call_s=0.05))
    hung = Caller(lambda: scheduled.score_pairs(pairs_of("hang", 2)))
    gate.wait_entered()
    waits = Caller(lambda: scheduled.score_pairs(pairs_of("q", 3)))
    assert_own_scores(waits.result(), pairs_of("q", 3))
    with pytest.raises(RerankError, match=r"did not answer within 0\.05 s"):
        hung.result()
    assert len(reranker.calls) == 2
    gate.open()
    wait_until(lambda: not scheduled._engine_thread._hung)
    assert_own_scores(scheduled.score_pairs(pairs_of("hang", 2)), pairs_of("hang", 2))


def test_threads_left_behind_are_bounded_and_calls_then_fail_at_once(quick):
    gate = Gate()
    reranker = ScriptedReranker(gate)
    scheduled = quick(reranker, limits=EngineLimits(hang_s=0.02, first_call_s=0.02, max_hung=2))
    for number in range(2):
        with pytest.raises(RerankError):
            scheduled.score_pairs([("q", str(number))])
    with pytest.raises(RerankError, match="2 threads hang"):
        scheduled.score_pairs([("q", "third")], deadline=Deadline.after(60))
    assert len(reranker.calls) == 2
    gate.open()
    wait_until(lambda: not scheduled._engine_thread._hung)
    assert_own_scores(scheduled.score_pairs(pairs_of("q", 2)), pairs_of("q", 2))


def test_the_first_call_may_take_long_because_it_loads_the_model(quick):
    gate = Gate()
    reranker = ScriptedReranker(gate)
    scheduled = quick(reranker, limits=EngineLimits(hang_s=0.01))
    caller = Caller(lambda: scheduled.score_pairs(pairs_of("q", 2)))
    gate.wait_entered()
    threading.Event().wait(0.1)
    assert caller.is_waiting
    gate.open()
    assert_own_scores(caller.result(), pairs_of("q", 2))
    assert len(reranker.threads) == 1


# Life and death


def test_the_thread_ends_when_idle_and_a_call_starts_another(quick):
    scheduled = quick(ScriptedReranker(), limits=EngineLimits(idle_s=0.01))
    for number in range(3):
        assert_own_scores(scheduled.score_pairs(pairs_of(f"q{number}", 2)), pairs_of(f"q{number}", 2))
        wait_until(lambda: scheduled._engine_thread._worker is None)


def test_closing_ends_the_thread_and_fails_who_still_waits(quick):
    gate = Gate()
    _, scheduled, first = behind_gate(quick, gate)
    thread = scheduled._engine_thread._worker.thread
    closes = threading.Thread(target=scheduled.close)
    closes.start()
    with pytest.raises(RerankError, match="closed"):
        first.result()
    gate.open()
    closes.join(PATIENCE_S)
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    with pytest.raises(RerankError, match="closed"):
        scheduled.score_pairs(pairs_of("q", 1))


def test_a_forgotten_scheduler_leaves_no_thread():
    scheduled = ScheduledReranker(ScriptedReranker(), limits=EngineLimits(idle_s=0.01))
    scheduled.score_pairs(pairs_of("q", 2))
    thread = weakref.ref(scheduled._engine_thread)
    del scheduled
    gc.collect()
    wait_until(lambda: thread() is None)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_a_forked_child_scores_with_a_thread_of_its_own(quick):
    gate = Gate()
    reranker, scheduled, first = behind_gate(quick, gate)
    child = os.fork()
    if child == 0:  # the parent's engine thread, in the gate and holding the turn, does not exist here
        reranker.on_call = lambda pairs: None
        pairs = pairs_of("q", 3)
        scores = scheduled.score_pairs(pairs, deadline=Deadline.after(PATIENCE_S))
        os._exit(0 if scores.logits.tolist() == [logit_of(pair) for pair in pairs] else 1)
    _, status = os.waitpid(child, 0)
    gate.open()
    first.result()
    assert os.waitstatus_to_exitcode(status) == 0


# Scores asked before


def test_a_pair_asked_before_is_not_scored_again_and_says_so(quick):
    reranker = ScriptedReranker()
    scheduled = quick(reranker, cache_bytes=2**20)
    first = scheduled.score_pairs(pairs_of("q", 4))
    second = scheduled.score_pairs([*pairs_of("q", 4), ("q", "new"), ("other", "text 0 of q")])
    assert first.cached.tolist() == [False] * 4
    assert second.cached.tolist() == [True] * 4 + [False] * 2
    assert_own_scores(second, [*pairs_of("q", 4), ("q", "new"), ("other", "text 0 of q")])
    assert second.engine == "scripted"
    assert len(reranker.scored) == 6
    whole = scheduled.score_pairs(pairs_of("q", 4), deadline=Deadline.after(0))
    assert_own_scores(whole, pairs_of("q", 4))
    assert whole.engine == "scripted"


def test_without_a_cache_every_call_is_scored(quick):
    reranker = ScriptedReranker()
    scheduled = quick(reranker, cache_bytes=0)
    for _ in range(2):
        assert not scheduled.score_pairs(pairs_of("q", 4)).cached.any()
    assert len(reranker.scored) == 8


def test_what_a_deadline_left_unscored_is_not_remembered(quick):
    gate = Gate()
    scheduled = quick(ScriptedReranker(gate), cache_bytes=2**20)
    scheduled.score_pairs(pairs_of("q", 3), deadline=Deadline.after(0.02))
    gate.open()
    scores = scheduled.score_pairs(pairs_of("q", 3))
    assert_own_scores(scores, pairs_of("q", 3))
    assert not scores.cached.any()


def test_stored_token_ids_reach_the_model_and_their_fate_comes_back_in_order():
    reranker = WordsReranker()
    pairs = [("q", "some words"), ("q", "a longer text of more words"), ("q", "other words")]
    right, other = reranker.writer.encode(["some words", "other words"])
    with ScheduledReranker(reranker) as scheduled:
        scores = scheduled.score_pairs(pairs, tokens=[right, other, None])
        assert scores.token_use.tolist() == [TokenUse.USED, TokenUse.REFUSED, TokenUse.NONE]
        assert np.array_equal(scores.logits, WordsReranker().score_pairs(pairs).logits)
        again = scheduled.score_pairs(pairs, tokens=[right, other, None])
        assert again.cached.all()
        assert again.token_use.tolist() == [TokenUse.NONE] * 3
        assert scheduled.score_pairs([("q", "new")]).token_use is None


def test_a_scheduler_offers_the_token_ids_of_its_reranker():
    reranker = WordsReranker()
    with ScheduledReranker(reranker) as scheduled:
        (stored,) = scheduled.token_writer().encode(["some words"])
        assert scheduled.token_count("some words", stored) == 2
        assert scheduled.token_count("others", stored) is None


def test_around_a_reranker_that_reads_none_it_offers_none_and_passes_none_on():
    with ScheduledReranker(ScriptedReranker()) as scheduled:
        assert scheduled.token_writer() is None
        assert scheduled.token_count("some words", "stored") is None
        scores = scheduled.score_pairs([("q", "some words")], tokens=["stored"])
        assert scores.token_use.tolist() == [TokenUse.NONE]
        assert scores.logits[0] == logit_of(("q", "some words"))


def test_callers_that_share_a_pair_share_the_stored_token_ids_of_whoever_has_them():
    reranker = WordsReranker()
    (right,) = reranker.writer.encode(["some words"])
    queue = PairQueue()
    without, having = (Ticket([("q", "some words")], Deadline(), tokens) for tokens in (None, [right]))
    queue.add(without, [0])
    queue.add(having, [0])
    (chunk,) = queue.take(10_000, 10_000)
    assert [cell.tokens for cell in chunk.cells] == [right]


# What goes wrong at the edges


def test_a_thread_that_cannot_be_started_fails_the_call_and_the_next_one_tries_again(quick, monkeypatch):
    scheduled = quick(ScriptedReranker())
    with monkeypatch.context() as patched:
        patched.setattr(
            threading.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError("can't start new thread"))
        )
        with pytest.raises(RerankError, match="no thread could be started"):
            scheduled.score_pairs(pairs_of("q", 2))
    pairs = pairs_of("q", 2)
    assert_own_scores(scheduled.score_pairs(pairs, deadline=Deadline.after(PATIENCE_S)), pairs)


class Spoiled(ScriptedReranker):
    """Puts values into its logits that are no scores."""

    def __init__(self, value: float, rows: slice) -> None:
        super().__init__()
        self.value, self.rows = value, rows

    def score_pairs(self, pairs, *, deadline=None):
        scores = super().score_pairs(pairs, deadline=deadline)
        spoiled = np.array([pair in pairs_of("q", 4)[self.rows] for pair in pairs])
        scores.logits[spoiled] = self.value
        return scores


@pytest.mark.parametrize(
    ("value", "rows", "says"),
    [
        (np.nan, slice(1, 2), "NaN for 1 of 4"),  # in the middle: no deadline skips a pair
        (np.nan, slice(0, 4), "NaN for 4 of 4"),  # with all the time in the world left
        (np.nan, slice(3, 4), "NaN for 1 of 1"),  # asked for again, it is still missing
        (np.inf, slice(3, 4), "infinite"),
        (-np.inf, slice(0, 1), "infinite"),
    ],
)
def test_a_broken_value_is_not_taken_for_the_deadline(quick, value, rows, says):
    scheduled = quick(Spoiled(value, rows))
    with pytest.raises(RerankError, match=says):
        scheduled.score_pairs(pairs_of("q", 4), deadline=Deadline.after(PATIENCE_S))


@pytest.mark.parametrize("error", [ConfigError("no such device"), MissingExtraError("int8", "openvino")])
def test_a_mistake_of_set_up_stays_what_it_is(quick, error):
    def fail(pairs):
        raise error

    with pytest.raises(type(error), match=re.escape(str(error))):
        quick(ScriptedReranker(fail)).score_pairs(pairs_of("q", 1))


def test_an_error_that_cannot_be_copied_still_tells_its_message(quick):
    class ParticularError(RerankError):
        def __init__(self, code: int, place: str) -> None:
            super().__init__(f"{code} at {place}")

    def fail(pairs):
        raise ParticularError(7, "the kernel")

    with pytest.raises(RerankError, match="7 at the kernel"):
        quick(ScriptedReranker(fail)).score_pairs(pairs_of("q", 1))


def test_what_of_a_query_was_not_read_is_known_of_a_cached_score_too(quick):
    class Narrow(ScriptedReranker):
        def score_pairs(self, pairs, *, deadline=None):
            unread = np.array([len(query) for query, _ in pairs], dtype=np.int64)
            return replace(super().score_pairs(pairs, deadline=deadline), query_truncated_tokens=unread)

    scheduled = quick(Narrow(), cache_bytes=2**20)
    for _ in range(2):
        assert scheduled.score_pairs([("abc", "x"), ("ab", "y")]).query_truncated_tokens.tolist() == [3, 2]
