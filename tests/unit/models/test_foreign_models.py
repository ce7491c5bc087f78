"""Model folders from strangers: no code of theirs runs, and nothing pickled is opened."""

from __future__ import annotations

import ast
import json
import os
import pickle
import shutil
from pathlib import Path

import pytest

import searchkit
from searchkit import CrossEncoderReranker, SentenceEncoder
from searchkit.errors import EncodingError, ModelLoadError, SearchkitError
from searchkit.models import ModelNotFoundError, find_model

PACKAGE = Path(searchkit.__file__).parent
OPENERS = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def mark(tmp_path):
    return tmp_path / "exploded"


def with_pickles(folder: Path, to: Path, mark: Path) -> Path:
    """Return a copy of a model whose weights are pickled, and run code if they are opened."""
    shutil.copytree(folder, to)
    for weights in to.rglob("*.safetensors"):
        weights.with_name("pytorch_model.bin").write_bytes(pickle.dumps(Bomb(mark)))
        weights.unlink()
    return to


def test_pickled_weights_of_either_stage_are_refused_unopened(bi_encoder_folder, cross_encoder_folder, tmp_path, mark):
    encoder = with_pickles(bi_encoder_folder(), tmp_path / "encoder", mark)
    with pytest.raises(EncodingError, match="pickled"):
        SentenceEncoder(encoder, device="cpu").encode_queries(["x"])
    reranker = with_pickles(cross_encoder_folder(), tmp_path / "reranker", mark)
    with pytest.raises(ModelLoadError, match="pickled"):
        CrossEncoderReranker(reranker, device="cpu").score_pairs([("a", "b")])
    assert not mark.exists()


def test_pickled_weights_of_one_part_are_refused_unopened(bi_encoder_folder, tmp_path, mark):
    folder = tmp_path / "model"
    shutil.copytree(bi_encoder_folder(dense=16), folder)
    weights = next(path for path in folder.rglob("*.safetensors") if path.parent != folder)
    weights.with_name("pytorch_model.bin").write_bytes(pickle.dumps(Bomb(mark)))
    weights.unlink()
    with pytest.raises(EncodingError, match="pickled"):
        SentenceEncoder(folder, device="cpu").encode_queries(["x"])
    assert not mark.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"type": "foreign_part.Part"}, "code of its own"),
        ({"path": "../part"}, "outside of its folder"),
        ({"path": "/etc"}, "outside of its folder"),
    ],
)
def test_parts_that_are_foreign_code_or_lie_elsewhere_are_refused(
    bi_encoder_folder, tmp_path, mark, monkeypatch, change, said
):
    (tmp_path / "foreign_part.py").write_text(f"import os\nos.mkdir({str(mark)!r})\n")
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "model"
    shutil.copytree(bi_encoder_folder(), folder)
    modules = json.loads((folder / "modules.json").read_text())
    modules[-1] |= change
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(EncodingError, match=said):
        SentenceEncoder(folder, device="cpu").encode_queries(["x"])
    assert not mark.exists()


def test_code_beside_a_model_is_not_run(cross_encoder_folder, tmp_path, mark):
    folder = tmp_path / "model"
    shutil.copytree(cross_encoder_folder(), folder)
    (folder / "modeling_own.py").write_text(f"import os\nos.mkdir({str(mark)!r})\n")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForSequenceClassification": "modeling_own.Own", "AutoConfig": "modeling_own.Own"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelLoadError, match="auto_map"):
        CrossEncoderReranker(folder, device="cpu").score_pairs([("a", "b")])
    assert not mark.exists()


def test_a_linked_folder_is_its_target_and_a_link_to_nowhere_is_no_model(tmp_path):
    folder = tmp_path / "real"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    link = tmp_path / "link"
    link.symlink_to(folder)
    found = find_model(link)
    assert (found.path, found.name) == (folder.resolve(), "real")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(tmp_path / "gone")
    with pytest.raises(ModelNotFoundError, match="link to a file that does not exist"):
        find_model(link)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(SearchkitError):
        find_model(tmp_path / "loop")


def test_the_package_opens_no_pickle_and_never_trusts_code():
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert not OPENERS & {name.name.split(".")[0] for name in node.names}, path
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in OPENERS, path
            elif isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("torch.load", "np.load", "numpy.load", "eval", "exec"), path
                given = {word.arg: ast.unparse(word.value) for word in node.keywords}
                assert given.get("trust_remote_code", "False") == "False", path
                if called.endswith(".from_pretrained") and "Model" in called:
                    assert (given.get("use_safetensors"), given.get("trust_remote_code")) == ("True", "False"), path
