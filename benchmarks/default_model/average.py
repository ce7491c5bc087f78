"""Write the averaged weights of a run as a model folder in half precision.

python -m benchmarks.default_model.average RUN FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from benchmarks.default_model.train import new_state, restore
from searchkit.models.lookup import find_model
from searchkit.models.tokenizer import load_tokenizer

BASE = "all-MiniLM-L6-v2"


def main() -> None:
    run, folder = Path(sys.argv[1]), Path(sys.argv[2])
    base = find_model(BASE).path
    state = new_state(base)
    restore(state, run)
    weights = state.model.state_dict()
    names = [name for name, parameter in state.model.named_parameters() if parameter.requires_grad]
    weights |= dict(zip(names, state.average, strict=True))
    folder.mkdir(parents=True, exist_ok=True)
    halves = {name: tensor.to(torch.float16).contiguous() for name, tensor in weights.items()}
    save_file(halves, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    for name in ("_name_or_path", "transformers_version", "gradient_checkpointing"):
        config.pop(name, None)
    config |= {
        "architectures": ["BertForSequenceClassification"],
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
        "sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"},
        "dtype": "float16",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (folder / "tokenizer.json").write_text(load_tokenizer(base).to_str(), encoding="utf-8")
    settings = json.loads((base / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings = {name: value for name, value in settings.items() if name != "name_or_path"} | {"model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    print(f"{folder}: {state.pairs} pairs, step {state.step}")


if __name__ == "__main__":
    main()
