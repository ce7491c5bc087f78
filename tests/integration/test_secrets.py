"""An API key is sent to its server and shows nowhere else, whatever goes wrong on the way."""

from __future__ import annotations

import json
import logging
import pickle
import traceback
from pathlib import Path
from types import FunctionType, ModuleType

import pytest
from pydantic import SecretStr
from starlette.responses import Response
from typer.testing import CliRunner

import searchkit
from searchkit import SearchKit, SearchKitConfig
from searchkit.cli.app import create_app
from searchkit.cli.session import Place
from searchkit.errors import ConfigError, SearchkitError
from searchkit.testing import FakeEncoder, FakeReranker
from tests.wire.proxy import KINDS, FaultyProxy
from tests.wire.server import WireServer

CANARY = "canary-1f0e9d"
PACKAGE = str(Path(searchkit.__file__).parent)
CONFIG = SearchKitConfig.model_validate(
    {"timeout_s": 0.3, "server": {"retry": {"attempts": 2, "base_s": 0.001, "cap_s": 0.002}}}
)


def shown_by(value, *, into_vendors=True):
    """Yield what an object and all that hangs on it print of themselves; secrets that hide themselves are skipped.

    A connection in use holds the request that it sends, the key included, deep in httpcore's objects.
    """
    waiting, seen = [value], {}
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, (type, FunctionType, ModuleType, SecretStr)):
            continue
        seen[id(one)] = one
        assert len(seen) < 200_000
        if isinstance(one, (str, bytes)):
            yield str(one)
            continue
        if isinstance(one, dict):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, (list, tuple, set, frozenset)):
            waiting += one
        else:
            yield repr(one)
            if not (into_vendors or type(one).__module__.startswith("searchkit")):
                continue
        waiting += getattr(one, "__dict__", {}).values()
        slots = [name for kind in type(one).__mro__ for name in getattr(kind, "__slots__", ())]
        waiting += [getattr(one, name) for name in slots if hasattr(one, name)]


def told_by(error):
    """Yield all that an error and its causes tell: words, arguments, attributes, pickles, and our frames' variables."""
    yield "".join(traceback.format_exception(error))
    while error is not None:
        yield from (str(error), repr(error), json.dumps(error.args, default=repr))
        yield from shown_by([error.args, vars(error)])
        if isinstance(error, SearchkitError):
            yield repr(pickle.dumps(error))
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if frame.f_code.co_filename.startswith(PACKAGE):
                yield from shown_by(dict(frame.f_locals), into_vendors=False)
        error = error.__cause__ or error.__context__


def open_kit(url, name="things"):
    return SearchKit(name, url=url, api_key=CANARY, encoder=FakeEncoder(16), reranker=FakeReranker(), config=CONFIG)


def check_silence(url, caplog):
    """Every way to a server ends in one of our errors, and none tells the key."""
    ways = [
        lambda: open_kit(url),
        lambda: SearchKit.attach("things", url=url, api_key=CANARY, encoder=FakeEncoder(16), config=CONFIG),
    ]
    for way in ways:
        with pytest.raises(SearchkitError) as caught:
            way()
        assert not [text for text in told_by(caught.value) if CANARY in text]
    assert CANARY not in caplog.text


@pytest.fixture(autouse=True)
def _log_everything(caplog):
    caplog.set_level(logging.DEBUG)


def test_a_server_that_is_not_there(caplog):
    check_silence("http://127.0.0.1:1", caplog)


def test_a_server_that_refuses_the_key(caplog):
    with WireServer(api_key="another") as server:
        check_silence(server.url, caplog)


@pytest.mark.parametrize(
    ("status", "content"), [(500, b"no"), (403, b'{"status":{"error":"no"}}'), (200, b"{"), (200, b'{"result":7}')]
)
def test_a_server_that_answers_nonsense(caplog, status, content):
    with WireServer() as server:
        for _ in range(12):
            server.planned.append(("/things", Response(content, status, media_type="application/json")))
        check_silence(server.url, caplog)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_network_that_breaks_every_request(caplog, kind):
    with WireServer(api_key=CANARY) as server, FaultyProxy(server.port, kind, 0, rate=1.0) as proxy:
        check_silence(proxy.url, caplog)


def test_a_kit_at_work_shows_no_key(caplog):
    with WireServer(api_key=CANARY) as server, open_kit(server.url) as kit:
        kit.add(["one text", "another text"])
        result = kit.search("text")
        shown = [*shown_by(kit), repr(kit), str(kit), result.model_dump_json(), CONFIG.model_dump_json()]
        shown.append(repr(server.store.local.get_collection("things")))
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(kit)
    assert not [text for text in shown if CANARY in text]
    assert CANARY not in caplog.text


@pytest.mark.parametrize("key", [f"{CANARY}\n", f" {CANARY}", f"{CANARY}\x00", f"{CANARY}é", 5])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(key):
    with pytest.raises(ConfigError, match="api_key") as caught:
        SearchKit("things", url="http://127.0.0.1:1", api_key=key, encoder=FakeEncoder(), reranker=FakeReranker())
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_no_command_prints_the_key(debug):
    def opened(place):
        assert CANARY not in repr(place)
        return open_kit(place.url)

    with WireServer(api_key="another") as server:
        for url in ("http://127.0.0.1:1", server.url):
            for command in (["search", "words"], ["index", ".", "-c", "things"]):
                arguments = [*debug, *command, "--url", url, "--api-key", CANARY]
                done = CliRunner().invoke(create_app(opened), arguments)
                assert done.exit_code == 1
                assert "cannot open the collection" in done.output
                assert CANARY not in done.output


def test_a_place_hides_its_key():
    assert repr(Place("things", url="https://example.org", api_key=CANARY)).count(CANARY) == 0
