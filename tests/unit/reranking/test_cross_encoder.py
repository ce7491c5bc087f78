from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from searchkit.config import RerankerProfile
from searchkit.deadline import Deadline
from searchkit.errors import ConfigError, ModelLoadError, RerankError
from searchkit.reranking import CrossEncoderReranker

IDENTITY = "torch.nn.modules.linear.Identity"
ARCHITECTURES = ["bert", "electra", "distilbert", "xlm-roberta", "modernbert", "deberta-v2"]
PAIRS = [
    ("how many people live in berlin", "Berlin had a population of 3,520,031."),
    ("how many people live in berlin", "Words " * 600),
    ("how many people live in berlin", ""),
    ("", "an empty query"),
    ("naïve café 你好", "Ünïcödé \N{ROCKET} ½ \u00a0 текст"),
    (" ".join(["long"] * 600), "a query that is cut"),
    (" ".join(["long"] * 600), " ".join(["both"] * 600)),
]


def reference(folder: Path) -> Any:
    """The class it stands in for."""
    import torch
    from sentence_transformers import CrossEncoder

    return CrossEncoder(str(folder), device="cpu", model_kwargs={"dtype": torch.float32}, local_files_only=True)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_scores_equal_those_of_sentence_transformers(cross_encoder_folder, architecture):
    folder = cross_encoder_folder(architecture, activation=IDENTITY)
    expected = reference(folder).predict(PAIRS)
    found = CrossEncoderReranker(folder, device="cpu").predict(PAIRS)
    assert found.dtype == np.float32
    assert found.shape == (len(PAIRS),)
    assert np.abs(found - expected).max() < 1e-4
    assert np.ptp(expected) > 0.01, "the random model cannot tell these pairs apart, so the test shows nothing"


@pytest.mark.parametrize("activation", [None, IDENTITY, "torch.nn.modules.activation.Sigmoid"])
def test_the_declared_activation_is_applied_and_sigmoid_is_the_default(cross_encoder_folder, activation):
    folder = cross_encoder_folder("bert", activation=activation)
    found = CrossEncoderReranker(folder, device="cpu").predict(PAIRS)
    assert np.abs(found - reference(folder).predict(PAIRS)).max() < 1e-4


def test_one_pair_of_strings_gives_a_scalar_as_sentence_transformers_does(cross_encoder_folder):
    folder = cross_encoder_folder("bert", activation=IDENTITY)
    reranker, other = CrossEncoderReranker(folder, device="cpu"), reference(folder)
    for pair in (PAIRS[0], list(PAIRS[0]), np.array(PAIRS[0])):
        found, expected = reranker.predict(pair), other.predict(pair)
        assert np.shape(found) == np.shape(expected) == ()
        assert isinstance(found, np.float32)
        assert abs(found - expected) < 1e-4


def test_an_empty_list_gives_an_empty_float32_array(cross_encoder_folder):
    found = CrossEncoderReranker(cross_encoder_folder("bert"), device="cpu").predict([])
    assert found.shape == (0,)
    assert found.dtype == np.float32


def test_a_two_dimensional_array_of_strings_is_a_list_of_pairs(cross_encoder_folder):
    reranker = CrossEncoderReranker(cross_encoder_folder("bert"), device="cpu")
    assert np.allclose(reranker.predict(np.array(PAIRS[:3])), reranker.predict(PAIRS[:3]), atol=1e-6)


def test_rank_equals_that_of_sentence_transformers(cross_encoder_folder):
    folder = cross_encoder_folder("bert", activation=IDENTITY)
    documents = [text for _, text in PAIRS]
    expected = reference(folder).rank(PAIRS[0][0], documents, top_k=4, return_documents=True)
    found = CrossEncoderReranker(folder, device="cpu").rank(PAIRS[0][0], documents, top_k=4, return_documents=True)
    assert [entry["corpus_id"] for entry in found] == [entry["corpus_id"] for entry in expected]
    assert [entry["text"] for entry in found] == [entry["text"] for entry in expected]
    assert np.allclose([entry["score"] for entry in found], [entry["score"] for entry in expected], atol=1e-4)
    assert all(isinstance(entry["score"], float) and isinstance(entry["corpus_id"], int) for entry in found)


def test_rank_leaves_the_texts_out_unless_asked_and_keeps_ties_in_the_order_given(cross_encoder_folder):
    reranker = CrossEncoderReranker(cross_encoder_folder("bert"), device="cpu")
    entries = reranker.rank("people", ["same", "same", "same"])
    assert [set(entry) for entry in entries] == [{"corpus_id", "score"}] * 3
    assert [entry["corpus_id"] for entry in entries] == [0, 1, 2]


