"""Bad input: one table. Each row gets an error of ours that says what to do, and the collection stays as it was."""

from __future__ import annotations

import math
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from searchkit import CrossEncoderReranker, Passage, SearchKit, SearchKitConfig, SentenceEncoder
from searchkit.collection.manifest import manifest_of
from searchkit.config import WindowConfig
from searchkit.errors import (
    CollectionError,
    ConfigError,
    EncodingError,
    MissingExtraError,
    ModelLoadError,
    PayloadError,
    SearchkitError,
)
from searchkit.testing import FakeEncoder, FakeReranker, FakeSparseEncoder

SEED = [{"id": "a", "text": "alpha beta", "n": 1}, {"id": "b", "text": "gamma delta", "n": 2}]


class NanEncoder(FakeEncoder):
    """Turns into a broken model when told so."""

    broken = False

    def encode_passages(self, texts):
        vectors = super().encode_passages(texts)
        if self.broken:
            vectors[-1, 3] = math.nan
        return vectors

    def encode_queries(self, texts):
        vectors = super().encode_queries(texts)
        return vectors * np.float32(math.nan) if self.broken else vectors


class WrongDimension(FakeEncoder):
    """Says one dimension and delivers another."""

    short = False

    def encode_passages(self, texts):
        vectors = super().encode_passages(texts)
        return vectors[:, :-1] if self.short else vectors


class MixedEncoder(NanEncoder, WrongDimension):
    """Both faults, switched on by a test."""


class Table(list):
    """Going through a data frame yields the names of its columns."""

    columns = ("id", "text")


class Raising(FakeEncoder):
    """Breaks down when told so."""

    fault = None

    def encode_passages(self, texts):
        return self._spoiled(super().encode_passages(texts))

    def encode_queries(self, texts):
        return self._spoiled(super().encode_queries(texts))

    def _spoiled(self, vectors):
        if isinstance(self.fault, Exception):
            raise self.fault
        return vectors if self.fault is None else self.fault


def as_stored(kit):
    return kit.count(), [passage.model_dump() for passage in kit.get(["a", "b"])]


