"""The doctor finds what is wrong, repairs what can be repaired, and says what must be added again."""

from __future__ import annotations

import random
import shutil

import pytest
import qdrant_edge
from qdrant_client import QdrantClient

from searchkit.collection import open_collection
from searchkit.collection.backends.checked_json import load_checked, replace_checked
from searchkit.collection.backends.copying import copy_store
from searchkit.collection.backends.folder_notes import NOTES_NAME, write_folder_notes
from searchkit.collection.backends.journal import Journal
from searchkit.collection.doctor import examine
from searchkit.collection.notes import Notes
from searchkit.collection.schema import passage_key, point_id, uuid_text
from searchkit.config import SearchKitConfig
from searchkit.encoding import Bm25Encoder
from searchkit.errors import CollectionError, ConfigError
from searchkit.testing import FakeEncoder, FakeSparseEncoder

LONG = " ".join(f"word{n}" for n in range(120))
PASSAGES = {n: f"passage {n} of {n % 7} {LONG if n % 9 == 0 else ''}" for n in range(150)}
SETTINGS = SearchKitConfig.model_validate({"windows": {"overlap_tokens": 4}})


def encoders():
    return FakeEncoder(16, max_tokens=34), FakeSparseEncoder()


def open_things(root=None, client=None):
    encoder, sparse = encoders()
    return open_collection("things", path=root, client=client, encoder=encoder, sparse_encoder=sparse, config=SETTINGS)


def doctor(root, **arguments):
    return examine("things", path=root, config=SETTINGS, **arguments)


def problems(diagnosis):
    return [finding.subject for finding in diagnosis.findings if finding.severity == "problem"]


def stored(collection):
    return {passage.id: passage.text for passage in collection.get(list(PASSAGES))}


def vectors(collection):
    request = qdrant_edge.ScrollRequest(limit=10_000, with_payload=False, with_vector=True)
    records, _ = collection._backend._opened.engine.scroll(request)
    return {record.id: (record.vector["dense"], record.vector["bm25"].indices) for record in records}


@pytest.fixture
def filled(tmp_path):
    collection = open_things(tmp_path)
    collection.add([{"id": key, "text": text, "group": key % 7} for key, text in PASSAGES.items()])
    collection.close()
    return tmp_path / "things"


def spoil(path, *, place=-1):
    """Change one byte of the part of a file that is not all zeros."""
    content = bytearray(path.read_bytes())
    written = [index for index, value in enumerate(content[: 2**20]) if value]
    content[written[place]] ^= 0x55
    path.write_bytes(content)


def one(folder, pattern):
    return next(iter(sorted(folder.glob(f"engine*/segments/*/{pattern}"))))


def test_a_healthy_collection_is_described(filled):
    diagnosis = doctor(filled.parent)
    assert (diagnosis.state, diagnosis.passages, problems(diagnosis)) == ("healthy", 150, [])
    text = {finding.subject: finding.text for finding in diagnosis.findings}
    assert "encoder fake (16 dimensions" in text["manifest"]
    assert "files are as they were closed" in text["files"]
    assert "with the checksums of ids and contents that were written" in text["contents"]
    assert text["owner"].startswith("nobody; the last one was process id ")
    assert "segments" in text["index"]


def test_an_examination_changes_nothing_even_when_it_is_told_to_repair(filled):
    before = {path: path.read_bytes() for path in filled.rglob("*") if path.is_file() and path.name != "lock"}
    assert doctor(filled.parent).repaired == ()
    assert doctor(filled.parent, repair=True).repaired == ()
    after = {path: path.read_bytes() for path in filled.rglob("*") if path.is_file() and path.name != "lock"}
    assert after == before


def test_what_is_not_there_is_missing(tmp_path):
    assert doctor(tmp_path).state == "missing"
    assert examine("things", client=QdrantClient(":memory:")).state == "missing"
    assert list(tmp_path.iterdir()) == []


def test_what_is_open_is_only_named(filled):
    collection = open_things(filled.parent)
    diagnosis = doctor(filled.parent, repair=True)
    assert diagnosis.state == "in use"
    assert "this process, since" in diagnosis.findings[0].text
    collection.close()


