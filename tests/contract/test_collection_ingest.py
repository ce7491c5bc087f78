"""What `Collection.add`, `get`, `count` and `delete` promise, on every engine."""

from __future__ import annotations

import numpy as np
import pytest

from searchkit.errors import CollectionError, ConfigError, EncodingError, PayloadError
from searchkit.testing import FakeEncoder
from searchkit.types import Passage

LONG = " ".join(f"Sentence {n} speaks of thing{n} and other{n} matters." for n in range(40))


def texts(collection, *ids):
    return [passage.text for passage in collection.get(list(ids))]


def test_three_forms_of_a_passage_are_accepted(collection):
    report = collection.add(["plain", {"id": "d", "text": "a dict"}, Passage(id="p", text="an object")])
    assert (report.added, collection.count()) == (3, 3)
    assert texts(collection, "d", "p") == ["a dict", "an object"]


def test_any_iterable_is_accepted(collection):
    assert collection.add({"id": n, "text": f"text {n}"} for n in range(7)).added == 7


def test_adding_nothing_creates_nothing(collection):
    assert collection.add([]).added == 0
    assert not collection.exists


def test_the_first_add_creates_the_collection(collection):
    assert not collection.exists
    collection.add(["a text"])
    assert collection.exists


def test_a_second_add_of_the_same_is_unchanged_and_not_encoded(place):
    encoder = FakeEncoder(64, max_tokens=34)
    collection = place.open(encoder=encoder)
    passages = [{"id": n, "text": f"text {n}", "n": n} for n in range(20)]
    collection.add(passages)
    encoded = encoder.encoded_count
    report = collection.add(passages)
    assert (report.added, report.updated, report.unchanged) == (0, 0, 20)
    assert encoder.encoded_count == encoded


def test_only_changed_passages_are_encoded_again(place):
    encoder = FakeEncoder(64, max_tokens=34)
    collection = place.open(encoder=encoder)
    collection.add([{"id": n, "text": f"text {n}"} for n in range(20)])
    encoded = encoder.encoded_count
    report = collection.add([{"id": n, "text": f"text {n}" if n else "another text"} for n in range(20)])
    assert (report.updated, report.unchanged) == (1, 19)
    assert encoder.encoded_count == encoded + 1


def test_a_changed_text_replaces_the_old_one(collection):
    collection.add([{"id": "a", "text": "before"}])
    assert collection.add([{"id": "a", "text": "after"}]).updated == 1
    assert (texts(collection, "a"), collection.count()) == (["after"], 1)


def test_changed_metadata_is_an_update(collection):
    collection.add([{"id": "a", "text": "same", "lang": "en", "draft": True}])
    assert collection.add([{"id": "a", "text": "same", "lang": "de"}]).updated == 1
    assert collection.get(["a"])[0].metadata == {"lang": "de"}
    assert collection.count({"draft": True}) == 0


def test_the_order_of_metadata_keys_is_no_change(collection):
    collection.add([{"id": "a", "text": "t", "metadata": {"x": 1, "y": {"p": 1, "q": 2}}}])
    assert collection.add([{"id": "a", "text": "t", "metadata": {"y": {"q": 2, "p": 1}, "x": 1}}]).unchanged == 1


def test_integer_and_string_ids_differ(collection):
    collection.add([{"id": 1, "text": "an integer"}, {"id": "1", "text": "a string"}])
    assert collection.count() == 2
    assert texts(collection, 1, "1") == ["an integer", "a string"]


@pytest.mark.parametrize("passage_id", ["ü/ß", "日本語", "a" * 1000, "with space", "..", '"', "'; drop", 0, 2**63 - 1])
def test_unusual_ids_come_back_as_they_are(collection, passage_id):
    collection.add([{"id": passage_id, "text": "some text"}])
    [passage] = collection.get([passage_id])
    assert passage.id == passage_id
    assert type(passage.id) is type(passage_id)


