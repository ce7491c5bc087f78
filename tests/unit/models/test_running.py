from __future__ import annotations

import json
import subprocess
import sys
import threading
import time

import pytest

from searchkit.errors import ConfigError
from searchkit.models.device import device_kind, resolve_device
from searchkit.models.once import Once
from searchkit.models.tokenizer import load_tokenizer, max_length


def test_importing_the_stages_loads_no_model_library():
    code = (
        "import sys, searchkit.models, searchkit.encoding, searchkit.reranking;"
        "print([m for m in ('torch', 'transformers', 'sentence_transformers', 'fastembed', 'onnxruntime', "
        "'tokenizers', 'huggingface_hub') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_many_threads_make_a_value_once():
    made = []

    def make() -> int:
        time.sleep(0.01)
        made.append(1)
        return len(made)

    value = Once(make)
    assert not value.is_made
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(value.get())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1] * 8
    assert value.is_made


def test_a_failed_try_is_repeated():
    tries = []

    def make() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("not yet")
        return "made"

    value = Once(make)
    with pytest.raises(OSError, match="not yet"):
        value.get()
    assert value.get() == "made"


@pytest.mark.parametrize("device", ["", "gpu", "CUDA", "cuda:", "cuda:x", "cpu:0"])
def test_an_unknown_device_is_a_config_error(device):
    with pytest.raises(ConfigError, match="device must be"):
        resolve_device(device)


def test_cpu_stays_cpu_and_kinds_drop_the_number():
    assert resolve_device("cpu") == "cpu"
    assert device_kind("cuda:3") == "cuda"


def test_a_device_that_is_not_there_is_a_config_error():
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigError, match="not usable here"):
        resolve_device("cuda")


@pytest.mark.parametrize(
    ("config", "settings", "expected"),
    [
        ({"max_position_embeddings": 512, "model_type": "bert"}, {"model_max_length": 256}, 256),
        ({"max_position_embeddings": 512, "model_type": "bert"}, {"model_max_length": 10**30}, 512),
        ({"max_position_embeddings": 514, "model_type": "xlm-roberta"}, {}, 512),
        ({"max_position_embeddings": -1, "model_type": "xlnet"}, {}, 512),
        ({}, {"model_max_length": 8192}, 8192),
    ],
)
def test_the_length_limit_is_the_smaller_of_tokenizer_and_positions(tmp_path, config, settings, expected):
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    assert max_length(tmp_path) == expected


def test_truncation_and_padding_in_the_files_are_switched_off(cross_encoder_folder, tmp_path):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(cross_encoder_folder("bert") / "tokenizer.json"))
    tokenizer.enable_truncation(16)
    tokenizer.enable_padding(length=16)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert len(load_tokenizer(tmp_path).encode("word " * 40).ids) == 42
    assert len(load_tokenizer(tmp_path).encode("word").ids) == 3
