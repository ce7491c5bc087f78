"""The model card: every section of the seed's card, filled from the run, and what the seed's card lacks. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import Field

from searchkit.config import RerankerProfile
from searchkit.training.card_text import CITATION, FRONT_MATTER, LIMITS, USAGE
from searchkit.training.pairs import LabelledPair, Lengths, PairStatistics
from searchkit.training.recipe import Recipe
from searchkit.types import Frozen


class QualityRow(Frozen):
    """One line of the evaluation table.

    Attributes:
        collection: Name of the collection.
        query_count: Queries judged.
        first_stage: nDCG@10 of the first stage alone.
        reranked: nDCG@10 of its candidates in the second stage's order.
        blended: nDCG@10 with the evidence of both stages; ``None`` if not measured.
    """

    collection: str
    query_count: int = Field(ge=1)
    first_stage: float
    reranked: float
    blended: float | None = None


class CardFacts(Frozen):
    """Everything a card states; nothing in it is written by hand.

    Attributes:
        name: Name of the model.
        base_model: The weights it started from.
        recipe: The hyperparameters.
        statistics: The training pairs.
        samples: A few of them.
        log: ``(epoch, step, mean loss)``, in order.
        parameter_count: Weights of the model.
        framework_versions: Version of each library.
        seconds: Wall-clock seconds of training.
        hardware: Device, in words.
        data_sources: Where the pairs come from, with licences, one line each.
        deviations: How the run differed from the plain recipe, one line each.
        evaluation: Quality against the first stage alone.
        evaluation_setup: First stage, depth and queries of that table, in words.
        profile: Calibration and blend.
        calibration_error: Expected calibration error on the candidates it was fitted on; ``None`` if not measured.
        license: SPDX identifier of the weights; ``None`` where nobody has said.
        language: ISO 639 code of the pairs' language; ``None`` where nobody has said.
        limits: What else it cannot do, one line each.
    """

    name: str
    base_model: str
    recipe: Recipe
    statistics: PairStatistics
    samples: tuple[LabelledPair, ...] = ()
    log: tuple[tuple[float, int, float], ...] = ()
    parameter_count: int = Field(ge=1)
    framework_versions: dict[str, str]
    seconds: float = Field(ge=0)
    hardware: str
    data_sources: tuple[str, ...] = ()
    deviations: tuple[str, ...] = ()
    evaluation: tuple[QualityRow, ...] = ()
    evaluation_setup: str = ""
    profile: RerankerProfile = RerankerProfile()
    calibration_error: float | None = None
    license: str | None = None
    language: str | None = None
    limits: tuple[str, ...] = ()


def render_card(facts: CardFacts) -> str:
    """Return the card as Markdown with the metadata block that model hubs read."""
    sections = (
        _front_matter(facts),
        f"# {facts.name}\n\n{_summary(facts)}",
        "## Usage\n\n" + USAGE.format(name=facts.name),
        "## Intended use\n\n"
        "Second stage of a search: it reorders the passages that a first stage found. `criteria` says in words what\n"
        "makes a passage relevant; the model reads them after the query"
        f" (`{facts.profile.criteria_template}`).",
        "## Evaluation\n\n" + _evaluation(facts),
        "## Calibration\n\n" + _calibration(facts),
        "## Limits\n\n" + _limits(facts),
        "## Training details\n\n" + _training(facts),
        "## Citation\n\n" + CITATION,
    )
    return "\n\n".join(sections) + "\n"


def _front_matter(facts: CardFacts) -> str:
    stated = {"license": facts.license, "language": facts.language}
    return FRONT_MATTER.format(
        stated="".join(f"{key}: {value}\n" for key, value in stated.items() if value is not None),
        base_model=facts.base_model,
        size=facts.statistics.pair_count,
    )


def _limits(facts: CardFacts) -> str:
    known = "\n".join(f"- {line}" for line in facts.limits)
    return "\n".join(filter(None, [known, LIMITS.format(max_length=facts.recipe.max_length)]))


def _summary(facts: CardFacts) -> str:
    license_words = facts.license or "not stated; those of the base model and of the training pairs hold"
    return (
        f"A cross-encoder with {facts.parameter_count / 1e6:.1f} million parameters, fine-tuned from "
        f"{facts.base_model} on {facts.statistics.pair_count:,} labelled pairs.\n\n"
        "- **Model type:** cross-encoder (sequence classification, one label)\n"
        f"- **Maximum length:** {facts.recipe.max_length} tokens\n"
        "- **Output:** one logit a pair (activation Identity); searchkit turns it into a probability\n"
        f"- **License:** {license_words}"
    )


def _evaluation(facts: CardFacts) -> str:
    if not facts.evaluation:
        return (
            "Not evaluated. `searchkit eval` compares it with the first stage alone on your own judgments; until then "
            "nothing says that it helps."
        )
    rows = [
        (row.collection, str(row.query_count), f"{row.first_stage:.3f}", f"{row.reranked:.3f}", _optional(row.blended))
        for row in facts.evaluation
    ]
    table = _table(("collection", "queries", "first stage alone", "reranked", "both blended"), rows)
    return f"nDCG@10. {facts.evaluation_setup}\n\n{table}"


def _calibration(facts: CardFacts) -> str:
    profile = facts.profile
    lines = [
        f"probability = sigmoid({profile.calibration.slope:.4g} x logit {profile.calibration.intercept:+.4g})."
        f" Fitted on: {profile.fitted_on or 'nothing'}."
    ]
    if profile.blend is not None:
        blend = profile.blend
        lines.append(
            f"With first-stage evidence: sigmoid({blend.logit_weight:.4g} x logit + {blend.rank_weight:.4g} x "
            f"{blend.k + 1} / ({blend.k} + rank) + {blend.dense_weight:.4g} x dense score + {blend.sparse_weight:.4g} "
            f"x log(1 + BM25 score) {blend.intercept:+.4g})."
        )
    if facts.calibration_error is not None:
        lines.append(f"Expected calibration error on the candidates it was fitted on: {facts.calibration_error:.4f}.")
    lines.append("On a collection unlike those, refit it on your own judgments: `SearchKit.calibrate`.")
    return "\n\n".join(lines)


def _training(facts: CardFacts) -> str:
    parts = [
        "### Training data\n\n" + _data(facts),
        "### Loss\n\n" + _loss(facts),
        "### Hyperparameters\n\n" + _hyperparameters(facts.recipe),
        "### Training log\n\n" + _log(facts.log),
        f"### Environment\n\n{facts.seconds / 60:.1f} minutes on {facts.hardware}.\n\n"
        + _table(("library", "version"), list(facts.framework_versions.items())),
    ]
    if facts.deviations:
        parts.insert(1, "### Beyond the plain recipe\n\n" + _bullets(facts.deviations))
    return "\n\n".join(parts)


def _data(facts: CardFacts) -> str:
    found = facts.statistics
    share = found.positive_count / found.pair_count
    columns = [
        ("sentence_0", "string", *_characters(found.sentence_0)),
        ("sentence_1", "string", *_characters(found.sentence_1)),
        ("label", "float", f"{found.label.shortest:g}", f"{found.label.mean:.2f}", f"{found.label.longest:g}"),
    ]
    parts = [
        f"- **Size:** {found.pair_count:,} pairs of {found.query_count:,} queries, {share:.1%} of them relevant\n"
        "- **Columns:** sentence_0 (the query, with its criteria where it has any), sentence_1 (the passage), label",
        _table(("column", "type", "min", "mean", "max"), columns),
    ]
    if facts.samples:
        rows = [(_cell(pair.sentence_0), _cell(pair.sentence_1), f"{pair.label:g}") for pair in facts.samples]
        parts.append("Samples:\n\n" + _table(("sentence_0", "sentence_1", "label"), rows))
    if facts.data_sources:
        parts.append("Sources:\n\n" + _bullets(facts.data_sources))
    return "\n\n".join(parts)


def _loss(facts: CardFacts) -> str:
    weight = "null" if facts.recipe.positive_weight is None else f"{facts.recipe.positive_weight:g}"
    return (
        "BinaryCrossEntropyLoss with these parameters:\n\n```json\n"
        f'{{"activation_fn": "torch.nn.modules.linear.Identity", "pos_weight": {weight}}}\n```'
    )


def _hyperparameters(recipe: Recipe) -> str:
    defaults = Recipe()
    chosen: Mapping[str, object] = recipe.model_dump()
    changed = {name: value for name, value in chosen.items() if value != getattr(defaults, name)}
    shown = _bullets([f"`{name}`: {value}" for name, value in changed.items()]) if changed else "None."
    everything = _bullets([f"`{name}`: {value}" for name, value in chosen.items()])
    return (
        f"Different from the default recipe:\n\n{shown}\n\n"
        f"<details><summary>All hyperparameters</summary>\n\n{everything}\n\n</details>"
    )


def _log(log: Sequence[tuple[float, int, float]]) -> str:
    if not log:
        return "The run was shorter than one logging interval."
    return _table(("epoch", "step", "training loss"), [(f"{e:.4f}", f"{s:,}", f"{loss:.4f}") for e, s, loss in log])


def _characters(lengths: Lengths) -> tuple[str, str, str]:
    return (
        f"{lengths.shortest:.0f} characters",
        f"{lengths.mean:.2f} characters",
        f"{lengths.longest:.0f} characters",
    )


def _optional(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _cell(text: str, longest: int = 160) -> str:
    """Return a text as it fits into a table cell."""
    flat = " ".join(text.split()).replace("|", "\\|")
    return flat if len(flat) <= longest else flat[: longest - 1] + "…"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [" | ".join(header), " | ".join("---" for _ in header), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)
