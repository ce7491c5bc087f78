"""Which pairs the engine scores next: callers merged, equal pairs shared, large requests cut, nobody starved.

No threads of its own, and no clock but for how long a ticket waited: the caller holds a lock around every call
(`searchkit.reranking.engine_thread`).
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from searchkit.deadline import Deadline
from searchkit.stages import PairScores

Pair = tuple[str, str]

PAIR_COST = 32
"""Characters added to the length of a pair: what special tokens and bookkeeping cost beside the text."""


def pair_cost(pair: Pair) -> int:
    """Return how much work a pair is, in characters: a stand-in for tokens that needs no tokenizer."""
    return len(pair[0]) + len(pair[1]) + PAIR_COST


class Ticket:
    """One caller's pairs and what is known of them so far.

    With a deadline the pairs are handed out in the order given, most promising first; without one by length, so that
    neighbours in a batch need little padding. Neither changes a score.

    Args:
        pairs: (query, text) pairs.
        deadline: When the caller leaves.
        tokens: Stored token ids of each text, if there are any.
    """

    def __init__(self, pairs: Sequence[Pair], deadline: Deadline, tokens: Sequence[str | None] | None = None) -> None:
        self.pairs = pairs
        self.deadline = deadline
        self.tokens = tokens
        self.logits = np.full(len(pairs), np.nan, dtype=np.float32)
        self.truncated_tokens = np.zeros(len(pairs), dtype=np.int64)
        self.query_truncated_tokens = np.zeros(len(pairs), dtype=np.int64)
        self.token_use = np.zeros(len(pairs), dtype=np.int8)
        self.engine = ""
        self.error: BaseException | None = None
        self.is_open = True
        self.done = threading.Event()
        self.rows_left = 0
        self.cells: list[Cell] = []
        self.todo: deque[Cell] = deque()
        self.queue_s: float | None = None
        self._made_at = time.monotonic()

    def begin(self) -> None:
        """Note that the engine is about to score the first of its pairs."""
        if self.queue_s is None:
            self.queue_s = time.monotonic() - self._made_at

    def scores(self) -> PairScores:
        """Return what has been scored so far; NaN marks the rest."""
        use = None if self.tokens is None else self.token_use.copy()
        return PairScores(
            self.logits.copy(),
            self.truncated_tokens.copy(),
            self.engine,
            token_use=use,
            queue_s=self.queue_s,
            query_truncated_tokens=self.query_truncated_tokens.copy(),
        )

    def record(self, row: int, logit: float, truncated: int, unread: int, use: int, engine: str) -> None:
        """Enter the score of one row."""
        self.logits[row] = logit
        self.truncated_tokens[row] = truncated
        self.query_truncated_tokens[row] = unread
        self.token_use[row] = use
        self.engine = engine
        self.rows_left -= 1


@dataclass(slots=True, eq=False)
class Cell:
    """One distinct pair that somebody waits for.

    Attributes:
        pair: The (query, text) pair.
        cost: See `pair_cost`.
        tokens: Stored token ids of the text, from the first reader that has any.
        readers: Tickets, each with the row that wants the score; several callers may share a cell.
        is_running: Whether it is in the engine now.
        is_settled: Whether it was scored, failed, or lost its last reader.
    """

    pair: Pair
    cost: int
    tokens: str | None = None
    readers: list[tuple[Ticket, int]] = field(default_factory=list)
    is_running: bool = False
    is_settled: bool = False


@dataclass(frozen=True, slots=True)
class Chunk:
    """The part of a batch that one ticket put in; scored alone when the batch as a whole failed."""

    ticket: Ticket
    cells: list[Cell]


class PairQueue:
    """Pairs of all callers, handed out round robin, a chunk a turn. Equal pairs are handed out once."""

    def __init__(self) -> None:
        self._turns: deque[Ticket] = deque()
        self._cells: dict[Pair, Cell] = {}

    def __len__(self) -> int:
        """Return the number of distinct pairs that are waiting or running."""
        return len(self._cells)

    @property
    def waiting(self) -> Iterator[Ticket]:
        """The tickets that have pairs to hand out."""
        return iter(self._turns)

    def add(self, ticket: Ticket, rows: Iterable[int]) -> None:
        """Enqueue the given rows of a ticket; a pair that is already on its way is not enqueued again."""
        for row in rows:
            pair = ticket.pairs[row]
            cell = self._cells.get(pair)
            if cell is None:
                cell = self._cells[pair] = Cell(pair, pair_cost(pair))
            if ticket.tokens is not None and cell.tokens is None:
                cell.tokens = ticket.tokens[row]
            cell.readers.append((ticket, row))
            ticket.cells.append(cell)
            ticket.rows_left += 1
        hurries = math.isfinite(ticket.deadline.at)
        ticket.todo.extend(ticket.cells if hurries else sorted(ticket.cells, key=lambda cell: cell.cost))
        self._turns.append(ticket)

    def take(self, budget: int, share: int) -> list[Chunk]:
        """Return the next batch, marked as running; empty when nothing is waiting.

        Tickets whose deadline is over are closed on the way, so that their callers wake up.

        Args:
            budget: Cost of the batch at most; a single pair beyond it goes alone.
            share: Cost of one turn at most, so that a large request leaves room for others.
        """
        chunks: list[Chunk] = []
        spent = 0
        while self._turns and (spent < budget or not chunks):
            ticket = self._turns.popleft()
            if not ticket.is_open or ticket.deadline.is_over:
                self.close(ticket)
                continue
            cells = _next_cells(ticket, min(share, budget - spent), must_take=not chunks)
            if cells:
                chunks.append(Chunk(ticket, cells))
                spent += sum(cell.cost for cell in cells)
            if ticket.todo:
                if not cells:  # the batch is full: this ticket is the first of the next one
                    self._turns.appendleft(ticket)
                    break
                self._turns.append(ticket)
        return chunks

    def settle(self, cells: Sequence[Cell], scores: PairScores) -> None:
        """Hand scores to all readers. A NaN means that the engine's deadline cut the work short: that pair waits on."""
        uses = [0] * len(cells) if scores.token_use is None else scores.token_use.tolist()
        unread = [0] * len(cells) if scores.query_truncated_tokens is None else scores.query_truncated_tokens.tolist()
        rows = list(zip(cells, scores.logits.tolist(), scores.truncated_tokens.tolist(), unread, uses, strict=True))
        for cell, logit, truncated, query_truncated, use in rows[::-1]:  # what is put back keeps its order
            cell.is_running = False
            if cell.is_settled:
                continue
            if math.isnan(logit):
                self._put_back(cell)
                continue
            self._forget(cell)
            for ticket, row in list(cell.readers):
                ticket.record(row, logit, truncated, query_truncated, use, scores.engine)
                if not ticket.rows_left:
                    self.close(ticket)

    def fail(self, cells: Sequence[Cell], error: BaseException) -> None:
        """Close every ticket that reads one of the cells, with ``error``."""
        for cell in cells:
            cell.is_running = False
            for ticket, _ in list(cell.readers):
                if ticket.is_open and not cell.is_settled:
                    ticket.error = error
                    self.close(ticket)

    def fail_all(self, error: BaseException) -> None:
        """Close every ticket with ``error``."""
        self.fail(list(self._cells.values()), error)
        self._turns.clear()
        self._cells.clear()

    def close(self, ticket: Ticket) -> None:
        """Take a ticket out and wake its caller; pairs that nobody else reads are forgotten. Idempotent."""
        if not ticket.is_open:
            return
        ticket.is_open = False
        for cell in ticket.cells:
            if cell.is_settled:
                continue
            cell.readers = [reader for reader in cell.readers if reader[0] is not ticket]
            if not cell.readers:
                self._forget(cell)
        ticket.cells.clear()
        ticket.todo.clear()
        ticket.done.set()

    def _put_back(self, cell: Cell) -> None:
        for ticket, _ in cell.readers:
            if not ticket.todo:
                self._turns.append(ticket)
            ticket.todo.appendleft(cell)

    def _forget(self, cell: Cell) -> None:
        cell.is_settled = True
        self._cells.pop(cell.pair, None)