def test_a_passage_without_id_gets_one_from_its_text(collection):
    assert collection.add(["the same text"]).added == 1
    assert collection.add(["the same text"]).unchanged == 1
    assert collection.count() == 1


@pytest.mark.parametrize(
    "text",
    ["ünïcödé", "日本語のテキスト", "👩‍👩‍👧‍👦 family", "line\nbreak\ttab", "עברית", "x", "e\u0301"],
)
def test_texts_come_back_unchanged(collection, text):
    collection.add([{"id": "a", "text": text}])
    assert texts(collection, "a") == [text]


def test_metadata_comes_back_unchanged(collection):
    metadata = {
        "string": "s",
        "integer": 2**60,
        "float": 0.1,
        "true": True,
        "null": None,
        "list": [1, "two", [3.5], {"four": False}],
        "nested": {"deep": {"er": "x"}},
        "empty": {},
        "with space": 1,
        "a.b": 2,
    }
    collection.add([{"id": "a", "text": "t", "metadata": metadata}])
    assert collection.get(["a"])[0].metadata == metadata


def test_numpy_metadata_is_stored_as_numbers(collection):
    collection.add([{"id": "a", "text": "t", "n": np.int64(3), "f": np.float32(0.5), "v": np.array([1, 2])}])
    assert collection.get(["a"])[0].metadata == {"n": 3, "f": 0.5, "v": [1, 2]}


def test_a_repeated_passage_is_skipped_with_a_reason(collection):
    report = collection.add([{"id": "a", "text": "t"}, {"id": "a", "text": "t"}])
    assert report.added == 1
    assert [skipped.id for skipped in report.skipped] == ["a"]
    assert "before in this call" in report.skipped[0].reason


def test_a_repeat_in_a_later_batch_is_skipped_too(place):
    collection = place.open(ingest={"batch_size": 2})
    report = collection.add({"id": n % 3, "text": f"text {n % 3}"} for n in range(9))
    assert (report.added, len(report.skipped), collection.count()) == (3, 6, 3)


def test_an_id_with_two_texts_in_one_call_is_an_error_and_writes_nothing(collection):
    with pytest.raises(PayloadError, match="'a' came before"):
        collection.add([{"id": "a", "text": "one"}, {"id": "a", "text": "two"}])
    assert not collection.exists


def test_an_id_with_two_texts_in_a_stream_is_found_across_batches(place):
    collection = place.open(ingest={"batch_size": 2})
    with pytest.raises(PayloadError, match=r"came before.*4 passages before it were written"):
        collection.add(iter([{"id": n, "text": f"t{n}"} for n in range(4)] + [{"id": 0, "text": "other"}]))
    assert texts(collection, 0) == ["t0"]


def test_a_bad_passage_in_a_list_stops_everything(collection):
    collection.add([{"id": "old", "text": "old"}])
    with pytest.raises(PayloadError, match="position 2"):
        collection.add([{"id": "x", "text": "x"}, {"id": "y", "text": "y"}, {"id": "z"}])
    assert collection.count() == 1


def test_a_bad_passage_in_a_stream_keeps_the_batches_before(place):
    collection = place.open(ingest={"batch_size": 2})
    with pytest.raises(PayloadError, match=r"position 5.*4 passages before it were written"):
        collection.add(iter([f"text {n}" for n in range(5)] + [""]))
    assert collection.count() == 4


def test_an_interrupted_stream_is_completed_by_adding_again(place):
    passages = [{"id": n, "text": f"text {n} {LONG if n % 5 == 0 else ''}"} for n in range(20)]

    def broken():
        yield from passages[:11]
        raise KeyboardInterrupt

    collection = place.open(ingest={"batch_size": 4})
    with pytest.raises(KeyboardInterrupt):
        collection.add(broken())
    report = collection.add(passages)
    assert (report.added, report.unchanged) == (12, 8)
    assert texts(collection, *range(20)) == [passage["text"] for passage in passages]


