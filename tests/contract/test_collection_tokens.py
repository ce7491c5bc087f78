"""What a collection does with the reranker's token ids, on every engine."""

from __future__ import annotations

import pytest

from searchkit.testing import FakeEncoder
from tests.token_reader import WordsReranker

LONG = " ".join(f"Sentence {n} speaks of thing{n} and other{n} matters." for n in range(40))
PASSAGES = [
    {"id": "wages", "text": "hairdressers earn a yearly wage"},
    {"id": "hours", "text": "hairdressers work long hours"},
    {"id": "long", "text": LONG},
]


def stored(search, collection, query="hairdressers thing7 thing30") -> dict[str, str | None]:
    """Return what is stored of each candidate, by its text."""
    return {candidate.text: candidate.token_ids for candidate in search(collection, query)}


def is_right(reader: WordsReranker, found: dict[str, str | None]) -> bool:
    return len(found) > 2 and all(reader.is_right(text, one) for text, one in found.items())


def test_every_window_is_stored_with_the_token_ids_of_its_own_text(place, search):
    reader = WordsReranker()
    collection = place.open(token_reader=reader)
    report = collection.add(PASSAGES)
    assert report.tokens_renewed == 0
    found = stored(search, collection)
    assert is_right(reader, found)
    assert LONG not in found


def test_changed_text_gets_new_token_ids(place, search):
    reader = WordsReranker()
    collection = place.open(token_reader=reader)
    collection.add(PASSAGES)
    report = collection.add([{"id": "long", "text": f"now thing7 is first. {LONG}"}])
    assert (report.updated, report.tokens_renewed) == (1, 0)
    assert is_right(reader, stored(search, collection))


def test_unchanged_passages_are_not_tokenized_again(place):
    reader = WordsReranker()
    collection = place.open(token_reader=reader)
    collection.add(PASSAGES)
    reader.writer.encoded.clear()
    report = collection.add(PASSAGES)
    assert (report.unchanged, report.tokens_renewed) == (3, 0)
    assert reader.writer.encoded == []


@pytest.mark.parametrize("before", [None, "words-0"], ids=["without token ids", "with those of another tokenizer"])
def test_adding_unchanged_passages_renews_token_ids_without_encoding_them(place, search, before):
    first = place.open(token_reader=None if before is None else WordsReranker(before))
    first.add([*PASSAGES[:2], {**PASSAGES[2], "lang": "en"}])
    encoder, reader = FakeEncoder(64, max_tokens=34), WordsReranker("words-1")
    collection = place.open(encoder=encoder, token_reader=reader)
    assert not is_right(reader, stored(search, collection))
    report = collection.add([*PASSAGES[:2], {**PASSAGES[2], "lang": "en"}])
    assert (report.unchanged, report.tokens_renewed) == (3, 3)
    assert encoder.encoded_count == 0
    assert is_right(reader, stored(search, collection))
    assert collection.get(["long"])[0].text == LONG
    assert collection.get(["long"])[0].metadata == {"lang": "en"}
    assert collection.count() == 3
    assert collection.add([*PASSAGES[:2], {**PASSAGES[2], "lang": "en"}]).tokens_renewed == 0


def test_an_interrupted_renewal_is_finished_by_the_next_add(place, search, monkeypatch):
    place.open().add(PASSAGES)
    reader = WordsReranker()
    collection = place.open(token_reader=reader)
    backend = collection._backend
    patch = backend.patch

    def half(payloads):
        patch(dict(list(payloads.items())[: len(payloads) // 2]))
        raise KeyboardInterrupt

    monkeypatch.setattr(backend, "patch", half)
    with pytest.raises(KeyboardInterrupt):
        collection.add(PASSAGES)
    monkeypatch.undo()
    assert collection.add(PASSAGES).tokens_renewed > 0
    assert is_right(reader, stored(search, collection))


@pytest.mark.parametrize(
    "changes",
    [
        {"token_reader": None},
        {"token_reader": WordsReranker(has_writer=False)},
        {"token_reader": WordsReranker(), "ingest": {"store_tokens": False}},
    ],
    ids=["no reader", "no writer to be had", "switched off"],
)
def test_nothing_is_stored_where_nothing_can_or_shall_be(place, search, changes):
    collection = place.open(**changes)
    assert collection.add(PASSAGES).added == 3
    assert collection.add(PASSAGES).tokens_renewed == 0
    assert set(stored(search, collection).values()) == {None}


def test_without_a_writer_token_ids_of_unchanged_passages_stay(place, search):
    reader = WordsReranker()
    place.open(token_reader=reader).add(PASSAGES)
    collection = place.open(token_reader=WordsReranker(has_writer=False))
    collection.add(PASSAGES)
    assert is_right(reader, stored(search, collection))
