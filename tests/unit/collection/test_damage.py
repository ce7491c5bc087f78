"""Whatever happens to the files of a closed store: it is noticed at open, or does not matter."""

from __future__ import annotations

import random
import shutil

import pytest
import qdrant_edge

from searchkit.collection.backends.copying import copy_file, copy_store
from searchkit.collection.backends.seal import find_damage, mark, take_seal
from searchkit.errors import CollectionError
from tests.unit.collection.things import open_things

LONG = " ".join(f"word{n}" for n in range(120))
PASSAGES = {n: f"passage {n} of {n % 7} {LONG if n % 9 == 0 else ''}" for n in range(150)}
ZEROS = bytes(2**20)


def contents(collection):
    """Everything there is: the passages as a caller gets them, and every point with payload and vectors."""
    found = {passage.id: passage.text for passage in collection.get(list(PASSAGES))}
    request = qdrant_edge.ScrollRequest(limit=10_000, with_payload=True, with_vector=True)
    records, _ = collection._backend._opened.engine.scroll(request)
    points = {
        record.id: (record.payload, record.vector["dense"], record.vector["bm25"].indices, record.vector["bm25"].values)
        for record in records
    }
    return found, collection.count(), points


def damage(path, chance):
    """Do to a file what disks, editors and half copies do; return what was done."""
    size = path.stat().st_size
    kind = chance.choice(["bit", "bit", "bit anywhere", "cut", "zeros", "append", "remove"] if size else ["append"])
    if kind == "remove":
        path.unlink()
        return kind
    with path.open("r+b") as file:
        if kind == "cut":
            file.truncate(chance.randrange(size))
        elif kind == "append":
            file.seek(size)
            file.write(bytes(chance.randrange(1, 100)))
        elif kind == "bit anywhere":
            flip(file, chance.randrange(size), chance)
        else:
            start, end = written_range(file, size, chance)
            if kind == "bit":
                flip(file, chance.randrange(start, end), chance)
            else:
                file.seek(start)
                file.write(bytes(end - start))
    return kind


def flip(file, place, chance):
    """Change one bit."""
    file.seek(place)
    (value,) = file.read(1)
    file.seek(place)
    file.write(bytes([value ^ 1 << chance.randrange(8)]))


def written_range(file, size, chance):
    """Return a stretch of a file that is not all zeros, if there is one: most of a large file is preallocated."""
    start, end = 0, size
    for length in (2**20, 2**12):
        starts = []
        for place in range(start, end, length):
            file.seek(place)
            block = file.read(min(length, end - place))
            if block != ZEROS[: len(block)]:
                starts.append(place)
        if starts:
            start = chance.choice(starts)
            end = min(size, start + length)
    return start, end


@pytest.mark.soak
def test_every_damage_to_a_file_is_named_at_open_or_does_not_matter(tmp_path, soak_count):
    collection = open_things(tmp_path)
    collection.add([{"id": key, "text": text} for key, text in PASSAGES.items()])
    collection.delete([3, 9])
    expected = contents(collection)
    collection.close()
    folder, pristine = tmp_path / "things", tmp_path / "pristine"
    copy_store(folder, pristine)
    names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    chance = random.Random(20)
    noticed = []
    for _ in range(soak_count(full=500, reduced=40)):
        name = chance.choice(names)
        what = damage(folder / name, chance)
        try:
            opened = open_things(tmp_path)
        except CollectionError as error:
            noticed.append(str(error))
            copy_file(pristine / name, folder / name)
        else:
            assert contents(opened) == expected, (name, what)
            opened.close()
            shutil.rmtree(folder)
            copy_store(pristine, folder)
    assert noticed
    assert [message for message in noticed if "damaged" not in message and "not a searchkit coll" not in message] == []
    opened = open_things(tmp_path)
    assert contents(opened) == expected
    opened.close()


def test_a_message_names_the_file_and_what_to_do(tmp_path):
    open_things(tmp_path).add([{"id": 1, "text": "text"}])
    vectors = next((tmp_path / "things").rglob("chunk_0.mmap"))
    content = bytearray(vectors.read_bytes())
    content[5] ^= 64
    vectors.write_bytes(content)
    with pytest.raises(CollectionError, match=r"engine/segments/.*chunk_0\.mmap was changed; `searchkit doctor"):
        open_things(tmp_path)


def test_preallocated_space_does_not_count_but_what_is_written_into_it_does(tmp_path):
    sparse, full = tmp_path / "sparse", tmp_path / "full"
    with sparse.open("wb") as file:
        file.write(b"head")
        file.seek(5 * 2**20 + 17)
        file.write(b"tail")
        file.truncate(40 * 2**20)
    full.write_bytes(sparse.read_bytes())
    assert mark(sparse) == mark(full)
    with full.open("r+b") as file:
        file.seek(30 * 2**20)
        file.write(b"\1")
    assert mark(sparse) != mark(full)


def test_the_same_bytes_in_another_place_are_another_file(tmp_path):
    for name, start in (("one", 0), ("other", 2**20)):
        with (tmp_path / name).open("wb") as file:
            file.seek(start)
            file.write(b"x" * 100)
            file.truncate(3 * 2**20)
    assert mark(tmp_path / "one") != mark(tmp_path / "other")


def test_a_segment_too_many_is_damage_and_a_file_of_the_system_is_not(tmp_path):
    (tmp_path / "segments").mkdir()
    (tmp_path / "segments" / "one").write_bytes(b"x")
    seal = take_seal(tmp_path)
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "notes").write_bytes(b"x")
    assert find_damage(tmp_path, seal) == []
    (tmp_path / "segments" / "two").write_bytes(b"x")
    (tmp_path / "segments" / "one").unlink()
    assert [str(one) for one in find_damage(tmp_path, seal)] == [
        "segments/one is missing",
        "segments/two does not belong there",
    ]
