"""What every reranker owes its callers, whatever runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from searchkit.config import RerankerProfile
from searchkit.deadline import Deadline
from searchkit.reranking import CrossEncoderReranker
from searchkit.stages import Reranker
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