def test_progress_is_told_for_every_passage(place):
    collection = place.open(ingest={"batch_size": 3})
    steps = []
    collection.add([f"text {n % 7}" for n in range(10)], on_progress=steps.append)
    assert (sum(steps), max(steps)) == (10, 3)


def test_a_long_text_is_one_passage_and_comes_back_whole(collection):
    collection.add([{"id": "long", "text": LONG, "n": 1}, {"id": "short", "text": "short"}])
    assert collection.count() == 2
    assert texts(collection, "long") == [LONG]
    assert collection.count({"n": 1}) == 1


def test_a_text_that_shrinks_leaves_no_windows_behind(collection, search):
    collection.add([{"id": "a", "text": LONG}])
    collection.add([{"id": "a", "text": "thing3 only"}])
    assert texts(collection, "a") == ["thing3 only"]
    assert [candidate.text for candidate in search(collection, "thing30 other30", mode="sparse")] == []


def test_a_text_that_grows_is_whole(collection):
    collection.add([{"id": "a", "text": "short"}])
    collection.add([{"id": "a", "text": LONG}])
    assert texts(collection, "a") == [LONG]
    assert collection.count() == 1


def test_passages_survive_closing_and_opening(place):
    collection = place.open()
    collection.add([{"id": "a", "text": LONG}, {"id": 2, "text": "two"}])
    collection.close()
    again = place.open()
    assert again.exists
    assert texts(again, "a", 2) == [LONG, "two"]
    assert again.add([{"id": 2, "text": "two"}]).unchanged == 1


def test_get_keeps_the_order_asked_and_leaves_unknown_ids_out(collection):
    collection.add([{"id": n, "text": f"t{n}"} for n in range(4)])
    assert texts(collection, 3, 99, 1, "0", 1) == ["t3", "t1", "t1"]
    assert collection.get([]) == []


def test_delete_by_id_counts_what_was_there(collection):
    collection.add([{"id": n, "text": f"t{n}"} for n in range(5)] + [{"id": "long", "text": LONG}])
    assert collection.delete([0, 1, 1, 99, "long"]) == 3
    assert collection.count() == 3
    assert collection.get([0, "long"]) == []


def test_delete_by_filter(collection):
    collection.add([{"id": n, "text": f"{LONG if n == 4 else n}", "even": n % 2 == 0} for n in range(6)])
    assert collection.delete(filter={"even": True}) == 3
    assert [passage.id for passage in collection.get(range(6))] == [1, 3, 5]


def test_a_deleted_passage_can_be_added_again(collection):
    collection.add([{"id": "a", "text": LONG}])
    collection.delete(["a"])
    assert collection.add([{"id": "a", "text": LONG}]).added == 1
    assert texts(collection, "a") == [LONG]


def test_deleting_the_last_passage_leaves_an_empty_collection(collection, search):
    collection.add(["a text"])
    collection.delete([passage.id for passage in search(collection, "text")])
    assert collection.exists
    assert collection.count() == 0
    assert search(collection, "text") == []


@pytest.mark.parametrize("arguments", [{}, {"ids": [1], "filter": {"a": 1}}, {"filter": {}}])
def test_delete_wants_exactly_one_way_to_choose(collection, arguments):
    collection.add(["a text"])
    with pytest.raises(ConfigError):
        collection.delete(**arguments)
    assert collection.count() == 1


@pytest.mark.parametrize("call", ["count", "get", "retrieve", "delete"])
def test_a_collection_that_does_not_exist_says_to_add_first(collection, search, call):
    calls = {
        "count": collection.count,
        "get": lambda: collection.get(["a"]),
        "retrieve": lambda: search(collection, "query"),
        "delete": lambda: collection.delete(["a"]),
    }
    with pytest.raises(CollectionError, match="add passages first"):
        calls[call]()
    assert not collection.exists


