"""A tiny random model is trained end to end: it learns, goes on after a kill, and describes itself."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from searchkit.errors import ConfigError, ModelLoadError
from searchkit.reranking import CrossEncoderReranker
from searchkit.training import LabelledPair, Recipe, train

pytest.importorskip("datasets")
pytest.importorskip("accelerate")

RECIPE = Recipe(epochs=3, batch_size=8, learning_rate=1e-2, max_length=48, logging_steps=5, save_steps=10)


def make_pairs() -> list[LabelledPair]:
    """Relevant are the passages that speak of Berlin."""
    return [
        LabelledPair(
            sentence_0=f"how many people {place}",
            sentence_1=f"{'berlin berlin' if place % 3 == 0 else 'word word'} {place % 7} the people",
            label=float(place % 3 == 0),
        )
        for place in range(80)
    ]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT as it is initialised; the folder's tokenizer cuts at 16 tokens, as all-MiniLM's does at 128."""
    import torch
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    from tests.conftest import word_piece_tokenizer

    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=200, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64, initializer_range=0.1,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    tokenizer = word_piece_tokenizer()
    tokenizer.enable_truncation(16)
    tokenizer.enable_padding(length=16)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=64,
        pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]",
    ).save_pretrained(folder)  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "barber-ranker"
    report = train(make_pairs(), folder, RECIPE, base_model=base, device="cpu", show_progress=False)
    assert report.steps == 30
    assert [line.step for line in report.log] == [5, 10, 15, 20, 25, 30]
    assert report.final_loss < 0.5 * report.log[0].loss
    return folder


def weights(folder: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(folder / "model.safetensors")


def test_a_trained_model_puts_relevant_passages_first(trained: Path) -> None:
    reranker = CrossEncoderReranker(trained, device="cpu")
    pairs = make_pairs()
    logits = reranker.predict([(pair.sentence_0, pair.sentence_1) for pair in pairs])
    relevant = np.array([pair.label == 1.0 for pair in pairs])
    assert logits[relevant].min() > logits[~relevant].max()
    assert (logits < 0).any(), "the activation is Identity: logits, not probabilities"


def test_sentence_transformers_reads_the_folder_and_gives_the_same_scores(trained: Path) -> None:
    from sentence_transformers import CrossEncoder

    pairs = [(pair.sentence_0, pair.sentence_1) for pair in make_pairs()[:9]]
    theirs = CrossEncoder(str(trained), device="cpu", local_files_only=True).predict(pairs)
    assert CrossEncoderReranker(trained, device="cpu").predict(pairs) == pytest.approx(theirs, abs=1e-4)


def test_the_base_tokenizer_s_own_truncation_is_gone(trained: Path) -> None:
    definition = json.loads((trained / "tokenizer.json").read_text(encoding="utf-8"))
    assert definition["truncation"] is None
    assert definition["padding"] is None


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def interrupted(trained: Path, folder: Path) -> Path:
    """Copy a run as a kill after step 20 leaves it."""
    shutil.copytree(trained, folder)
    for path in folder.iterdir():
        if path.name not in ("run.json", "checkpoints"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(folder / "checkpoints" / "checkpoint-30")
    return folder


@pytest.mark.parametrize("how", ["pickle", "torch"])
@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_a_checkpoint_that_would_run_code_is_refused_and_runs_none(trained, base, tmp_path, name, how):
    import torch

    killed = interrupted(trained, tmp_path / "killed")
    file = killed / "checkpoints" / "checkpoint-20" / name
    assert file.is_file()
    mark = tmp_path / "exploded"
    if how == "pickle":
        file.write_bytes(pickle.dumps(Bomb(mark), protocol=2))  # of another one torch warns as well
    else:
        torch.save({"state": Bomb(mark)}, file)
    with pytest.raises(ConfigError, match=r"checkpoint-20.*nothing of it was run; delete that folder"):
        train(make_pairs(), killed, RECIPE, base_model=base, device="cpu", show_progress=False, resume=True)
    assert not mark.exists()


def test_a_file_that_this_run_would_not_write_is_named(trained, base, tmp_path):
    killed = interrupted(trained, tmp_path / "killed")
    (killed / "checkpoints" / "checkpoint-20" / "scaler.pt").write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    with pytest.raises(ConfigError, match=r"scaler\.pt, which only a run in fp16 writes"):
        train(make_pairs(), killed, RECIPE, base_model=base, device="cpu", show_progress=False, resume=True)
    assert not (tmp_path / "exploded").exists()


def test_nothing_else_in_a_checkpoint_is_opened_or_run(trained, base, tmp_path):
    killed = interrupted(trained, tmp_path / "killed")
    mark = tmp_path / "exploded"
    code = f"import os\nos.mkdir({str(mark)!r})\n"
    for folder in (killed / "checkpoints" / "checkpoint-20", killed / "checkpoints" / "base"):
        for name in ("training_args.bin", "pytorch_model.bin"):
            (folder / name).write_bytes(pickle.dumps(Bomb(mark)))
        (folder / "modeling_own.py").write_text(code)
        config = json.loads((folder / "config.json").read_text())
        classes = ("AutoModelForSequenceClassification", "AutoConfig", "AutoTokenizer")
        config["auto_map"] = dict.fromkeys(classes, "modeling_own.Own")
        (folder / "config.json").write_text(json.dumps(config))
    report = train(make_pairs(), killed, RECIPE, base_model=base, device="cpu", show_progress=False, resume=True)
    assert report.steps == 30
    assert not mark.exists()


def test_the_bomb_goes_off_where_it_is_opened(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "exploded")))
    assert (tmp_path / "exploded").exists()