# (name, what is done, the error, a part of its sentence)
TABLE = [
    ("empty query", lambda k: k.search(""), ConfigError, "query is empty: pass at least one word"),
    ("blank query", lambda k: k.search(" \n "), ConfigError, "query is empty"),
    ("query of 100,000 characters", lambda k: k.search("x" * 100_000), ConfigError, "100,000 characters"),
    ("lone surrogate in the query", lambda k: k.search("a\ud800"), ConfigError, "lone surrogate"),
    ("NUL in the query", lambda k: k.search("a\x00b"), ConfigError, "NUL character at offset 1"),
    ("query of a wrong type", lambda k: k.search(5), ConfigError, "must be a string, got int"),
    ("queries as one string", lambda k: k.search_batch("one"), ConfigError, "pass a list of strings"),
    (
        "criteria for fewer queries",
        lambda k: k.search_batch(["a", "b"], criteria=["c"]),
        ConfigError,
        "1 criteria for 2",
    ),
    ("top_k zero", lambda k: k.search("q", top_k=0), ConfigError, "top_k=0"),
    ("top_k negative", lambda k: k.search("q", top_k=-1), ConfigError, "top_k=-1"),
    ("top_k a string", lambda k: k.search("q", top_k="10"), ConfigError, "top_k='10'"),
    (
        "candidate_depth below top_k",
        lambda k: k.search("q", top_k=9, candidate_depth=5),
        ConfigError,
        "raise candidate_depth",
    ),
    ("unknown mode", lambda k: k.search("q", mode="fuzzy"), ConfigError, '"hybrid", "dense" or "sparse"'),
    (
        "min_score without stage 2",
        lambda k: k.search("q", min_score=0.5, rerank=False),
        ConfigError,
        "needs rerank=True",
    ),
    ("unknown filter operator", lambda k: k.search("q", filter={"n": {"above": 1}}), ConfigError, "above"),
    ("unknown operator in count", lambda k: k.count({"n": {"like": "x"}}), ConfigError, "like"),
    ("filter of a wrong type", lambda k: k.search("q", filter="n = 1"), ConfigError, "filter"),
    ("passage without text", lambda k: k.add([{"id": "c"}]), PayloadError, "text"),
    ("passage with empty text", lambda k: k.add([{"id": "c", "text": "  "}]), PayloadError, "c"),
    ("passage of a wrong type", lambda k: k.add([42]), PayloadError, "int"),
    ("text of a wrong type", lambda k: k.add([{"id": "c", "text": 3}]), PayloadError, "text"),
    ("good before bad in one list", lambda k: k.add([{"id": "c", "text": "fine"}, {"id": "d"}]), PayloadError, "text"),
    ("duplicate ids", lambda k: k.add([{"id": "c", "text": "x"}, {"id": "c", "text": "y"}]), PayloadError, "c"),
    ("id of a wrong type", lambda k: k.add([{"id": 1.5, "text": "x"}]), PayloadError, "1.5"),
    ("bool as id", lambda k: k.add([{"id": True, "text": "x"}]), PayloadError, "True"),
    ("negative id", lambda k: k.add([{"id": -1, "text": "x"}]), PayloadError, "-1"),
    ("empty id", lambda k: k.add([{"id": "", "text": "x"}]), PayloadError, "id"),
    ("passage of 10 MB", lambda k: k.add([{"id": "c", "text": "word " * 2_000_000}]), PayloadError, "10000000"),
    ("lone surrogate in a passage", lambda k: k.add([{"id": "c", "text": "a\udfff"}]), PayloadError, "surrogate"),
    ("NUL in a passage", lambda k: k.add([{"id": "c", "text": "a\x00"}]), PayloadError, "NUL"),
    ("metadata that is no JSON", lambda k: k.add([{"id": "c", "text": "x", "o": object()}]), PayloadError, "o"),
    ("NaN in metadata", lambda k: k.add([{"id": "c", "text": "x", "v": math.nan}]), PayloadError, "v"),
    ("passages as one string", lambda k: k.add("some text"), PayloadError, "list"),
    ("delete without saying what", lambda k: k.delete(), ConfigError, "ids"),
    ("delete by ids and filter", lambda k: k.delete(["a"], filter={"n": 1}), ConfigError, "ids"),
    ("delete by a native filter of nothing", lambda k: k.delete(filter=models.Filter(must=[])), ConfigError, "empty"),
    ("delete by what is not among none", lambda k: k.delete(filter={"n": {"not": []}}), ConfigError, "empty"),
    ("delete by not among none", lambda k: k.delete(filter={"$not": {"n": []}}), ConfigError, "empty"),
    (
        "delete by groups that hold for all",
        lambda k: k.delete(filter={"$or": [{"n": 1}, {"$and": [{"n": {"not": ()}}]}]}),
        ConfigError,
        "empty",
    ),
    (
        "delete by not among none and something else",
        lambda k: k.delete(filter={"$not": {"n": [], "m": 1}}),
        ConfigError,
        "empty",
    ),
    ("criteria of a wrong type", lambda k: k.search("q", criteria=["x"]), ConfigError, "criteria must be a string"),
    ("no queries and top_k zero", lambda k: k.search_batch([], top_k=0), ConfigError, "top_k=0"),
    ("an endless number in a filter", lambda k: k.count({"n": {"gt": 10**400}}), ConfigError, "'gt' of 'n'"),
    ("too many passages to rerank", lambda k: k.rerank("q", ["a"] * 10_001), ConfigError, "10,001 passages"),
    ("a table", lambda k: k.add(Table()), PayloadError, "to_dict('records')"),
    ("get with a wrong id", lambda k: k.get([None]), PayloadError, "None"),
    ("scores for fewer passages", lambda k: k.rerank("q", ["a", "b"], scores=[0.1]), ConfigError, "1 scores for 2"),
    ("NaN among the scores", lambda k: k.rerank("q", ["a"], scores=[math.nan]), ConfigError, "nan"),
    ("passage without text in rerank", lambda k: k.rerank("q", [{"id": 1}]), PayloadError, "text"),
]


@pytest.fixture(params=["embedded", "memory"])
def place(request, tmp_path):
    if request.param == "embedded":
        yield {"path": tmp_path / "data"}
    else:
        client = QdrantClient(":memory:")
        yield {"client": client}
        client.close()


def opened(place, *, encoder=None, config=None):
    return SearchKit("c", **place, encoder=encoder or FakeEncoder(), reranker=FakeReranker(), config=config)


