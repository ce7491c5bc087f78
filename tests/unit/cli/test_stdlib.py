from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import warnings
from collections import Counter
from pathlib import Path

import pytest

from searchkit.cli.stdlib import StandardLibrary, read_standard_library, standard_library_passages

_DIGEST = """
import hashlib
from searchkit.cli.stdlib import standard_library_passages
digest = hashlib.sha256()
for passage in standard_library_passages():
    digest.update(passage.model_dump_json().encode())
print(digest.hexdigest())
"""


@pytest.fixture(scope="module")
def library() -> StandardLibrary:
    return read_standard_library()


@pytest.fixture(scope="module")
def texts(library: StandardLibrary) -> dict[str, str]:
    return {str(passage.id): passage.text for passage in library.passages}


def test_the_library_has_at_least_five_thousand_passages(library: StandardLibrary) -> None:
    assert len(library.passages) >= 5000


def test_five_thousand_passages_remain_without_the_modules_of_the_window_toolkit(library: StandardLibrary) -> None:
    # A Python without Tk is common; the promise must hold there as well.
    modules = Counter(passage.metadata["module"].partition(".")[0] for passage in library.passages)
    assert modules.total() - modules["tkinter"] - modules["turtle"] >= 5000


def test_every_name_occurs_once_and_in_order(library: StandardLibrary) -> None:
    ids = [str(passage.id) for passage in library.passages]
    assert ids == sorted(set(ids))


def test_every_text_carries_its_own_name_and_no_address(texts: dict[str, str]) -> None:
    assert [name for name, text in texts.items() if name not in text.splitlines()[0]] == []
    assert [name for name, text in texts.items() if " at 0x" in text.splitlines()[0]] == []


def test_metadata_name_the_module_the_kind_and_the_name_inside_the_module(library: StandardLibrary) -> None:
    by_id = {passage.id: passage.metadata for passage in library.passages}
    assert by_id["pathlib.Path.read_text"] == {"module": "pathlib", "kind": "method", "name": "Path.read_text"}
    assert by_id["subprocess"] == {"module": "subprocess", "kind": "module", "name": "subprocess"}
    assert set(Counter(metadata["kind"] for metadata in by_id.values())) == {
        "module",
        "class",
        "function",
        "method",
        "property",
    }


@pytest.mark.parametrize(
    ("known_as", "never_as"),
    [
        ("asyncio.run", "asyncio.runners.run"),
        ("asyncio.TaskGroup", "asyncio.taskgroups.TaskGroup"),
        ("builtins.open", "io.open"),
        ("concurrent.futures.ThreadPoolExecutor", "concurrent.futures.thread.ThreadPoolExecutor"),
        ("functools.wraps", "contextlib.wraps"),
        ("heapq.heappush", "_heapq.heappush"),
        ("io.IOBase.readline", "io.TextIOWrapper.IOBase.readline"),
        ("os.path.join", "posixpath.join"),
        ("os.listdir", "posix.listdir"),
        ("random.randint", "random.Random.randint"),
        ("socket.socket.recv", "socket.SocketType.recv"),
        ("unittest.TestCase.assertRaises", "unittest.case.TestCase.assertRaises"),
    ],
)
def test_an_object_is_documented_once_under_the_name_people_know(
    texts: dict[str, str], known_as: str, never_as: str
) -> None:
    if known_as == "asyncio.TaskGroup" and sys.version_info < (3, 11):
        pytest.skip("asyncio.TaskGroup is new in 3.11")
    assert known_as in texts
    assert never_as not in texts


def test_a_function_bound_from_another_modules_class_is_documented_in_both(texts: dict[str, str]) -> None:
    assert {"random.choice", "secrets.choice"} <= set(texts)


def test_methods_of_a_private_base_belong_to_its_namesake(texts: dict[str, str]) -> None:
    assert "contextlib.ExitStack.enter_context" in texts
    assert "contextlib.AsyncExitStack.enter_context" not in texts


def test_a_text_is_the_signature_and_the_docstring(texts: dict[str, str]) -> None:
    assert texts["shlex.quote"] == "shlex.quote(s)\n\nReturn a shell-escaped version of the string *s*."


def test_the_constructors_docstring_is_part_of_the_class(texts: dict[str, str]) -> None:
    text = texts["logging.FileHandler"]
    assert "writes formatted logging records to disk files" in text
    assert "Open the specified file and use it as the stream" in text


def test_a_listed_class_without_docstring_is_there_with_its_signature(texts: dict[str, str]) -> None:
    assert texts["csv.DictReader"].startswith("class csv.DictReader(f, fieldnames=None")


@pytest.mark.parametrize("module", ["antigravity", "this", "idlelib", "test", "turtledemo", "encodings.cp1252", "_io"])
def test_modules_that_do_something_or_are_no_library_are_left_out(texts: dict[str, str], module: str) -> None:
    assert [name for name in texts if name == module or name.startswith(f"{module}.")] == []


def test_reading_is_silent_and_starts_no_thread(capfd: pytest.CaptureFixture[str]) -> None:
    threads = set(threading.enumerate())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert next(iter(standard_library_passages())).id
    assert set(threading.enumerate()) <= threads  # those of earlier tests may end meanwhile
    assert capfd.readouterr() == ("", "")


def test_a_fresh_interpreter_prints_nothing_while_it_imports_the_library() -> None:
    code = "from searchkit.cli.stdlib import read_standard_library; read_standard_library()"
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, check=True, timeout=60)
    assert done.stdout == b""
    assert done.stderr == b""


def test_two_interpreters_read_the_same_whatever_their_hash_seed() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", _DIGEST],
            capture_output=True,
            check=True,
            timeout=60,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1
    assert len(digests.pop().strip()) == hashlib.sha256().digest_size * 2


def test_a_module_that_fails_to_import_is_reported_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "brokenmodule.py").write_text("raise OSError('no such device')")
    (tmp_path / "soundmodule.py").write_text('"""Says hello."""\nprint("hello")\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "stdlib_module_names", frozenset({"brokenmodule", "soundmodule", "json"}))
    library = read_standard_library()
    assert library.missing == {"brokenmodule": "OSError: no such device"}
    assert "soundmodule" in {passage.id for passage in library.passages}
    assert "json.loads" in {passage.id for passage in library.passages}
    sys.modules.pop("soundmodule")


def test_passages_survive_json(library: StandardLibrary) -> None:
    for passage in library.passages:
        assert json.loads(passage.model_dump_json())["id"] == passage.id
