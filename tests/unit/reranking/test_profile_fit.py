"""Whether judgments bear a fitted profile out."""

from __future__ import annotations

import numpy as np

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


def test_judgments_that_the_model_contradicts_do_not():
    logits = np.linspace(-4, 4, 40)
    candidates = judged(logits, np.linspace(0, 1, 40), (logits < -2).astype(float))
    assert "reranker scores high" in contradiction(fit_profile(candidates, fitted_on=""), candidates)
