from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchkit.reranking.stored_tokens import TokenCodec

texts = st.text(max_size=60)
SHORT, LONG = TokenCodec(b"one", 30_521), TokenCodec(b"one", 250_001)
ids_of = {SHORT: st.lists(st.integers(0, 30_521), max_size=80), LONG: st.lists(st.integers(0, 250_001), max_size=80)}


@pytest.mark.parametrize("codec", [SHORT, LONG], ids=["16 bits", "32 bits"])
def test_ids_come_back_as_they_were(codec):
    @given(texts, ids_of[codec])
    def check(text, ids):
        found = codec.decode(text, codec.encode(text, ids))
        assert found.dtype.name == "int32"
        assert found.tolist() == ids

    check()


@pytest.mark.parametrize(("codec", "width"), [(SHORT, 2), (LONG, 4)], ids=["16 bits", "32 bits"])
def test_the_string_is_one_piece_of_base64_with_the_ids_at_its_end(codec, width):
    stored = codec.encode("a text", [1, 2, 30_000])
    data = base64.b64decode(stored, validate=True)
    assert len(data) == 18 + 3 * width
    assert data[18:] == b"".join(one.to_bytes(width, "little") for one in (1, 2, 30_000))


@pytest.mark.parametrize("largest", [65_535, 65_536])
def test_the_largest_id_of_a_vocabulary_fits(largest):
    codec = TokenCodec(b"", largest)
    assert codec.decode("t", codec.encode("t", [largest])).tolist() == [largest]


@pytest.mark.parametrize("codec", [SHORT, LONG], ids=["16 bits", "32 bits"])
def test_a_damaged_string_gives_the_right_ids_or_none(codec):
    @given(texts, ids_of[codec], st.data())
    def check(text, ids, data):
        stored = codec.encode(text, ids)
        place = data.draw(st.integers(0, len(stored) - 1))
        damage = data.draw(st.sampled_from(["cut", "lost", "changed", "inserted"]))
        other = data.draw(st.characters(codec="utf-8"))
        broken = {
            "cut": stored[:place],
            "lost": stored[:place] + stored[place + 1 :],
            "changed": stored[:place] + other + stored[place + 1 :],
            "inserted": stored[:place] + other + stored[place:],
        }[damage]
        found = codec.decode(text, broken)
        assert found is None or found.tolist() == ids
        if damage == "cut" or (damage == "changed" and other.isalnum() and place < len(stored) - 4):
            assert found is None or broken == stored

    check()


@given(texts, texts, ids_of[SHORT])
def test_ids_of_another_text_are_refused(text, other, ids):
    found = SHORT.decode(other, SHORT.encode(text, ids))
    assert (found is None) == (text != other)


@given(texts, ids_of[SHORT])
def test_ids_of_another_tokenizer_are_refused(text, ids):
    for codec in (TokenCodec(b"two", 30_521), LONG):
        assert codec.decode(text, SHORT.encode(text, ids)) is None
        assert not codec.is_ours(SHORT.encode(text, ids))
    assert SHORT.is_ours(SHORT.encode(text, ids))


@pytest.mark.parametrize("stored", [None, "", 7, b"bytes", ["list"], {"ids": [1]}, SHORT.tag, SHORT.tag + "Ünsinn"])
def test_what_is_no_such_string_gives_no_ids(stored):
    assert SHORT.decode("a text", stored) is None
