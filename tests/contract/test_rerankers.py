"""What every reranker owes its callers, whatever runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from searchkit.config import RerankerProfile
from searchkit.deadline import Deadline
from searchkit.reranking import CrossEncoderReranker
from searchkit.stages import Reranker, TokenReader, TokenUse
from searchkit.testing import FakeReranker

PAIRS = [
    ("how many people live in berlin", "3,520,031 people live in Berlin."),
    ("how many people live in berlin", "word " * 700),
    ("how many people live in berlin", ""),
    ("naïve café", "你好 \N{ROCKET}"),
    ("", "no query"),
]


@pytest.fixture(params=["fake", "bert", "electra", "distilbert", "xlm-roberta", "modernbert", "deberta-v2"])
def make(request, cross_encoder_folder) -> Callable[[], Reranker]:
    if request.param == "fake":
        return FakeReranker
    folder: Any = cross_encoder_folder(request.param)
    return lambda: CrossEncoderReranker(folder, device="cpu")


def test_it_satisfies_the_protocol_and_knows_its_name_and_profile(make):
    reranker = make()
    assert isinstance(reranker, Reranker)
    assert reranker.name
    assert isinstance(reranker.profile, RerankerProfile)


def test_logits_are_finite_float32_one_a_pair_in_order(make):
    reranker = make()
    scores = reranker.score_pairs(PAIRS)
    assert scores.logits.shape == scores.truncated_tokens.shape == (len(PAIRS),)
    assert scores.logits.dtype == np.float32
    assert scores.truncated_tokens.dtype == np.int64
    assert np.isfinite(scores.logits).all()
    assert scores.engine
    backwards = reranker.score_pairs(PAIRS[::-1])
    assert np.allclose(backwards.logits[::-1], scores.logits, atol=1e-4)
    assert np.array_equal(backwards.truncated_tokens[::-1], scores.truncated_tokens)


def test_no_pairs_give_no_scores(make):
    scores = make().score_pairs([])
    assert scores.logits.shape == scores.truncated_tokens.shape == (0,)


def test_the_same_pairs_get_the_same_scores_every_time(make):
    reranker = make()
    assert np.array_equal(reranker.score_pairs(PAIRS).logits, reranker.score_pairs(PAIRS).logits)


def test_an_ample_deadline_changes_nothing_and_one_that_is_over_leaves_all_unscored(make):
    reranker = make()
    scores = reranker.score_pairs(PAIRS)
    assert np.allclose(reranker.score_pairs(PAIRS, deadline=Deadline.after(60)).logits, scores.logits, atol=1e-4)
    assert np.isnan(reranker.score_pairs(PAIRS, deadline=Deadline.after(0)).logits).all()


def test_the_pairs_given_are_not_changed(make):
    pairs = list(PAIRS)
    make().score_pairs(pairs)
    assert pairs == PAIRS


def token_reader(make) -> TokenReader:
    reranker = make()
    if not isinstance(reranker, TokenReader):
        pytest.skip("this reranker reads no stored token ids")
    return reranker


def test_stored_token_ids_change_no_bit_of_a_score(make):
    reranker = token_reader(make)
    writer = token_reader(make).token_writer()  # of another object, as that of the process that indexed
    tokens = writer.encode([text for _, text in PAIRS])
    plain, with_tokens = reranker.score_pairs(PAIRS), reranker.score_pairs(PAIRS, tokens=tokens)
    assert np.array_equal(plain.logits, with_tokens.logits)
    assert np.array_equal(plain.truncated_tokens, with_tokens.truncated_tokens)
    assert plain.token_use is None
    assert with_tokens.token_use.tolist() == [TokenUse.USED] * len(PAIRS)


def test_what_was_stored_of_another_text_or_is_damaged_is_counted_and_changes_nothing(make):
    reranker = token_reader(make)
    good = reranker.token_writer().encode([text for _, text in PAIRS])
    wrong = [good[1], good[0][:-4], "not base64 \N{ROCKET}", None, good[4]]
    plain, with_tokens = reranker.score_pairs(PAIRS), reranker.score_pairs(PAIRS, tokens=wrong)
    assert np.array_equal(plain.logits, with_tokens.logits)
    refused, none, used = TokenUse.REFUSED, TokenUse.NONE, TokenUse.USED
    assert with_tokens.token_use.tolist() == [refused, refused, refused, none, used]


def test_stored_token_ids_tell_the_length_of_their_own_text_alone(make):
    reranker = token_reader(make)
    (stored,) = reranker.token_writer().encode([PAIRS[0][1]])
    assert reranker.token_count(PAIRS[0][1], stored) == len(reranker.token_spans(PAIRS[0][1]))
    assert reranker.token_count(PAIRS[1][1], stored) is None


def test_a_writer_made_before_loading_and_one_made_after_write_the_same(make):
    reranker = token_reader(make)
    early = reranker.token_writer()
    reranker.score_pairs(PAIRS)
    late = reranker.token_writer()
    assert early is not late
    texts = [text for _, text in PAIRS]
    assert early.encode(texts) == late.encode(texts)
    assert late.is_current(early.encode(["a text"])[0])
    assert not late.is_current("something else")
    assert not late.is_current(None)
