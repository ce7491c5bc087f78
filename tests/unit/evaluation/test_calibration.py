import numpy as np
import pytest

from searchkit.errors import ConfigError
from searchkit.evaluation import Run, ScoredPassage, run_calibration_error


def test_probabilities_that_come_true_have_no_error():
    rng = np.random.default_rng(0)
    rows = [ScoredPassage(str(n), float(p)) for n, p in enumerate(rng.uniform(size=20_000))]
    qrels = {"q": {row.passage_id: int(rng.uniform() < row.score) for row in rows}}
    assert run_calibration_error(Run("r", {"q": rows}), qrels) < 0.02


def test_unjudged_passages_of_a_run_count_as_not_relevant():
    run = Run("r", {"q": (ScoredPassage("a", 1.0), ScoredPassage("x", 0.5)), "other": (ScoredPassage("a", 0.5),)})
    assert run_calibration_error(run, {"q": {"a": 1}}, bins=2) == pytest.approx(0.25)


def test_a_run_without_answers_is_refused():
    with pytest.raises(ConfigError):
        run_calibration_error(Run("r", {"other": (ScoredPassage("a", 0.5),)}), {"q": {"a": 1}})