def test_exactly_one_place_is_given(tmp_path):
    with pytest.raises(ConfigError):
        examine("things")
    with pytest.raises(ConfigError):
        examine("things", path=tmp_path, url="http://localhost:6333")


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path):
    (tmp_path / "things").mkdir()
    (tmp_path / "things" / "thesis.txt").write_text("years of work")
    with pytest.raises(CollectionError, match="not a searchkit collection"):
        doctor(tmp_path, repair=True)


@pytest.mark.parametrize("name", ["ledger.json", "seal.json"])
@pytest.mark.parametrize("how", ["spoilt", "gone"])
def test_a_lost_ledger_or_seal_is_made_anew_from_what_is_proven(filled, name, how):
    if how == "gone":
        (filled / name).unlink()
    else:
        (filled / name).write_text("{")
    first = doctor(filled.parent)
    assert first.state == ("healthy" if (name, how) == ("seal.json", "gone") else "repairable")
    if first.state == "repairable":
        repaired = doctor(filled.parent, repair=True)
        assert (repaired.state, repaired.lost, repaired.lost_count) == ("healthy", (), 0)
        assert repaired.repaired == ("counted and proved the store, and wrote ledger and seal anew",)
    collection = open_things(filled.parent)
    assert stored(collection) == PASSAGES
    collection.close()


class Reversed(FakeEncoder):
    """Another model of the same size."""

    def encode_passages(self, texts):
        return super().encode_passages(texts)[:, ::-1]


@pytest.mark.parametrize("how", ["spoilt", "gone"])
def test_a_lost_manifest_is_made_anew_if_the_encoder_at_hand_makes_the_stored_vectors(filled, how):
    before = load_checked((filled / "searchkit.json").read_text())
    if how == "gone":
        (filled / "searchkit.json").unlink()
    else:
        (filled / "searchkit.json").write_text("[]")
    assert doctor(filled.parent, repair=True).state == "damaged"
    another = lambda: (Reversed(16, max_tokens=34), FakeSparseEncoder())  # noqa: E731
    assert doctor(filled.parent, repair=True, encoders=another).state == "damaged"
    other_words = lambda: (FakeEncoder(16, max_tokens=34), Bm25Encoder())  # noqa: E731
    assert doctor(filled.parent, repair=True, encoders=other_words).state == "damaged"
    assert "wrote searchkit.json anew" in doctor(filled.parent, repair=True, encoders=encoders).repaired
    assert load_checked((filled / "searchkit.json").read_text()) == before
    collection = open_things(filled.parent)
    assert stored(collection) == PASSAGES
    collection.close()


def test_a_spoilt_vector_is_encoded_again(filled):
    collection = open_things(filled.parent)
    expected = vectors(collection)
    collection.close()
    spoil(one(filled, "vector_storage-dense/vectors/chunk_0.mmap"))
    assert doctor(filled.parent).state == "damaged"
    assert "no encoder at hand" in " ".join(one.text for one in doctor(filled.parent, repair=True).findings)
    assert doctor(filled.parent, encoders=encoders).state == "repairable"
    other = doctor(filled.parent, repair=True, encoders=lambda: (FakeEncoder(16, name="other"), FakeSparseEncoder()))
    assert "is not the one they were made with" in " ".join(finding.text for finding in other.findings)
    other = doctor(filled.parent, repair=True, encoders=lambda: (FakeEncoder(16, max_tokens=34), Bm25Encoder()))
    assert "sparse encoder at hand (bm25-english) is not" in " ".join(finding.text for finding in other.findings)
    repaired = doctor(filled.parent, repair=True, encoders=encoders)
    assert (repaired.state, repaired.lost, repaired.lost_count) == ("healthy", (), 0)
    collection = open_things(filled.parent)
    assert stored(collection) == PASSAGES
    assert vectors(collection) == expected
    collection.close()


