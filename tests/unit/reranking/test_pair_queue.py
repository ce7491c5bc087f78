from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from searchkit.deadline import Deadline
from searchkit.reranking.pair_queue import Cell, PairQueue, Ticket, by_ticket, halved, pair_cost
from searchkit.stages import PairScores


def ticket_of(pairs, deadline: Deadline | None = None) -> Ticket:
    return Ticket(pairs, deadline or Deadline())


def add(queue: PairQueue, pairs, deadline: Deadline | None = None) -> Ticket:
    ticket = ticket_of(pairs, deadline)
    queue.add(ticket, range(len(pairs)))
    return ticket


def value_of(pair) -> float:
    return float(len(pair[0]) * 100 + len(pair[1]))


def scores_of(cells: list[Cell], *, unscored: int = 0) -> PairScores:
    logits = np.array([value_of(cell.pair) for cell in cells], dtype=np.float32)
    if unscored:
        logits[-unscored:] = np.nan
    return PairScores(logits, np.zeros(len(cells), dtype=np.int64), "engine")


def cells_of(chunks) -> list[Cell]:
    return [cell for chunk in chunks for cell in chunk.cells]


pairs_strategy = st.lists(
    st.tuples(st.sampled_from(["q", "qq", "qqq"]), st.integers(0, 40).map(lambda n: "t" * n)), min_size=1, max_size=15
)


def test_without_a_deadline_pairs_are_handed_out_by_length_and_with_one_as_given():
    pairs = [("q", "ttt"), ("q", "t"), ("q", "tt")]
    for deadline, expected in ((None, [1, 2, 3]), (Deadline.after(60), [3, 1, 2])):
        queue = PairQueue()
        add(queue, pairs, deadline)
        assert [len(cell.pair[1]) for cell in cells_of(queue.take(10_000, 10_000))] == expected


def test_turns_go_round_and_who_did_not_fit_is_first_next_time():
    queue = PairQueue()
    tickets = [add(queue, [(name, "t")] * 1 + [(name, "tt")]) for name in "abc"]
    cost = pair_cost(("a", "tt"))
    order = []
    while chunks := queue.take(2 * cost, cost):
        order.append([chunk.ticket for chunk in chunks])
        queue.settle(cells_of(chunks), scores_of(cells_of(chunks)))
    a, b, c = tickets
    assert order == [[a, b], [c, a], [b, c]]


def test_what_was_put_back_comes_again_in_the_same_order():
    queue = PairQueue()
    pairs = [("q", "t" * n) for n in range(1, 7)]
    ticket = add(queue, pairs, Deadline.after(60))
    first = cells_of(queue.take(10_000, 10_000))
    queue.settle(first, scores_of(first, unscored=4))
    second = cells_of(queue.take(10_000, 10_000))
    assert [cell.pair for cell in second] == pairs[2:]
    queue.settle(second, scores_of(second))
    assert ticket.done.is_set()
    assert len(queue) == 0


def test_a_failure_closes_all_readers_of_the_pair_and_nobody_else():
    queue = PairQueue()
    one, both, other = add(queue, [("q", "a")]), add(queue, [("q", "a"), ("q", "bb")]), add(queue, [("q", "bb")])
    chunks = queue.take(pair_cost(("q", "a")), 10_000)
    error = ValueError("broken")
    queue.fail(cells_of(chunks), error)
    assert (one.error, both.error, other.error) == (error, error, None)
    assert one.done.is_set()
    assert both.done.is_set()
    assert not other.done.is_set()
    assert [cell.pair for cell in cells_of(queue.take(10_000, 10_000))] == [("q", "bb")]


@given(st.lists(pairs_strategy, min_size=1, max_size=6), st.integers(1, 300), st.integers(1, 300))
def test_every_row_is_scored_with_its_own_pair_and_every_pair_once(asked, budget, share):
    queue = PairQueue()
    tickets = [add(queue, pairs) for pairs in asked]
    taken = []
    while chunks := queue.take(budget, share):
        cells = cells_of(chunks)
        assert sum(cell.cost for cell in cells) <= budget or len(cells) == 1
        taken.extend(cell.pair for cell in cells)
        queue.settle(cells, scores_of(cells))
    assert sorted(taken) == sorted({pair for pairs in asked for pair in pairs})
    assert len(queue) == 0
    for ticket, pairs in zip(tickets, asked, strict=True):
        assert ticket.done.is_set()
        assert ticket.logits.tolist() == [value_of(pair) for pair in pairs]


@given(st.lists(pairs_strategy, min_size=1, max_size=4))
def test_parts_of_a_batch_hold_its_cells(asked):
    queue = PairQueue()
    for pairs in asked:
        add(queue, pairs)
    chunks = queue.take(10_000, 50)
    cells = cells_of(chunks)
    first, second = (cells_of(half) for half in halved(chunks))
    assert first + second == cells
    assert abs(len(first) - len(second)) <= 1
    parts = by_ticket(chunks)
    assert sorted(map(id, cells)) == sorted(id(cell) for part in parts for cell in cells_of(part))
    assert len({id(part[0].ticket) for part in parts}) == len(parts)


class QueueUnderFire(RuleBasedStateMachine):
    """Adds, takes, settles, fails and closes in any order; nobody may be forgotten or served twice."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = PairQueue()
        self.tickets: list[Ticket] = []
        self.left: set[int] = set()
        self.batches: list[list[Cell]] = []

    @rule(pairs=pairs_strategy)
    def ask(self, pairs):
        self.tickets.append(add(self.queue, pairs))

    @rule(budget=st.integers(1, 400), share=st.integers(1, 400))
    def take(self, budget, share):
        if chunks := self.queue.take(budget, share):
            self.batches.append(cells_of(chunks))

    @precondition(lambda self: self.batches)
    @rule(unscored=st.integers(0, 3), data=st.data())
    def settle(self, unscored, data):
        batch = self.batches.pop(data.draw(st.integers(0, len(self.batches) - 1)))
        self.queue.settle(batch, scores_of(batch, unscored=min(unscored, len(batch))))

    @precondition(lambda self: self.batches)
    @rule()
    def fail(self):
        self.queue.fail(self.batches.pop(), ValueError("broken"))

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def leave(self, data):
        ticket = data.draw(st.sampled_from(self.tickets))
        if not ticket.done.is_set():
            self.left.add(id(ticket))
        self.queue.close(ticket)

    @invariant()
    def no_pair_runs_twice_at_once(self):
        running = [cell.pair for batch in self.batches for cell in batch if not cell.is_settled]
        assert len(running) == len(set(running))

    @invariant()
    def scores_belong_to_their_pairs(self):
        for ticket in self.tickets:
            for pair, logit in zip(ticket.pairs, ticket.logits.tolist(), strict=True):
                assert np.isnan(logit) or logit == value_of(pair)

    def teardown(self):
        for batch in self.batches:
            self.queue.settle(batch, scores_of(batch))
        while chunks := self.queue.take(200, 100):
            cells = cells_of(chunks)
            self.queue.settle(cells, scores_of(cells))
        assert len(self.queue) == 0
        for ticket in self.tickets:
            assert ticket.done.is_set()
            if ticket.error is None and id(ticket) not in self.left:
                assert not np.isnan(ticket.logits).any()


TestQueueUnderFire = QueueUnderFire.TestCase