def test_rank_reads_the_criteria_in_the_template_of_the_profile(cross_encoder_folder):
    profile = RerankerProfile(criteria_template="{query} the criteria: {criteria}")
    reranker = CrossEncoderReranker(cross_encoder_folder("bert", activation=IDENTITY), device="cpu", profile=profile)
    expected = reranker.predict(("people the criteria: in berlin", "words"))
    assert reranker.rank("people", ["words"], criteria="in berlin")[0]["score"] == pytest.approx(expected, abs=1e-6)


def test_equal_pairs_get_exactly_equal_scores(cross_encoder_folder):
    reranker = CrossEncoderReranker(cross_encoder_folder("bert"), device="cpu")
    logits = reranker.score_pairs([PAIRS[0], PAIRS[4], PAIRS[0], PAIRS[0]]).logits
    assert logits[0] == logits[2] == logits[3] != logits[1]


def test_a_score_does_not_depend_on_the_pairs_beside_it(cross_encoder_folder):
    reranker = CrossEncoderReranker(cross_encoder_folder("bert"), device="cpu", token_budget=256)
    together = reranker.score_pairs(PAIRS).logits
    alone = [reranker.score_pairs([pair]).logits[0] for pair in PAIRS]
    assert np.allclose(together, alone, atol=1e-5)