def test_a_spoilt_text_is_removed_and_named(filled):
    page = one(filled, "payload_storage/page_0.dat")
    content = page.read_bytes()
    page.write_bytes(content.replace(b"passage 31 of", b"passage 13 of", 1))
    first = doctor(filled.parent)
    assert (first.state, first.lost) == ("repairable", (31,))
    repaired = doctor(filled.parent, repair=True)
    assert (repaired.state, repaired.lost, repaired.passages) == ("healthy", (31,), 149)
    assert any("kept the old store" in sentence for sentence in repaired.repaired)
    assert len(list(filled.glob("damaged-*"))) == 1
    collection = open_things(filled.parent)
    assert stored(collection) == {key: text for key, text in PASSAGES.items() if key != 31}
    assert collection.add([{"id": key, "text": text, "group": key % 7} for key, text in PASSAGES.items()]).added == 1
    collection.close()


def lose(folder, points):
    """Take points out of the store behind the ledger's back, as damage to a log would."""
    (folder / "seal.json").unlink()
    engine = qdrant_edge.EdgeShard.load(str(folder / "engine"))
    engine.update(qdrant_edge.UpdateOperation.delete_points([uuid_text(point) for point in points]))
    engine.close()


def test_points_that_are_gone_without_a_trace_are_counted(filled):
    lose(filled, [point_id(passage_key(1)), point_id(passage_key(2))])
    first = doctor(filled.parent)
    assert (first.state, first.lost, first.lost_count) == ("repairable", (), 2)
    repaired = doctor(filled.parent, repair=True)
    assert (repaired.state, repaired.lost_count) == ("healthy", 2)
    collection = open_things(filled.parent)
    assert collection.count() == 148
    collection.close()


def test_incomplete_passages_and_orphaned_windows_are_removed(filled):
    lose(filled, [point_id(passage_key(9), 1), point_id(passage_key(18))])
    first = doctor(filled.parent)
    assert first.lost == (9,)
    assert {"passages", "windows"} <= set(problems(first))
    repaired = doctor(filled.parent, repair=True)
    assert (repaired.state, repaired.passages) == ("healthy", 148)
    collection = open_things(filled.parent)
    assert stored(collection).keys() == PASSAGES.keys() - {9, 18}
    collection.close()


def test_an_interrupted_writer_is_a_note(filled):
    (filled / "seal.json").unlink()
    journal = Journal(filled / "writing")
    journal.close(is_finished=False)
    diagnosis = doctor(filled.parent)
    assert diagnosis.state == "healthy"
    assert {"journal", "files"} == {finding.subject for finding in diagnosis.findings if finding.severity == "note"}


def test_a_spoilt_journal_is_repaired(filled):
    (filled / "seal.json").unlink()
    (filled / "writing").write_text("planned nonsense\n")
    with pytest.raises(CollectionError, match=r"writing is damaged"):
        open_things(filled.parent)
    assert doctor(filled.parent).state == "repairable"
    assert doctor(filled.parent, repair=True).state == "healthy"
    open_things(filled.parent).close()


def test_what_an_interrupted_optimization_left_is_removed(filled):
    (filled / "engine-0123abcd").mkdir()
    assert "leftovers" in [finding.subject for finding in doctor(filled.parent).findings]
    assert doctor(filled.parent, repair=True).repaired == ("removed engine-0123abcd",)
    assert not (filled / "engine-0123abcd").exists()


def test_a_store_that_cannot_be_loaded_is_left_as_it_is(filled):
    one(filled, "segment.json").write_text("{")
    before = sorted(path.name for path in filled.iterdir())
    diagnosis = doctor(filled.parent, repair=True, encoders=encoders)
    assert diagnosis.state == "damaged"
    assert diagnosis.repaired == ()
    assert sorted(path.name for path in filled.iterdir()) == before


def test_a_store_that_is_gone_cannot_be_repaired(filled):
    shutil.rmtree(filled / "engine")
    diagnosis = doctor(filled.parent, repair=True)
    assert (diagnosis.state, diagnosis.repaired) == ("damaged", ())


class Tokens:
    """Knows token ids that begin with its name."""

    def encode(self, texts):
        return [f"current!{len(text)}" for text in texts]

    def is_current(self, stored):
        return str(stored).startswith("current!")


