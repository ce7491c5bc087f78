"""One training run: from pairs to a folder that `CrossEncoderReranker` opens."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from searchkit.config import RerankerProfile
from searchkit.errors import ConfigError, MissingExtraError, ModelLoadError, SearchkitError
from searchkit.models.device import resolve_device
from searchkit.models.hashing import weight_hash
from searchkit.models.lookup import ModelFolder, ModelNotFoundError, find_model
from searchkit.models.tokenizer import max_length
from searchkit.training.calibrate import write_profile
from searchkit.training.card import CardFacts
from searchkit.training.card_file import read_card, write_card
from searchkit.training.pairs import LabelledPair, PairStatistics, check_pairs
from searchkit.training.recipe import Recipe
from searchkit.types import Frozen

if TYPE_CHECKING:
    from searchkit.training.engine import Outcome

DEFAULT_BASE = "all-MiniLM-L6-v2"
RUN_FILE = "run.json"
LOG_FILE = "training_log.jsonl"
CHECKPOINTS = "checkpoints"


class LogLine(Frozen):
    """One line of the training log.

    Attributes:
        epoch: Passes over the pairs so far.
        step: Optimizer steps so far.
        loss: Mean loss since the line before.
        learning_rate: Rate of the last of these steps.
    """

    epoch: float
    step: int
    loss: float
    learning_rate: float


class TrainingReport(Frozen):
    """What a run did.

    Attributes:
        folder: The trained model, with its card, profile, log and run description.
        steps: Optimizer steps.
        seconds: Wall-clock seconds of the last stretch; a resumed run counts from where it went on.
        final_loss: Mean loss of the last log line; ``None`` where the run was shorter than one logging interval.
        statistics: The pairs.
        log: Every line of the training log.
    """

    folder: str
    steps: int
    seconds: float
    final_loss: float | None
    statistics: PairStatistics
    log: tuple[LogLine, ...]


class _RunIdentity(Frozen):
    """What must be the same for a checkpoint to be worth continuing."""

    recipe: Recipe
    base_model: str
    base_sha256: str
    pairs_sha256: str


def train(
    pairs: Sequence[LabelledPair],
    folder: str | os.PathLike[str],
    recipe: Recipe | None = None,
    *,
    base_model: str | os.PathLike[str] = DEFAULT_BASE,
    evaluation_queries: Iterable[str] = (),
    resume: bool = False,
    device: str | None = None,
    show_progress: bool | None = None,
    offline: bool = False,
    model_name: str | None = None,
) -> TrainingReport:
    """Train a cross-encoder and return what happened; the folder then holds a model ready for `CrossEncoderReranker`.

    Built on sentence-transformers' CrossEncoderTrainer and BinaryCrossEntropyLoss. Checkpoints lie in
    ``folder/checkpoints`` while the run lasts and stay afterwards. On the same machine and library versions a resumed
    run ends with the weights of an unbroken one.

    Args:
        pairs: The training pairs; see `read_pairs` and `mine_pairs`.
        folder: Where the model goes.
        recipe: The hyperparameters; the seed card's by default.
        base_model: The weights to start from: a folder or a name, bi-encoder or cross-encoder.
        evaluation_queries: Queries that the model will be judged on; finding one among the pairs is an error.
        resume: Go on from the last checkpoint in ``folder``; without one, start. A run that is at its end is left as
            it is.
        device: "cpu", "cuda", "mps"; ``None`` takes the best there is.
        show_progress: ``None`` shows a bar when standard error is a terminal.
        offline: Never ask the model hub for ``base_model``.
        model_name: Name in the model card; the folder's name by default.

    Raises:
        ConfigError: The pairs cannot teach anything, the folder holds another run, a value is out of range, or the
            training diverged.
        ModelLoadError: The base model was not found or is damaged.
        MissingExtraError: The extra 'train' is not installed.
    """
    recipe = recipe or Recipe()
    target = Path(folder)
    statistics = check_pairs(pairs, evaluation_queries=evaluation_queries)
    base = _find_base(base_model, offline=offline)
    _check_length(recipe, base.path)
    device = None if device is None else resolve_device(device)
    identity = _RunIdentity(
        recipe=recipe, base_model=base.name, base_sha256=weight_hash(base.path), pairs_sha256=_digest(pairs)
    )
    try:
        from searchkit.training import engine
    except ImportError as error:
        raise MissingExtraError("training", "train") from error
    if _claim(target, identity, resume=resume) and (finished := _finished(target, statistics)) is not None:
        return finished
    try:
        outcome = engine.fit(
            pairs, base.path, target, target / CHECKPOINTS, recipe, device=device, show_progress=show_progress
        )
    except SearchkitError:
        _disclaim(target)
        raise
    report = _report(target, outcome, statistics)
    write_profile(RerankerProfile(fitted_on="not fitted: the plain sigmoid of the logit"), target)
    (target / LOG_FILE).write_text("".join(line.model_dump_json() + "\n" for line in report.log), encoding="utf-8")
    facts = CardFacts(
        name=model_name or target.resolve().name,
        base_model=base.name,
        recipe=recipe,
        statistics=statistics,
        samples=_samples(pairs),
        log=tuple((line.epoch, line.step, line.loss) for line in report.log),
        parameter_count=outcome.parameter_count,
        framework_versions=outcome.framework_versions,
        seconds=outcome.seconds,
        hardware=outcome.hardware,
    )
    write_card(facts, target)
    return report


def _find_base(base_model: str | os.PathLike[str], *, offline: bool) -> ModelFolder:
    try:
        return find_model(base_model, offline=offline)
    except ModelNotFoundError as error:
        raise ModelLoadError(str(error)) from error


def _digest(pairs: Sequence[LabelledPair]) -> str:
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update(json.dumps([pair.sentence_0, pair.sentence_1, pair.label]).encode() + b"\n")
    return digest.hexdigest()


def _check_length(recipe: Recipe, base: Path) -> None:
    longest = max_length(base)
    if recipe.max_length > longest:
        raise ConfigError(f"max_length={recipe.max_length}: the base model reads {longest} tokens at most.")


def _claim(target: Path, identity: _RunIdentity, *, resume: bool) -> bool:
    """Make the folder ours, or refuse to mix two runs; tell whether there is a run to go on with."""
    description = target / RUN_FILE
    if description.is_file():
        if not resume:
            raise ConfigError(
                f"{str(target)!r} already holds a training run. Pass resume=True (--resume) to go on with it, or "
                "give another folder."
            )
        _compare(description, identity)
        return True
    if target.is_dir() and any(target.iterdir()):
        raise ConfigError(f"{str(target)!r} is not empty and holds no training run. Give a new folder.")
    try:
        target.mkdir(parents=True, exist_ok=True)
        description.write_text(identity.model_dump_json(indent=2), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{str(target)!r} cannot become the model's folder: {error.strerror}.") from error
    return False


def _disclaim(target: Path) -> None:
    """Give up a folder where no step was kept: another attempt need not be the same run."""
    if not any((target / CHECKPOINTS).glob("checkpoint-*")):
        shutil.rmtree(target / CHECKPOINTS, ignore_errors=True)
        (target / RUN_FILE).unlink(missing_ok=True)


def _finished(target: Path, statistics: PairStatistics) -> TrainingReport | None:
    """Return the report of a run that is at its end: the card is the last file to be written."""
    try:
        facts = read_card(target)
        lines = (target / LOG_FILE).read_text(encoding="utf-8").splitlines()
        log = tuple(LogLine.model_validate_json(line) for line in lines)
    except (OSError, ValueError):
        return None
    if not (target / "model.safetensors").is_file():
        return None
    return TrainingReport(
        folder=str(target),
        steps=facts.recipe.step_count(facts.statistics.pair_count),
        seconds=facts.seconds,
        final_loss=log[-1].loss if log else None,
        statistics=statistics,
        log=log,
    )


def _compare(description: Path, identity: _RunIdentity) -> None:
    try:
        stored = _RunIdentity.model_validate_json(description.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise ConfigError(f"{str(description)!r} is damaged, so the run cannot be resumed: {error}") from error
    differing = [name for name in _RunIdentity.model_fields if getattr(stored, name) != getattr(identity, name)]
    if differing:
        raise ConfigError(
            f"The run in {str(description.parent)!r} was started with another {' and another '.join(differing)}; "
            "resuming would mix two runs. Use what it was started with, or another folder."
        )


def _report(target: Path, outcome: Outcome, statistics: PairStatistics) -> TrainingReport:
    log = tuple(LogLine(epoch=row[0], step=row[1], loss=row[2], learning_rate=row[3]) for row in outcome.log)
    return TrainingReport(
        folder=str(target),
        steps=outcome.steps,
        seconds=outcome.seconds,
        final_loss=log[-1].loss if log else None,
        statistics=statistics,
        log=log,
    )


def _samples(pairs: Sequence[LabelledPair]) -> tuple[LabelledPair, ...]:
    """Three pairs for the card, one of them relevant."""
    relevant = [pair for pair in pairs if pair.label > 0.5][:1]
    return (*relevant, *[pair for pair in pairs if pair.label <= 0.5][: 3 - len(relevant)])
