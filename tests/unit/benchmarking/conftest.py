"""Texts without sources, and a tiny model to measure."""

from __future__ import annotations

import json
import shutil

import pytest

from searchkit.benchmarking import Circumstances, TextSource
from tests.unit.benchmarking.stubs import SENTENCES


@pytest.fixture
def source():
    return TextSource(0, SENTENCES)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory, cross_encoder_folder):
    """A tiny random BERT whose tokenizer declares token types, as BERT's own does."""
    folder = tmp_path_factory.mktemp("tiny-bench") / "model"
    shutil.copytree(cross_encoder_folder("bert"), folder)
    settings = folder / "tokenizer_config.json"
    names = ["input_ids", "token_type_ids", "attention_mask"]
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "model_input_names": names}))
    return folder


@pytest.fixture
def tiny(tiny_folder):
    return Circumstances(tiny_folder, device="cpu", threads=1, max_length=512)