def test_token_ids_of_another_tokenizer_are_counted(filled):
    collection = open_things(filled.parent)
    points = [point_id(passage_key(key)) for key in (1, 2, 3)]
    collection._backend.open()
    with collection._backend.writing():
        collection._backend.patch({points[0]: {"tokens": "current!aa"}, points[1]: {"tokens": "older!!!bb"}})
    collection.close()
    found = {finding.subject: finding for finding in doctor(filled.parent, tokens=Tokens()).findings}["tokens"]
    assert (found.severity, found.text) == (
        "note",
        "2 windows have token ids for the second stage; 1 of them are of another tokenizer and not used",
    )
    assert "of 2 tokenizers" in {f.subject: f.text for f in doctor(filled.parent).findings}["tokens"]


def test_a_collection_in_a_client_is_examined_and_repaired():
    client = QdrantClient(":memory:")
    collection = open_things(client=client)
    collection.add([{"id": key, "text": text} for key, text in PASSAGES.items()])
    assert examine("things", client=client).state == "healthy"
    client.delete("things", [uuid_text(point_id(passage_key(9), 1)), uuid_text(point_id(passage_key(18)))])
    client.set_payload("things", {"text": "another"}, [uuid_text(point_id(passage_key(31)))])
    first = examine("things", client=client)
    assert (first.state, set(first.lost)) == ("repairable", {9, 31})
    repaired = examine("things", client=client, repair=True)
    assert (repaired.state, set(repaired.lost)) == ("healthy", {9, 31})
    assert examine("things", client=client).state == "healthy"
    assert stored(collection).keys() == PASSAGES.keys() - {9, 18, 31}
    client.close()


@pytest.mark.soak
def test_a_repair_keeps_nothing_wrong_and_names_what_it_loses(filled, tmp_path, soak_count):
    """Any one file is damaged in any place: afterwards each passage is right, or missed by name or number."""
    collection = open_things(filled.parent)
    expected = vectors(collection)
    collection.close()
    pristine = tmp_path / "pristine"
    copy_store(filled, pristine)
    names = [path.relative_to(filled) for path in sorted(filled.glob("engine/segments/**/*")) if path.is_file()]
    chance = random.Random(9)
    for _ in range(soak_count(full=100, reduced=2)):
        name = chance.choice(names)
        size = (filled / name).stat().st_size
        if not size:
            continue
        with (filled / name).open("r+b") as file:
            place = chance.randrange(min(size, 40_000))
            file.seek(place)
            file.write(bytes(chance.randrange(256) for _ in range(min(8, size - place))))
        before = doctor(filled.parent)
        after = doctor(filled.parent, repair=True, encoders=encoders)
        if after.state == "healthy":
            collection = open_things(filled.parent)
            texts = stored(collection)
            there = vectors(collection)
            collection.close()
            assert texts.items() <= PASSAGES.items(), name
            unnamed = PASSAGES.keys() - texts.keys() - set(after.lost)
            assert not unnamed or after.lost_count >= len(unnamed), (name, unnamed)
            assert all(expected[point] == vector for point, vector in there.items()), name
        else:
            assert before.state == after.state == "damaged", name
        shutil.rmtree(filled)
        copy_store(pristine, filled)


def test_a_ledger_of_another_engine_than_there_is_names_the_missing_folder(filled):
    record = load_checked((filled / "ledger.json").read_text())
    replace_checked(filled / "ledger.json", record | {"engine": "engine-00000000"})
    assert doctor(filled.parent).state == "damaged"


def test_a_name_that_leads_to_another_collection_is_followed(filled):
    (filled.parent / "older").mkdir()
    write_folder_notes(filled.parent / "older", Notes(successor="things"))
    (filled.parent / "older" / "searchkit.json").write_bytes((filled / "searchkit.json").read_bytes())
    diagnosis = examine("older", path=filled.parent, config=SETTINGS)
    assert (diagnosis.state, diagnosis.passages) == ("healthy", 150)
    assert "leads to the collection 'things'" in diagnosis.findings[0].text


def test_unfinished_and_damaged_notes_are_told(filled):
    write_folder_notes(filled, Notes(unfinished="copy of 'x'"))
    assert "the copy of 'x' was interrupted" in doctor(filled.parent).findings[0].text
    (filled / NOTES_NAME).write_text("{")
    diagnosis = doctor(filled.parent)
    assert (diagnosis.state, problems(diagnosis)) == ("damaged", ["notes"])