def _next_cells(ticket: Ticket, room: int, *, must_take: bool) -> list[Cell]:
    """Take cells off the ticket while they fit in ``room``; the first one always if ``must_take``."""
    cells: list[Cell] = []
    spent = 0
    while ticket.todo:
        cell = ticket.todo[0]
        if not (cell.is_settled or cell.is_running):
            is_first = must_take and not cells
            if spent + cell.cost > room and not is_first:
                break
            cell.is_running = True
            cells.append(cell)
            spent += cell.cost
        ticket.todo.popleft()
    return cells


def halved(chunks: Sequence[Chunk]) -> list[list[Chunk]]:
    """Return a batch as two of half the pairs."""
    cells = [(chunk.ticket, cell) for chunk in chunks for cell in chunk.cells]
    middle = len(cells) // 2
    return [[Chunk(ticket, [cell]) for ticket, cell in half] for half in (cells[:middle], cells[middle:])]


def by_ticket(chunks: Sequence[Chunk]) -> list[list[Chunk]]:
    """Return a batch as one a ticket."""
    cells: dict[Ticket, list[Cell]] = {}
    for chunk in chunks:
        cells.setdefault(chunk.ticket, []).extend(chunk.cells)
    return [[Chunk(ticket, own)] for ticket, own in cells.items()]
