"""What the library writes to the log: to loggers of its modules, and no text that it was given above DEBUG."""

from __future__ import annotations

import ast
import logging
import threading
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

import searchkit
from searchkit import SearchKit
from searchkit.errors import RerankError, SearchkitError
from searchkit.testing import FakeEncoder, FakeReranker

SECRET = "zanzibar"
PACKAGE = Path(searchkit.__file__).parent
VENDORS_LOGGERS = {"cli/bench.py", "evaluation/measures.py", "benchmarking/peers.py"}  # they keep others quiet


def calls_of(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def test_every_module_logs_to_the_logger_of_its_name():
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).as_posix() in VENDORS_LOGGERS:
            continue
        for call in calls_of(path):
            if call.startswith("logging."):
                assert call == "logging.getLogger(__name__)", path
            assert ".addHandler(" not in call, path
            assert ".setLevel(" not in call, path


class QuotingReranker(FakeReranker):
    """Raises errors that quote what they read, as models do."""

    def __init__(self, kind: type[BaseException]) -> None:
        super().__init__()
        self.kind = kind

    def score_pairs(self, pairs, *, deadline=None):
        raise self.kind(f"cannot read {pairs}")


def shown(caplog, above):
    """Return the lines above a level as a handler writes them, tracebacks included."""
    formatter = logging.Formatter("%(name)s %(message)s")
    records = [record for record in caplog.records if record.name.startswith("searchkit")]
    return "\n".join(formatter.format(record) for record in records if record.levelno > above)


@pytest.fixture
def open_kit():
    client = QdrantClient(":memory:")
    opened = []

    def make(reranker):
        opened.append(SearchKit("handbook", client=client, encoder=FakeEncoder(), reranker=reranker))
        opened[-1].add([{"id": n, "text": f"Wages of {SECRET} {n}", "town": SECRET} for n in range(20)])
        return opened[-1]

    yield make
    for kit in opened:
        kit.close()
    client.close()


@pytest.mark.parametrize("kind", [ValueError, RerankError, SystemExit])
def test_a_degraded_search_warns_without_the_text_that_the_error_quotes(open_kit, caplog, kind):
    caplog.set_level(logging.DEBUG, logger="searchkit")
    result = open_kit(QuotingReranker(kind)).search(f"wages in {SECRET}", criteria=f"{SECRET} pays")
    assert (result.status, SECRET in result.reason) == ("degraded", True)
    assert "stage 2 failed, answering in first-stage order: RerankError" in shown(caplog, logging.INFO)
    assert SECRET not in shown(caplog, logging.DEBUG)
    assert SECRET in shown(caplog, logging.NOTSET)  # who asks for it gets all


def test_a_shared_call_that_fails_warns_without_the_text_that_the_error_quotes(open_kit, caplog):
    caplog.set_level(logging.DEBUG, logger="searchkit")
    first_runs, everybody_waits = threading.Event(), threading.Event()

    class Failing(FakeReranker):
        def score_pairs(self, pairs, *, deadline=None):
            if not first_runs.is_set():
                first_runs.set()
                everybody_waits.wait(30)
                return super().score_pairs(pairs, deadline=deadline)
            raise ValueError(f"cannot read {pairs}")

    kit = open_kit(Failing())
    threads = [threading.Thread(target=kit.search, args=(f"{SECRET} {n}",)) for n in range(4)]
    threads[0].start()
    assert first_runs.wait(30)
    for thread in threads[1:]:
        thread.start()
    queue = kit._parts.scheduled._engine_thread._queue
    for _ in range(3000):
        if len(queue) >= 80:  # all four queries with their 20 passages
            break
        threading.Event().wait(0.01)
    everybody_waits.set()
    for thread in threads:
        thread.join(30)
    assert "trying again in parts" in shown(caplog, logging.INFO)
    assert SECRET not in shown(caplog, logging.DEBUG)


def test_refused_passages_and_arguments_are_not_logged(open_kit, caplog):
    caplog.set_level(logging.DEBUG, logger="searchkit")
    kit = open_kit(FakeReranker())
    for call in (
        lambda: kit.add([{"id": 1, "text": f"{SECRET}\ud800"}]),
        lambda: kit.search(SECRET + "\x00"),
        lambda: kit.search("wages", filter={"town": {"like": SECRET}}),
    ):
        with pytest.raises(SearchkitError):
            call()
    assert SECRET not in shown(caplog, logging.DEBUG)