@pytest.mark.parametrize(("name", "act", "error", "sentence"), TABLE, ids=[row[0] for row in TABLE])
def test_bad_input_is_our_error_and_changes_nothing(place, name, act, error, sentence):
    with opened(place) as kit:
        kit.add(SEED)
        before = as_stored(kit)
        with pytest.raises(error) as caught:
            act(kit)
        assert isinstance(caught.value, SearchkitError)
        assert sentence in str(caught.value)
        assert as_stored(kit) == before
        assert kit.search("alpha beta")[0].id == "a"


def test_a_filter_that_leaves_some_out_is_no_empty_one(place):
    with opened(place) as kit:
        kit.add(SEED)
        assert kit.delete(filter={"$and": [{"n": {"not": []}}, {"n": 1}]}) == 1
        assert kit.delete(filter={"$not": {"$or": [{"n": []}, {"n": 1}]}}) == 1
        assert kit.delete(filter={"n": []}) == 0


@pytest.mark.parametrize("fault", ["broken", "short"])
def test_an_encoder_gone_wrong_writes_nothing(place, fault):
    encoder = MixedEncoder()
    with opened(place, encoder=encoder) as kit:
        kit.add(SEED)
        before = as_stored(kit)
        setattr(encoder, fault, True)
        with pytest.raises(EncodingError, match=r"NaN|finite|dimension|shape"):
            kit.add([{"id": "c", "text": "new"}])
        setattr(encoder, fault, False)
        assert as_stored(kit) == before


def test_a_nan_query_vector_is_refused(place):
    encoder = MixedEncoder()
    with opened(place, encoder=encoder) as kit:
        kit.add(SEED)
        encoder.broken = True
        with pytest.raises(EncodingError, match=r"NaN|finite"):
            kit.search("alpha")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"encoder": FakeEncoder(name="other")}, "other"),
        ({"encoder": FakeEncoder(32)}, "32"),
        ({"config": SearchKitConfig(windows=WindowConfig(max_tokens=64))}, "64"),
    ],
    ids=["another model", "another dimension", "another chunker"],
)
def test_a_collection_made_otherwise_is_refused_and_intact(place, arguments, sentence):
    with opened(place) as kit:
        kit.add(SEED)
        before = as_stored(kit)
    with pytest.raises(CollectionError, match=sentence):
        opened(place, **arguments).search("alpha")
    with opened(place) as kit:
        assert as_stored(kit) == before