def test_tokens_that_the_model_cannot_see_are_counted_for_each_text(cross_encoder_folder):
    reranker = CrossEncoderReranker(cross_encoder_folder("bert"), device="cpu")
    text = " ".join(["word"] * 600)
    scores = reranker.score_pairs([("people", text), ("people", "word"), (text, text)])
    room = 512 - 3
    assert scores.truncated_tokens.tolist() == [600 - (room - 1), 0, 600 - (room - room // 2)]
    assert scores.query_truncated_tokens.tolist() == [0, 0, 600 - room // 2]
    assert scores.truncated_tokens.dtype == scores.query_truncated_tokens.dtype == np.int64
    assert scores.engine.endswith("fp32 cpu")


def test_a_shorter_max_length_is_kept_and_a_longer_one_is_held_to_the_model(cross_encoder_folder):
    folder = cross_encoder_folder("bert")
    text = " ".join(["word"] * 600)
    assert (
        CrossEncoderReranker(folder, device="cpu", max_length=64).score_pairs([("people", text)]).truncated_tokens[0]
        == 540
    )
    assert CrossEncoderReranker(folder, device="cpu", max_length=4096).max_length == 512


def test_a_model_with_other_than_one_label_is_refused_by_name(cross_encoder_folder):
    with pytest.raises(ModelLoadError, match="has 3 labels"):
        CrossEncoderReranker(cross_encoder_folder("bert", num_labels=3)).predict(PAIRS)


def test_a_bi_encoder_is_refused_with_a_hint(cross_encoder_folder, tmp_path):
    from transformers import AutoModel

    folder = tmp_path / "bi"
    shutil.copytree(cross_encoder_folder("bert"), folder)
    AutoModel.from_pretrained(folder).save_pretrained(folder)
    with pytest.raises(ModelLoadError, match="SentenceEncoder"):
        CrossEncoderReranker(folder).predict(PAIRS)


def test_weights_without_the_head_are_refused(cross_encoder_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "headless"
    shutil.copytree(cross_encoder_folder("bert"), folder)
    tensors = {
        name: tensor for name, tensor in load_file(folder / "model.safetensors").items() if "classifier" not in name
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelLoadError, match="no trained cross-encoder"):
        CrossEncoderReranker(folder, device="cpu").predict(PAIRS)


def test_code_that_comes_with_a_model_is_never_run(cross_encoder_folder, tmp_path):
    folder = tmp_path / "remote"
    shutil.copytree(cross_encoder_folder("bert"), folder)
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace("{", '{"auto_map": {"AutoConfig": "evil.Evil"},', 1))
    (folder / "evil.py").write_text("raise SystemExit('code was run')")
    with pytest.raises(ModelLoadError, match="auto_map"):
        CrossEncoderReranker(folder).predict(PAIRS)


def test_a_missing_model_is_a_model_load_error_that_lists_the_places():
    with pytest.raises(ModelLoadError, match="local hub cache"):
        CrossEncoderReranker("nobody/nothing-here", offline=True).predict(PAIRS)


def test_nan_is_refused_and_the_pair_is_named(cross_encoder_folder, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "nan"
    shutil.copytree(cross_encoder_folder("bert"), folder)
    tensors = load_file(folder / "model.safetensors")
    you = 5 + 26 + 10 + 32 + 4  # the id of 你
    tensors["bert.embeddings.word_embeddings.weight"][you] = torch.nan
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    reranker = CrossEncoderReranker(folder, device="cpu")
    assert np.isfinite(reranker.predict([("people", "berlin")])).all()
    with pytest.raises(RerankError, match="pair 2 "):
        reranker.predict([("people", "berlin"), ("people", "a longer text"), ("people", "你")])


@pytest.mark.parametrize("pairs", [["ab", "cd", "ef"], [("a",)], [("a", "b", "c")], [("a", None)], [("a", "\ud800")]])
def test_what_is_no_pair_of_texts_is_refused(cross_encoder_folder, pairs):
    with pytest.raises(RerankError, match="Pair 0"):
        CrossEncoderReranker(cross_encoder_folder("bert"), device="cpu").score_pairs(pairs)


@pytest.mark.parametrize(
    "arguments",
    [{"max_length": 3}, {"token_budget": 0}, {"precision": "int4"}, {"device": "tpu"}, {"device": "cuda:99"}],
)
def test_an_impossible_argument_is_a_config_error(cross_encoder_folder, arguments):
    with pytest.raises(ConfigError):
        CrossEncoderReranker(cross_encoder_folder("bert"), **arguments).load()


def test_a_profile_in_the_folder_is_read_and_a_foreign_model_gets_the_plain_sigmoid(cross_encoder_folder, tmp_path):
    folder = tmp_path / "with-profile"
    shutil.copytree(cross_encoder_folder("bert"), folder)
    assert CrossEncoderReranker(folder).profile == RerankerProfile()
    (folder / "searchkit.json").write_text('{"criteria_template": "{criteria} {query}", "calibration": {"slope": 2.0}}')
    reranker = CrossEncoderReranker(folder)
    assert reranker.profile.calibration.slope == 2.0
    assert reranker.compose("q", "c") == "c q"
    assert reranker.compose("q") == "q"
    (folder / "searchkit.json").write_text('{"typo": 1}')
    with pytest.raises(ModelLoadError, match=r"searchkit\.json"):
        _ = CrossEncoderReranker(folder).profile


def test_the_path_can_be_loaded_by_transformers_and_the_name_is_the_folders(cross_encoder_folder):
    from transformers import AutoModelForSequenceClassification

    folder = cross_encoder_folder("bert")
    reranker = CrossEncoderReranker(folder)
    assert reranker.name == folder.name
    assert reranker.model_path == folder
    assert AutoModelForSequenceClassification.from_pretrained(reranker.model_path).config.num_labels == 1


def test_a_deadline_that_is_over_leaves_everything_unscored(cross_encoder_folder):
    reranker = CrossEncoderReranker(cross_encoder_folder("bert"), device="cpu")
    reranker.load()
    assert np.isnan(reranker.score_pairs(PAIRS, deadline=Deadline.after(0.0)).logits).all()


def test_an_ample_deadline_scores_everything_as_without_one(cross_encoder_folder):
    reranker = CrossEncoderReranker(cross_encoder_folder("bert"), device="cpu")
    with_deadline = reranker.score_pairs(PAIRS, deadline=Deadline.after(60.0)).logits
    assert np.allclose(with_deadline, reranker.score_pairs(PAIRS).logits, atol=1e-5)


def test_threads_that_ask_first_at_once_load_once_and_agree(cross_encoder_folder):
    reranker = CrossEncoderReranker(cross_encoder_folder("bert"), device="cpu")
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(reranker.predict(PAIRS[:3]))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert all(np.allclose(scores, found[0], atol=1e-6) for scores in found)


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_length": "512"}, {"max_length": 12.5}, {"threads": "2"}, {"threads": True}, {"token_budget": 0},
        {"model": None}, {"profile": {"fitted_on": "x"}}, {"engine": "cuda"}, {"precision": "int4"},
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused_at_once(arguments):
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        CrossEncoderReranker(**arguments)


@pytest.mark.parametrize(
    "pairs", [None, 5, "ab", {"a": 1, "b": 2}, {"query", "text"}, [1], ["a", 2], [("a",)], [["a", None]]]
)
def test_what_are_no_pairs_is_refused(cross_encoder_folder, pairs):
    with pytest.raises(RerankError, match=r"pairs is a|Pair 0 is not two strings"):
        CrossEncoderReranker(cross_encoder_folder(), device="cpu").predict(pairs)


@pytest.mark.parametrize(
    "arguments",
    [
        {"documents": None}, {"documents": "abc"}, {"documents": iter(["a"])}, {"top_k": "5"}, {"top_k": 2.5},
        {"top_k": 0}, {"criteria": 5}, {"query": None},
    ],
)  # fmt: skip
def test_rankings_that_cannot_be_made_are_refused(cross_encoder_folder, arguments):
    reranker = CrossEncoderReranker(cross_encoder_folder(), device="cpu")
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        reranker.rank(**{"query": "q", "documents": ["a"], **arguments})


def test_what_an_engine_raises_is_an_error_of_ours(cross_encoder_folder, monkeypatch):
    reranker = CrossEncoderReranker(cross_encoder_folder(), device="cpu")
    reranker.load()

    def broken(batches):
        raise RuntimeError("driver gone")

    monkeypatch.setattr(reranker._loaded.get().engine, "run", broken)
    with pytest.raises(RerankError, match="failed with RuntimeError: driver gone"):
        reranker.predict([("a", "b")])
