"""Whether judgments bear a fitted profile out."""

from __future__ import annotations

import numpy as np
import pytest

from searchkit.reranking.profile_fit import JudgedCandidate, contradiction, fit_profile
from searchkit.types import RetrievalEvidence


def judged(logits, dense, relevance):
    return [
        JudgedCandidate(query="q", logit=logit, evidence=RetrievalEvidence(rank=1, dense_score=score), relevance=grade)
        for logit, score, grade in zip(logits, dense, relevance, strict=True)
    ]


def test_a_blend_that_leaves_the_model_out_is_named_with_its_weight_and_what_to_do():
    rng = np.random.default_rng(0)
    dense = rng.uniform(size=200)
    relevant = (dense > 0.8).astype(float)
    logits = 3 * dense - relevant + rng.normal(scale=0.3, size=200)  # right, and yet no help beside the dense score
    candidates = judged(logits, dense, relevant)
    mixed = fit_profile(candidates, fitted_on="")
    assert "logit_weight=0.0001" in contradiction(mixed, candidates)
    assert "with_blend=False" in contradiction(mixed, candidates)
    assert contradiction(fit_profile(candidates, with_blend=False, fitted_on=""), candidates) is None


def test_judgments_that_the_model_agrees_with_bear_the_profile_out():
    logits = np.linspace(-4, 4, 40)
    candidates = judged(logits, np.linspace(0, 1, 40), (logits > 2).astype(float))
    assert contradiction(fit_profile(candidates, fitted_on=""), candidates) is None


@pytest.mark.parametrize(("relevant", "other"), [(2, 2), (1, 5), (1, 9), (5, 1), (3, 3), (1, 99)])
@pytest.mark.parametrize("with_blend", [True, False])
def test_few_judgments_that_the_model_agrees_with_bear_it_out(relevant, other, with_blend):
    logits = [5 + 0.1 * number for number in range(relevant)] + [-5 - 0.1 * number for number in range(other)]
    candidates = judged(logits, [0.5] * len(logits), [1.0] * relevant + [0.0] * other)
    assert contradiction(fit_profile(candidates, with_blend=with_blend, fitted_on=""), candidates) is None


def test_grades_near_to_each_other_bear_the_model_out_that_agrees():
    logits = [5 + 0.1 * number for number in range(20)] + [-5 - 0.1 * number for number in range(20)]
    candidates = judged(logits, [0.5] * 40, [0.6] * 20 + [0.3] * 20)
    assert contradiction(fit_profile(candidates, fitted_on=""), candidates) is None


@pytest.mark.parametrize("seed", range(8))
def test_one_query_whose_relevant_passage_the_model_puts_last_does_not(seed):
    logits = np.random.default_rng(seed).normal(size=100)
    candidates = judged(logits, np.linspace(0, 1, 100), (logits == logits.min()).astype(float))
    assert "reranker scores high" in contradiction(fit_profile(candidates, fitted_on=""), candidates)


def test_judgments_that_the_model_contradicts_do_not():
    logits = np.linspace(-4, 4, 40)
    candidates = judged(logits, np.linspace(0, 1, 40), (logits < -2).astype(float))
    assert "reranker scores high" in contradiction(fit_profile(candidates, fitted_on=""), candidates)
