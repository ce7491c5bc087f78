"""The heavy half of training: torch, transformers and sentence-transformers. Imported by `train` only."""

from __future__ import annotations

import json
import platform
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from sentence_transformers.cross_encoder import CrossEncoder, CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss
from transformers import AutoModelForSequenceClassification, PrinterCallback, TrainerCallback, set_seed

from searchkit.errors import ConfigError, ModelLoadError
from searchkit.models.quiet import no_progress_bars
from searchkit.models.tokenizer import load_transformers_tokenizer
from searchkit.progress import progress_bar
from searchkit.training.pairs import LabelledPair
from searchkit.training.recipe import Recipe

_PACKAGES = ("sentence-transformers", "transformers", "torch", "accelerate", "datasets", "tokenizers")
_BASE = "base"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a finished run left behind.

    Attributes:
        log: ``(epoch, step, loss, learning rate)`` of every log line.
        steps: Optimizer steps.
        seconds: Wall-clock seconds of this stretch.
        parameter_count: Weights of the model.
        framework_versions: Version of each library, Python included.
        hardware: Device, in words.
    """

    log: tuple[tuple[float, int, float, float], ...]
    steps: int
    seconds: float
    parameter_count: int
    framework_versions: dict[str, str]
    hardware: str


def fit(
    pairs: Sequence[LabelledPair],
    base: Path,
    target: Path,
    checkpoints: Path,
    recipe: Recipe,
    *,
    device: str | None,
    show_progress: bool | None,
) -> Outcome:
    """Train and save the model to ``target``; goes on from the newest checkpoint if there is one.

    Raises:
        ModelLoadError: The base model cannot be loaded as a cross-encoder.
        ConfigError: The device cannot compute in the precision asked for, the checkpoint is no trainer's, or the
            training diverged.
    """
    with ExitStack() as stack:
        stack.enter_context(no_progress_bars())
        model, trainer = _prepare(pairs, base, checkpoints, recipe, device)
        started = time.perf_counter()
        advance = stack.enter_context(progress_bar(recipe.step_count(len(pairs)), "steps", show=show_progress))
        trainer.add_callback(_Progress(advance))
        _train(trainer, _last_checkpoint(checkpoints))
        seconds = time.perf_counter() - started
        _refuse_divergence(model, recipe, checkpoints)
        model.save_pretrained(str(target), create_model_card=False)
        # The saved tokenizer would still cut as it did in the last batch.
        shutil.copyfile(checkpoints / _BASE / "tokenizer.json", target / "tokenizer.json")
    return Outcome(
        log=_log(trainer.state.log_history),
        steps=int(trainer.state.global_step),
        seconds=seconds,
        parameter_count=sum(parameter.numel() for parameter in model.parameters()),
        framework_versions={"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
        hardware=_hardware(model.device),
    )


def _prepare(
    pairs: Sequence[LabelledPair], base: Path, checkpoints: Path, recipe: Recipe, device: str | None
) -> tuple[CrossEncoder, CrossEncoderTrainer]:
    set_seed(recipe.seed)  # before the model is made: the new classification layer is drawn from it
    folder = _cross_encoder_folder(base, checkpoints / _BASE)
    try:
        model = CrossEncoder(
            str(folder),
            num_labels=1,
            max_length=recipe.max_length,
            activation_fn=torch.nn.Identity(),
            device=device,
            local_files_only=True,
        )
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"{str(folder)!r} is damaged ({error}): delete {str(checkpoints)!r}") from error
    weight = None if recipe.positive_weight is None else torch.tensor(recipe.positive_weight)
    trainer = CrossEncoderTrainer(
        model=model,
        args=_arguments(recipe, checkpoints, is_cpu=model.device.type == "cpu"),
        train_dataset=_dataset(pairs),
        loss=BinaryCrossEntropyLoss(model, activation_fn=torch.nn.Identity(), pos_weight=weight),
    )
    trainer.remove_callback(PrinterCallback)  # the log goes into a file and the card
    return model, trainer


def _train(trainer: CrossEncoderTrainer, checkpoint: str | None) -> None:
    """Train to the end.

    Raises:
        ConfigError: A file of the checkpoint is not the trainer's, or would have run code: its own hold tensors and
            numbers alone.
    """
    if checkpoint is not None and not trainer.args.fp16 and (Path(checkpoint) / "scaler.pt").exists():
        raise ConfigError(f"{checkpoint!r} holds a scaler.pt, which only a run in fp16 writes; delete that file")
    try:
        trainer.train(resume_from_checkpoint=checkpoint)
    except Exception as error:
        if checkpoint is None or type(error).__name__ != "UnpicklingError":  # torch's refusal; we import no pickle
            raise
        raise ConfigError(
            f"{checkpoint!r} holds a file that is damaged or has more in it than tensors and numbers; nothing of it "
            "was run; delete that folder and resume from the checkpoint before it"
        ) from error


def _refuse_divergence(model: CrossEncoder, recipe: Recipe, checkpoints: Path) -> None:
    """Refuse weights that are no numbers, and drop the checkpoints: going on from them would end the same way."""
    broken = [name for name, weight in model.named_parameters() if not bool(torch.isfinite(weight).all())]
    if broken:
        shutil.rmtree(checkpoints)
        raise ConfigError(
            f"the training diverged: {len(broken)} weight matrices hold values that are no numbers, such as"
            f" {broken[0]!r}. Nothing was kept; train anew with a learning_rate below {recipe.learning_rate:g}"
            f" or a max_grad_norm below {recipe.max_grad_norm:g}."
        )


def _last_checkpoint(checkpoints: Path) -> str | None:
    """The newest checkpoint that was written to its end: the trainer's state is the last file it writes."""
    complete = [path.parent for path in checkpoints.glob("checkpoint-*/trainer_state.json") if _is_whole(path)]
    newest = max(complete, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
    return None if newest is None else str(newest)


def _is_whole(state: Path) -> bool:
    try:
        json.loads(state.read_text(encoding="utf-8"))
    except ValueError:  # the kill came while it was written
        return False
    return True


def _cross_encoder_folder(base: Path, folder: Path) -> Path:
    """Write the base model as a cross-encoder with one label, and return where.

    A bi-encoder's folder would load as its pooling pipeline, and all-MiniLM's tokenizer files carry a truncation to
    128 tokens that would silently cut every pair; both end here.
    """
    if (folder / "config.json").is_file():
        return folder  # a resumed run starts from the very same classification layer
    try:
        network = AutoModelForSequenceClassification.from_pretrained(
            str(base), num_labels=1, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
        tokenizer = load_transformers_tokenizer(base).tokenizer
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"The base model in {str(base)!r} cannot be loaded as a cross-encoder: {error}") from error
    part = folder.with_suffix(".part")  # a kill must not leave half of it under its name
    shutil.rmtree(part, ignore_errors=True)
    network.save_pretrained(str(part))
    _save_tokenizer(base, tokenizer, part)
    part.replace(folder)
    return folder


def _save_tokenizer(base: Path, unbounded: Any, folder: Path) -> None:
    from transformers import AutoTokenizer

    wrapper = AutoTokenizer.from_pretrained(str(base), local_files_only=True, trust_remote_code=False)
    wrapper.save_pretrained(str(folder))
    (folder / "tokenizer.json").write_text(unbounded.to_str(), encoding="utf-8")


def _arguments(recipe: Recipe, checkpoints: Path, *, is_cpu: bool) -> CrossEncoderTrainingArguments:
    try:
        return CrossEncoderTrainingArguments(
            output_dir=str(checkpoints),
            num_train_epochs=recipe.epochs,
            per_device_train_batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate,
            lr_scheduler_type=recipe.schedule,
            warmup_steps=recipe.warmup_ratio,
            weight_decay=recipe.weight_decay,
            adam_beta1=recipe.adam_beta1,
            adam_beta2=recipe.adam_beta2,
            adam_epsilon=recipe.adam_epsilon,
            max_grad_norm=recipe.max_grad_norm,
            seed=recipe.seed,
            bf16=recipe.precision == "bf16",
            fp16=recipe.precision == "fp16",
            logging_steps=recipe.logging_steps,
            logging_nan_inf_filter=False,  # a loss that is no number must not be logged as the mean of the others
            save_strategy="steps",
            save_steps=recipe.save_steps,
            save_total_limit=recipe.kept_checkpoints,
            use_cpu=is_cpu,
            disable_tqdm=True,  # the bar is ours
            report_to="none",
        )
    except ValueError as error:
        raise ConfigError(f"This machine cannot train in {recipe.precision}: {error}") from error


def _dataset(pairs: Sequence[LabelledPair]) -> Dataset:
    return Dataset.from_dict(
        {
            "sentence_0": [pair.sentence_0 for pair in pairs],
            "sentence_1": [pair.sentence_1 for pair in pairs],
            "label": [pair.label for pair in pairs],
        }
    )


class _Progress(TrainerCallback):
    """Moves our bar; a resumed run starts where it went on."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        self._advance = advance
        self._shown = 0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002  # the hook's shape
        self._advance(state.global_step - self._shown)
        self._shown = state.global_step


def _log(history: Sequence[dict[str, Any]]) -> tuple[tuple[float, int, float, float], ...]:
    return tuple(
        (float(row["epoch"]), int(row["step"]), float(row["loss"]), float(row.get("learning_rate", 0.0)))
        for row in history
        if "loss" in row
    )


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads, {sys.platform}"
