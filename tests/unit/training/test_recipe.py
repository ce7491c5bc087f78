from __future__ import annotations

import subprocess
import sys

import pytest

from searchkit.errors import ConfigError
from searchkit.training import Recipe


def test_the_defaults_are_the_seed_card_s():
    recipe = Recipe()
    assert recipe.model_dump() == {
        "epochs": 3,
        "batch_size": 16,
        "learning_rate": 5e-5,
        "schedule": "linear",
        "warmup_ratio": 0.0,
        "weight_decay": 0.0,
        "adam_beta1": 0.9,
        "adam_beta2": 0.999,
        "adam_epsilon": 1e-8,
        "max_grad_norm": 1.0,
        "positive_weight": None,
        "max_length": 512,
        "seed": 42,
        "precision": "fp32",
        "logging_steps": 500,
        "save_steps": 500,
        "kept_checkpoints": 2,
    }
    assert recipe.step_count(31_000) == 5814


def test_a_misspelled_or_impossible_setting_is_refused():
    for wrong in ({"epoch": 2}, {"epochs": 0}, {"batch_size": "16"}, {"schedule": "polynomial"}):
        with pytest.raises(ConfigError, match=rf"Recipe\.{next(iter(wrong))}"):
            Recipe(**wrong)


def test_importing_training_loads_no_model_library():
    code = (
        "import sys, searchkit.training, searchkit.training.criteria;"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'datasets', 'tokenizers'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
