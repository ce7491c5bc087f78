from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from searchkit.errors import ModelLoadError
from searchkit.models import DEFAULT_ENCODER, ModelNotFoundError, find_model
from searchkit.models.tokenizer import load_tokenizer
from searchkit.reranking.pairing import PairTokenizer

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=80)
MAX_LENGTHS = (6, 7, 12, 33, 64)


def by_the_tokenizer(tokenizer: Tokenizer, query: str, text: str, max_length: int) -> tuple[list[int], list[int]]:
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.enable_truncation(max_length)
    encoding = copy.encode(query, text)
    return encoding.ids, encoding.type_ids


def tokenizer_of(folder) -> Tokenizer:
    return load_tokenizer(folder)


@pytest.mark.parametrize("architecture", ["bert", "xlm-roberta"])
def test_composed_ids_equal_the_tokenizers_own_pair_encoding(cross_encoder_folder, architecture):
    tokenizer = tokenizer_of(cross_encoder_folder(architecture))
    pairings = {length: PairTokenizer(tokenizer, length) for length in MAX_LENGTHS}
    cutting = {length: Tokenizer.from_str(tokenizer.to_str()) for length in MAX_LENGTHS}
    for length, copy in cutting.items():
        copy.enable_truncation(length)

    @settings(max_examples=150, deadline=None)
    @given(texts, texts, st.sampled_from(MAX_LENGTHS))
    def check(query, text, max_length):
        pairing = pairings[max_length]
        assert pairing.template is not None
        (pair,) = pairing.encode([(query, text)])
        expected = cutting[max_length].encode(query, text)
        assert (pair.ids.tolist(), pair.type_ids.tolist()) == (expected.ids, expected.type_ids)

    check()


def test_composed_ids_equal_those_of_a_real_tokenizer():
    try:
        folder = find_model(DEFAULT_ENCODER, offline=True).path
    except ModelNotFoundError:
        pytest.skip("the extra 'offline' is not installed")
    tokenizer = load_tokenizer(folder)
    pairing = PairTokenizer(tokenizer, 48)
    whole = Tokenizer.from_str(tokenizer.to_str())
    whole.enable_truncation(48)

    @settings(max_examples=300, deadline=None)
    @given(texts, texts)
    def check(query, text):
        (pair,) = pairing.encode([(query, text)])
        assert pair.ids.tolist() == whole.encode(query, text).ids

    check()


@pytest.mark.parametrize("architecture", ["bert", "xlm-roberta"])
def test_pairs_of_stored_ids_equal_pairs_of_texts_whatever_was_stored(cross_encoder_folder, architecture):
    pairing = PairTokenizer(tokenizer_of(cross_encoder_folder(architecture)), 24)
    codec = pairing.codec

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.tuples(texts, texts, st.sampled_from(["right", "cut", "of another text", "none"]))))
    def check(rows):
        pairs = [(query, text) for query, text, _ in rows]
        singles = pairing.encode_texts([text for _, text in pairs])
        stored = [codec.encode(text, ids) for (_, text), ids in zip(pairs, singles, strict=True)]
        made = {"right": lambda one: one, "cut": lambda one: one[:-3], "none": lambda _: None}
        made["of another text"] = lambda _: codec.encode("another", pairing.encode_texts(["another"])[0])
        given_ = [made[fate](one) for one, (_, _, fate) in zip(stored, rows, strict=True)]
        known = pairing.stored_ids([text for _, text in pairs], given_)
        right = {text for _, text, fate in rows if fate == "right"}
        assert right <= known.keys() <= right | {"another"}
        for found, expected in zip(pairing.encode(pairs, known), pairing.encode(pairs), strict=True):
            assert found.ids.tolist() == expected.ids.tolist()
            assert found.type_ids.tolist() == expected.type_ids.tolist()
            assert found.truncated_tokens == expected.truncated_tokens

    check()


def test_tokenizers_of_one_definition_share_stored_ids_and_others_do_not(cross_encoder_folder):
    folder = cross_encoder_folder("bert")
    first, second = (PairTokenizer(tokenizer_of(folder), 24).codec for _ in range(2))
    assert first.tag == second.tag
    changed = tokenizer_of(folder)
    changed.add_tokens(["berlin"])
    assert PairTokenizer(changed, 24).codec.tag != first.tag


def test_each_text_is_tokenized_once_and_pairs_come_back_in_order(cross_encoder_folder):
    pairing = PairTokenizer(tokenizer_of(cross_encoder_folder("bert")), 64)
    pairs = [("people", "berlin"), ("berlin", "people"), ("people", "berlin")]
    found = pairing.encode(pairs)
    assert found[0].ids.tolist() == found[2].ids.tolist() != found[1].ids.tolist()


def odd_tokenizer() -> Tokenizer:
    """Puts the second text before the first, which no sandwich of special tokens can describe."""
    vocabulary = {word: index for index, word in enumerate(["[UNK]", "[SEP]", "one", "two", "three"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A [SEP]", pair="$B:1 [SEP] $A", special_tokens=[("[SEP]", 1)]
    )
    return tokenizer


def test_a_tokenizer_that_does_not_compose_is_asked_for_every_pair():
    pairing = PairTokenizer(odd_tokenizer(), 6)
    assert pairing.template is None
    assert pairing.codec is None
    assert pairing.stored_ids(["one"], ["whatever"]) == {}
    (pair,) = pairing.encode([("one", "two three two three two three")])
    assert (pair.ids.tolist(), pair.type_ids.tolist()) == by_the_tokenizer(
        odd_tokenizer(), "one", "two three two three two three", 6
    )
    assert pair.truncated_tokens == 2


def test_cutting_from_the_left_goes_through_the_tokenizer(cross_encoder_folder):
    pairing = PairTokenizer(tokenizer_of(cross_encoder_folder("bert")), 8, "left")
    (pair,) = pairing.encode([("in", "how many people live in berlin")])
    assert pair.truncated_tokens == 2
    tail = tokenizer_of(cross_encoder_folder("bert")).encode("people live in berlin", add_special_tokens=False).ids
    assert pair.ids.tolist()[-5:-1] == tail


def test_a_length_without_room_for_text_is_refused(cross_encoder_folder):
    with pytest.raises(ModelLoadError, match="no room for text"):
        PairTokenizer(tokenizer_of(cross_encoder_folder("bert")), 4)