class BrokenEncoder(FakeEncoder):
    """Returns what it is told to."""

    def __init__(self, spoil):
        super().__init__(64, max_tokens=34)
        self.spoil = spoil

    def encode_passages(self, texts):
        return self.spoil(super().encode_passages(texts))


def with_nan(vectors):
    vectors[-1, 3] = np.nan
    return vectors


def with_infinity(vectors):
    vectors[0, 0] = np.inf
    return vectors


SPOILERS = {
    "NaN": with_nan,
    "infinity": with_infinity,
    "zeros": lambda vectors: vectors * 0,
    "dimension": lambda vectors: vectors[:, :32],
    "too few": lambda vectors: vectors[:-1],
}


@pytest.mark.parametrize("fault", SPOILERS)
def test_unusable_vectors_are_refused_and_create_nothing(place, fault):
    collection = place.open(encoder=BrokenEncoder(SPOILERS[fault]))
    with pytest.raises(EncodingError, match="encoder 'fake' returned"):
        collection.add(["one text", "another text"])
    assert not collection.exists


@pytest.mark.parametrize("fault", SPOILERS)
def test_unusable_vectors_leave_stored_passages_as_they_were(place, fault):
    encoder = BrokenEncoder(lambda vectors: vectors)
    collection = place.open(encoder=encoder)
    collection.add([{"id": "a", "text": LONG}, {"id": "b", "text": "b"}])
    encoder.spoil = SPOILERS[fault]
    with pytest.raises(EncodingError):
        collection.add([{"id": "a", "text": "new"}, {"id": "b", "text": f"new {LONG}"}])
    assert texts(collection, "a", "b") == [LONG, "b"]


BAD_PASSAGES = {
    "no text": {"id": "a"},
    "text None": {"id": "a", "text": None},
    "text bytes": {"id": "a", "text": b"x"},
    "empty": "",
    "only spaces": " \n ",
    "surrogate": "bad \ud800 text",
    "NUL": "bad \0 text",
    "bool id": {"id": True, "text": "t"},
    "float id": {"id": 1.0, "text": "t"},
    "negative id": {"id": -1, "text": "t"},
    "huge id": {"id": 2**63, "text": "t"},
    "empty id": {"id": "", "text": "t"},
    "id with surrogate": {"id": "\udcff", "text": "t"},
    "metadata no mapping": {"id": "a", "text": "t", "metadata": [1]},
    "key twice": {"id": "a", "text": "t", "lang": "en", "metadata": {"lang": "en"}},
    "metadata object": {"id": "a", "text": "t", "o": object()},
    "metadata set": {"id": "a", "text": "t", "o": {1}},
    "metadata bytes": {"id": "a", "text": "t", "o": b"x"},
    "metadata NaN": {"id": "a", "text": "t", "o": float("nan")},
    "metadata huge": {"id": "a", "text": "t", "o": 2**64},
    "metadata surrogate": {"id": "a", "text": "t", "o": ["\ud800"]},
    "metadata key": {"id": "a", "text": "t", "metadata": {1: 2}},
    "too long": {"id": "a", "text": "x" * 5001},
    "number": 7,
    "None": None,
}


@pytest.mark.parametrize("case", BAD_PASSAGES)
def test_a_bad_passage_is_refused_and_changes_nothing(place, case):
    collection = place.open(ingest={"max_passage_chars": 5000})
    collection.add([{"id": "old", "text": "old text"}])
    with pytest.raises(PayloadError, match="position 1"):
        collection.add([{"id": "new", "text": "new"}, BAD_PASSAGES[case]])
    assert collection.count() == 1


@pytest.mark.parametrize("single", ["a text", {"id": "a", "text": "t"}, Passage(text="t"), b"bytes", 3])
def test_a_single_passage_is_refused_with_the_call_to_make(collection, single):
    with pytest.raises(PayloadError, match=r"add\(\[passage\]\)"):
        collection.add(single)