def test_a_resumed_run_ends_with_the_weights_of_an_unbroken_one(trained: Path, base: Path, tmp_path: Path) -> None:
    killed = interrupted(trained, tmp_path / "killed")
    (killed / "checkpoints" / "checkpoint-25").mkdir()  # the kill came while this one was being written
    report = train(make_pairs(), killed, RECIPE, base_model=base, device="cpu", show_progress=False, resume=True)
    assert report.steps == 30
    assert [line.step for line in report.log] == [5, 10, 15, 20, 25, 30]
    unbroken, resumed = weights(trained), weights(killed)
    assert unbroken.keys() == resumed.keys()
    for name, expected in unbroken.items():
        np.testing.assert_array_equal(resumed[name], expected, err_msg=name)


def test_another_run_s_folder_is_neither_overwritten_nor_continued(trained: Path, base: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--resume"):
        train(make_pairs(), trained, RECIPE, base_model=base)
    with pytest.raises(ConfigError, match="another recipe"):
        train(make_pairs(), trained, RECIPE.model_copy(update={"epochs": 9}), base_model=base, resume=True)
    other = shutil.copytree(base, tmp_path / "other" / base.name)
    altered = weights(other) | {"embeddings.LayerNorm.bias": np.ones(32, np.float32)}
    save_file(altered, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match="another base_sha256"):
        train(make_pairs(), trained, RECIPE, base_model=other, resume=True)
    shutil.rmtree(tmp_path / "other")
    with pytest.raises(ConfigError, match="another pairs_sha256"):
        train(make_pairs()[:-1], trained, RECIPE, base_model=base, resume=True)
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="not empty"):
        train(make_pairs(), tmp_path, RECIPE, base_model=base)


def test_a_finished_run_is_left_as_it_is(trained: Path, base: Path) -> None:
    from searchkit.config import Calibration, RerankerProfile
    from searchkit.training import write_profile

    before = {name: (trained / name).read_bytes() for name in ("README.md", "card.json", "model.safetensors")}
    write_profile(RerankerProfile(calibration=Calibration(slope=2.0, intercept=1.0), fitted_on="mine"), trained)
    report = train(make_pairs(), trained, RECIPE, base_model=base, device="cpu", show_progress=False, resume=True)
    assert (report.steps, [line.step for line in report.log]) == (30, [5, 10, 15, 20, 25, 30])
    assert {name: (trained / name).read_bytes() for name in before} == before
    assert CrossEncoderReranker(trained, device="cpu").profile.fitted_on == "mine"