def test_a_folder_in_use_by_another_process_is_refused(tmp_path):
    code = f"""
    import sys
    from searchkit import SearchKit
    from searchkit.testing import FakeEncoder, FakeReranker
    kit = SearchKit("c", path={str(tmp_path)!r}, encoder=FakeEncoder(), reranker=FakeReranker())
    kit.add(["held by the child"])
    print("ready", flush=True)
    sys.stdin.read()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout.readline().strip() == "ready"
        with pytest.raises(CollectionError, match="another process"):
            opened({"path": tmp_path}).count()
        child.communicate("")
    with opened({"path": tmp_path}) as kit:
        assert kit.count() == 1


def test_a_folder_that_is_not_ours_is_refused_and_untouched(tmp_path):
    folder = tmp_path / "c"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(CollectionError, match="not"):
        opened({"path": tmp_path}).add(SEED)
    assert [entry.name for entry in folder.iterdir()] == ["thesis.txt"]
    assert (folder / "thesis.txt").read_text() == "years of work"


def test_a_foreign_qdrant_collection_is_refused_and_untouched():
    client = QdrantClient(":memory:")
    client.create_collection("c", vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT))
    with pytest.raises(CollectionError, match="searchkit"):
        opened({"client": client}).add(SEED)
    assert client.count("c").count == 0
    client.close()


@pytest.mark.parametrize(
    "act",
    [lambda k: k.search("q"), lambda k: k.count(), lambda k: k.get(["a"])],
    ids=["search", "count", "get"],
)
def test_a_collection_that_does_not_exist_says_to_add_first_and_is_not_made(tmp_path, act):
    with opened({"path": tmp_path / "data"}) as kit, pytest.raises(CollectionError, match="add"):
        act(kit)
    assert not (tmp_path / "data" / "c").exists()


@pytest.mark.parametrize("name", ["", "a/b", "..", "../up", "a\x00b", "a\\b"])
def test_a_collection_name_that_is_a_path_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="name"):
        SearchKit(name, path=tmp_path, encoder=FakeEncoder(), reranker=FakeReranker())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"path": "x", "url": "http://localhost:1"}, "path and url"),
        ({"api_key": "k"}, "api_key was given without url"),
        ({"encoder": "all-MiniLM-L6-v2"}, "pass an object such as SentenceEncoder"),
        ({"reranker": "ms-marco"}, "pass an object such as CrossEncoderReranker"),
        ({"config": {"blend": "off"}}, "no SearchKitConfig"),
    ],
)
def test_contradictory_construction_is_refused(arguments, sentence):
    with pytest.raises(ConfigError, match=sentence):
        SearchKit("c", **arguments)


@pytest.mark.parametrize("name", ["no-such-org/no-such-model", "../secret", "/etc/passwd"])
def test_a_model_that_is_nowhere_says_where_it_was_looked_for(name, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelLoadError, match=r"\w"):
        CrossEncoderReranker(name).predict([("a", "b")])
    with pytest.raises(EncodingError, match=r"\w"):
        SentenceEncoder(name).encode_queries(["a"])


def test_a_missing_extra_says_how_to_install_it():
    code = "import sys; sys.modules['typer'] = None\nfrom searchkit.cli import main\nsys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'searchkit[cli]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert issubclass(MissingExtraError, SearchkitError)


def test_passage_objects_are_checked_like_dicts(place):
    with opened(place) as kit, pytest.raises(PayloadError, match="empty"):
        kit.add([Passage(text="   ")])


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [(RuntimeError("no driver"), "raised RuntimeError: no driver"), ([], "shape"), ([[1.0], [1.0, 2.0]], "raised")],
)
def test_whatever_an_encoder_does_is_an_error_of_ours(place, fault, sentence):
    encoder = Raising()
    with opened(place, encoder=encoder) as kit:
        kit.add(SEED)
        encoder.fault = fault
        for act in (lambda: kit.search("alpha"), lambda: kit.add(["new text"])):
            with pytest.raises(EncodingError, match=sentence):
                act()
        encoder.fault = None
        assert kit.count() == 2


@pytest.mark.parametrize(
    ("kind", "bad", "good"),
    [
        ("integer", 2021.5, [2021, [2021, 2022], None]),
        ("integer", True, [0]),
        ("float", "12", [12, 12.5]),
        ("datetime", 2021, ["2021-01-01", "2021-01-01T10:00:00Z"]),
        ("datetime", "soon", ["2021-01-01"]),
        ("keyword", ["a", 7], [["a", "b"], "a"]),
        ("bool", 1, [True, False]),
        ("text", 5, ["a text"]),
    ],
)
def test_a_value_that_its_fields_index_would_pass_over_is_refused(place, kind, bad, good):
    with opened(place, config=SearchKitConfig(filter_fields={"v": kind, "a.v": kind})) as kit:
        for row in ({"v": bad}, {"a": {"v": bad}}):
            with pytest.raises(PayloadError, match=f"filter_fields declares it as {kind}"):
                kit.add([{"text": "x", **row}])
        assert kit.add([{"id": n, "text": f"x {n}", "v": value, "a": {"v": value}} for n, value in enumerate(good)])
        assert kit.count() == len(good)


@pytest.mark.parametrize(
    "arguments", [{"path": 5}, {"path": b"x"}, {"path": ""}, {"path": "a\x00b"}, {"url": 5}, {"url": " "}]
)
def test_a_place_that_is_none_is_refused(arguments):
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        SearchKit("c", **arguments)


@pytest.mark.parametrize(
    "settings", [{"fusion": {"dense_weight": math.inf}}, {"fusion": {"dense_weight": 0, "sparse_weight": 0}},
                 {"timeout_s": math.inf}]
)  # fmt: skip
def test_settings_that_would_spoil_every_search_are_refused(settings):
    with pytest.raises(ConfigError):
        SearchKitConfig.model_validate(settings)


def test_a_small_window_gets_a_small_overlap_by_itself():
    def overlap(**windows):
        config = SearchKitConfig(windows=WindowConfig(**windows))
        return manifest_of(FakeEncoder(max_tokens=256), FakeSparseEncoder(), config).overlap_tokens

    assert (overlap(max_tokens=16), overlap(), overlap(max_tokens=16, overlap_tokens=8)) == (4, 32, 8)
    with pytest.raises(ConfigError, match="more than half"):
        overlap(max_tokens=16, overlap_tokens=9)
