from __future__ import annotations

import numpy as np
import pytest

from searchkit.errors import ConfigError
from searchkit.reranking.model_files import read_profile
from searchkit.reranking.profile_fit import measure_profile, split_by_query
from searchkit.training import JudgedCandidate, fit_profile, write_profile
from searchkit.types import RetrievalEvidence


def candidates(count: int = 4000, slope: float = 0.6, intercept: float = -1.0) -> list[JudgedCandidate]:
    draw = np.random.default_rng(5)
    logits = draw.normal(0, 4, count)
    dense = draw.uniform(0, 1, count)
    chance = 1 / (1 + np.exp(-(slope * logits + 3 * dense + intercept - 1.5)))
    relevant = draw.uniform(size=count) < chance
    return [
        JudgedCandidate(
            query=f"q{place // 20}",
            logit=float(logits[place]),
            evidence=RetrievalEvidence(rank=place % 20 + 1, dense_score=float(dense[place])),
            relevance=float(relevant[place]),
        )
        for place in range(count)
    ]


def test_a_fitted_profile_is_calibrated_on_queries_it_has_not_seen():
    fitted, unseen = split_by_query(candidates())
    profile = fit_profile(fitted, fitted_on="synthetic candidates")
    before = measure_profile(profile.model_copy(update={"calibration": type(profile.calibration)()}), unseen)
    after = measure_profile(profile, unseen)
    assert after.calibration_error < 0.05 < before.calibration_error
    assert after.blend_error is not None
    assert after.blend_error < 0.05
    assert profile.blend is not None
    assert profile.blend.dense_weight == pytest.approx(3, rel=0.25)


def test_splitting_keeps_a_query_on_one_side():
    fitted, unseen = split_by_query(candidates(400))
    assert not {item.query for item in fitted} & {item.query for item in unseen}
    assert len(fitted) + len(unseen) == 400
    with pytest.raises(ConfigError, match="cannot be split"):
        split_by_query(candidates(40))


def test_a_written_profile_is_what_the_reranker_reads(tmp_path):
    profile = fit_profile(candidates(400), with_blend=False, fitted_on="synthetic candidates")
    write_profile(profile, tmp_path)
    assert read_profile(tmp_path) == profile
    assert profile.blend is None