def test_a_checkpoint_or_a_base_that_was_half_written_does_not_stop_the_run(trained, base, tmp_path):
    killed = interrupted(trained, tmp_path / "killed")
    half = killed / "checkpoints" / "checkpoint-25"
    half.mkdir()
    (half / "trainer_state.json").write_text('{"epoch": 2.')
    report = train(make_pairs(), killed, RECIPE, base_model=base, device="cpu", show_progress=False, resume=True)
    assert report.steps == 30
    early = interrupted(trained, tmp_path / "early")
    for path in (early / "checkpoints").iterdir():
        shutil.rmtree(path)
    (early / "checkpoints" / "base.part").mkdir()
    (early / "checkpoints" / "base.part" / "config.json").write_text("{")
    train(make_pairs(), early, RECIPE, base_model=base, device="cpu", show_progress=False, resume=True)
    np.testing.assert_array_equal(*(weights(one)["classifier.weight"] for one in (trained, early)))


def test_a_run_that_diverges_is_an_error_and_leaves_no_model(base: Path, tmp_path: Path) -> None:
    wild = RECIPE.model_copy(update={"learning_rate": 1e30, "max_grad_norm": 1e30, "save_steps": 100})
    with pytest.raises(ConfigError, match="diverged"):
        train(make_pairs(), tmp_path / "run", wild, base_model=base, device="cpu", show_progress=False)
    assert not (tmp_path / "run" / "model.safetensors").exists()
    report = train(make_pairs(), tmp_path / "run", RECIPE, base_model=base, device="cpu", show_progress=False)
    assert report.steps == 30


def test_mistakes_are_found_before_anything_is_written(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    with pytest.raises(ConfigError, match="evaluation queries"):
        train(make_pairs(), folder, RECIPE, base_model=base, evaluation_queries=["how many people 3?"])
    with pytest.raises(ModelLoadError):
        train(make_pairs(), folder, RECIPE, base_model=tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="device='cuda:99'"):
        train(make_pairs(), folder, RECIPE, base_model=base, device="cuda:99")
    with pytest.raises(ConfigError, match="max_length=65: the base model reads 64 tokens"):
        train(make_pairs(), folder, RECIPE.model_copy(update={"max_length": 65}), base_model=base)
    assert not folder.exists()


def test_the_card_tells_the_run(trained: Path, base: Path) -> None:
    card = (trained / "README.md").read_text(encoding="utf-8")
    log = [json.loads(line) for line in (trained / "training_log.jsonl").read_text(encoding="utf-8").splitlines()]
    for section in (
        "Usage", "Intended use", "Evaluation", "Calibration", "Limits", "Training data", "Loss", "Hyperparameters",
        "Training log", "Environment", "Citation",
    ):  # fmt: skip
        assert re.search(rf"^##+ {section}$", card, re.MULTILINE), section
    assert card.startswith(f"---\nbase_model: {base.name}\n"), "nobody said under which license the pairs stand"
    assert "**License:** not stated" in card
    assert "English" not in card
    assert "# barber-ranker" in card
    assert "dataset_size:80" in card
    assert "| sentence_0 | string | 17 characters | 17.88 characters | 18 characters |" in card
    assert "| label | float | 0 | 0.34 | 1 |" in card
    assert "| how many people 0 | berlin berlin 0 the people | 1 |" in card
    assert '"pos_weight": null' in card
    assert "- `learning_rate`: 0.01" in card
    assert "- `adam_epsilon`: 1e-08" in card
    assert f"| 3.0000 | 30 | {log[-1]['loss']:.4f} |" in card
    assert "| sentence-transformers | " in card
    assert "Not evaluated" in card


def test_the_card_s_usage_runs_as_printed(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained.parent)
    card = (trained / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        names: dict[str, object] = {}
        exec(compile(block, "card", "exec"), names)
        assert len(names["scores"]) in (1, 2)  # type: ignore[arg-type]
