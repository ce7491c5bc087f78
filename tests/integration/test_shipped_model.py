"""The weights in the package: what they are, and that they give the scores they gave when they were shipped."""

from __future__ import annotations

import numpy as np
import pytest

from searchkit import CrossEncoderReranker, SearchKit
from searchkit.models import DEFAULT_RERANKER

pytestmark = pytest.mark.slow

PAIRS = [
    ("how are hairdressers paid", "Hairdressers earned a median wage of $35,080 a year."),
    (
        "how are hairdressers paid States a yearly wage in dollars.",
        "Hairdressers are paid by the hour, and tips are common.",
    ),
    (
        "run a command and read its output",
        "subprocess.run(*popenargs, input=None, capture_output=False, timeout=None, check=False, **kwargs) "
        "Run command with arguments and return a CompletedProcess instance.",
    ),
    ("what causes high blood pressure", "Photosynthesis turns light into sugar."),
    ("héllo wörld 你好", "A greeting — in several languages."),
    ("q " * 5, "long text " * 300),
]
WAGE = "A relevant passage states a yearly wage in dollars."
LOGITS = [3.6081, -0.3825, 1.3187, -7.1859, -2.1457, -2.4338]


@pytest.mark.parametrize("engine", ["torch", "onnx"])
def test_shipped_weights_give_the_pinned_scores(engine):
    scores = CrossEncoderReranker(engine=engine).predict(PAIRS)
    np.testing.assert_allclose(scores, LOGITS, atol=1e-3)


def test_scores_equal_those_of_sentence_transformers_on_the_shipped_weights():
    torch = pytest.importorskip("torch")
    from sentence_transformers import CrossEncoder

    ours = CrossEncoderReranker()
    # The weights lie on disk in half precision; without dtype their library would compute in it.
    theirs = CrossEncoder(str(ours.model_path), model_kwargs={"dtype": torch.float32}, device="cpu", max_length=512)
    np.testing.assert_allclose(ours.predict(PAIRS), theirs.predict(PAIRS, show_progress_bar=False), atol=1e-4)


def test_the_model_comes_with_card_profile_and_safe_weights_only():
    folder = CrossEncoderReranker().model_path
    assert folder.name == DEFAULT_RERANKER
    names = {path.name for path in folder.iterdir()}
    assert {"README.md", "config.json", "model.safetensors", "searchkit.json", "tokenizer.json"} <= names
    assert not {name for name in names if name.endswith((".bin", ".pkl", ".pt", ".py"))}


def test_criteria_lift_the_passage_that_meets_them_and_an_unrelated_query_finds_nothing(tmp_path):
    passages = [
        {"id": "hours", "text": "How hairdressers are paid: by the hour, some by commission, plus tips."},
        {"id": "wages", "text": "Hairdressers earned a median wage of $35,080 a year."},
        {"id": "school", "text": "A cosmetology program takes nine months."},
    ]
    with SearchKit("handbook", path=tmp_path) as kit:
        kit.add(passages)
        assert kit.search("how are hairdressers paid", criteria=WAGE)[0].id == "wages"
        assert kit.search("how are hairdressers paid")[0].id == "hours"
        unrelated = kit.search("boiling point of nitrogen under pressure", min_score=0.5)
    assert unrelated.status == "reranked"
    assert len(unrelated) == 0
