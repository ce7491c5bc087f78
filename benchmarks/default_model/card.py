"""Finish a model folder: profile, training log, and the card with what was measured.

python -m benchmarks.default_model.card FOLDER RUN [RUN ...] --first CARD.json --profile PROFILE.json
    [--quality QUALITY.json] [--criteria CRITERIA.json]

The runs are those on top of the first model, in order; ``--first`` is that model's card.json. PROFILE is what
`fit_profile` wrote, QUALITY what `benchmarks/quality.py` wrote, CRITERIA what `criteria_check` wrote.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.default_model.planfile import GROUP, Plan
from benchmarks.default_model.train import GROUPS_A_STEP
from benchmarks.default_model.written import with_criteria, written_rows
from searchkit.config import RerankerProfile
from searchkit.models.tokenizer import load_tokenizer
from searchkit.training.calibrate import write_profile
from searchkit.training.card import CardFacts, QualityRow
from searchkit.training.card_file import write_card
from searchkit.training.pairs import LabelledPair, Lengths, PairStatistics
from searchkit.training.run import LOG_FILE

_LOG_STEPS = 100
_SAMPLES = 3
DEVIATIONS = (
    "Several runs, each on top of the one before: {runs} pairs, not 31,000 pairs three times. The steps of the log "
    "count through; the loss starts anew with each run because the pairs get harder or change their kind.",
    "Groups of four, sixteen a step: one positive and three negatives (the pool's own, BM25's ranks, the bi-encoder's "
    "ranks); {taught} of the pairs are taught by the bi-encoder alone: a query or a sentence beside sentences from "
    "several of its ranks, its cosines as the target. {written} of the pairs have a query that a language model wrote "
    "for this project, in other words than the passage's, with judgments of six related passages.",
    "Loss: softmax cross-entropy within the group (a part of it beside the bi-encoder's cosine, a part of the target "
    "the bi-encoder's distribution where mined passages may be right) plus 0.5 x binary cross-entropy of every pair; "
    "the training log shows this sum.",
    "Weight decay 0.01 on matrices; no dropout; word embeddings frozen; bf16 on float32 weights; the learning rate "
    "rises to its peak over 4,000 pairs in each run and falls in straight lines to a fiftieth; in the last run it was "
    "raised again where the plan was continued.",
    "Trained on pairs of at most 80 to 256 tokens, short ones first but for the end of the last run; it reads up "
    "to 512. Lengths and samples above are of the pairs as read: lowercased and cut.",
    "Weights averaged exponentially (0.995 a step), stored in half precision.",
    "Criteria: aspects reworded in forty ways, in the last 107,000 pairs in more than four hundred; nine kinds that a "
    "program can check, in counterfactual groups (the same passage under a criterion that it meets and one that it "
    "fails); stances; an eighth of the other groups, in the last 107,000 pairs a quarter, carry vague, irrelevant or "
    "story-like criteria that change nothing, a tenth of those pairs stories told around their query.",
    "The training is not finished: it is made to be continued.",
)
LIMITS = (
    "Trained on English; other languages were not measured.",
    "Of criteria, aspects and terms are followed well, counting and logic poorly.",
)


def trained_pairs(plan: Plan, count: int, tokenizer: Any) -> Iterator[tuple[str, str, float]]:
    """Yield the first ``count`` pairs of a plan as the model read them."""
    for place in range(count):
        ids = plan.tokens[plan.offsets[place] : plan.offsets[place + 1]].tolist()
        split = int(plan.splits[place])
        query, passage = tokenizer.decode(ids[:split]), tokenizer.decode(ids[split:])
        yield query, passage, float(plan.labels[place])


def written_queries(tokenizer: Any) -> set[str]:
    """Return the written queries, criteria included, as `trained_pairs` yields them."""
    asked = [with_criteria(text, criteria) for text, criteria, *_ in written_rows()]
    return {tokenizer.decode(found.ids) for found in tokenizer.encode_batch(asked)}


def statistics_of(pairs: list[tuple[str, str, float]]) -> PairStatistics:
    """Return the statistics of pairs."""

    def lengths(values: list[float]) -> Lengths:
        return Lengths(shortest=min(values), mean=float(np.mean(values)), longest=max(values))

    return PairStatistics(
        pair_count=len(pairs),
        query_count=len({query for query, _, _ in pairs}),
        positive_count=sum(label > 0.5 for _, _, label in pairs),
        sentence_0=lengths([len(query) for query, _, _ in pairs]),
        sentence_1=lengths([len(passage) for _, passage, _ in pairs]),
        label=lengths([label for _, _, label in pairs]),
    )


def together(parts: list[PairStatistics]) -> PairStatistics:
    """Return the statistics of several runs; a query of two runs counts twice."""
    pairs = sum(part.pair_count for part in parts)

    def lengths(name: str) -> Lengths:
        found: list[Lengths] = [getattr(part, name) for part in parts]
        mean = sum(one.mean * part.pair_count for one, part in zip(found, parts, strict=True)) / pairs
        return Lengths(
            shortest=min(one.shortest for one in found), mean=mean, longest=max(one.longest for one in found)
        )

    return PairStatistics(
        pair_count=pairs,
        query_count=sum(part.query_count for part in parts),
        positive_count=sum(part.positive_count for part in parts),
        sentence_0=lengths("sentence_0"),
        sentence_1=lengths("sentence_1"),
        label=lengths("label"),
    )


def read_log(run: Path) -> list[dict[str, Any]]:
    """Return a run's log; of a step that was done again after a kill, the last time counts."""
    return [row for _, row in sorted({row["step"]: row for row in _lines(run / "log.jsonl")}.items())]


def evaluation(quality: dict[str, Any]) -> tuple[QualityRow, ...]:
    """Return the card's table: the better of dense and hybrid is the first stage."""
    return tuple(
        QualityRow(
            collection=row["collection"],
            query_count=row["queries"],
            first_stage=row["first_stage"],
            reranked=row["reranked"],
            blended=row["blended"],
        )
        for row in quality["rows"]
    )


def setup(quality: dict[str, Any], criteria: dict[str, Any], unseen: dict[str, Any]) -> str:
    """Return what the card says of its table, and what criteria cost."""
    text = (
        f"Hybrid candidates of searchkit (dense all-MiniLM-L6-v2 and BM25, fused), depth {quality['depth']}, single "
        "precision, sampled queries of collections that were not trained on. First stage alone is the better of dense "
        "and hybrid. The blend's relative weights were chosen on held-out queries of the training pools and every "
        "other query of samples of these collections; on the queries that the fit did not see, the expected "
        f"calibration error over {unseen['candidates']:,} pooled candidates is {unseen['blend_error']:.3f} blended, "
        f"{unseen['calibration_error']:.3f} for stage 2 alone."
    )
    for name, found in criteria.items():
        ways = "; ".join(
            f"{way} {values['nDCG@10']:.3f}" + (f" ({-values['lost']:+.3f})" if values["lost"] else "")
            for way, values in found.items()
            if isinstance(values, dict)
        )
        asked = f"{found['queries']} queries, depth {found['depth']}, {found['precision']}"
        text += f" What criteria cost on {name} ({asked}): {ways}."
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--first", type=Path, required=True)
    parser.add_argument("--profile", type=Path, required=True)
    parser.add_argument("--quality", type=Path)
    parser.add_argument("--criteria", type=Path)
    options = parser.parse_args()
    first = CardFacts.model_validate_json(options.first.read_text(encoding="utf-8"))
    fitted, quality, criteria = _read(options.profile), _read(options.quality), _read(options.criteria)
    profile = RerankerProfile.model_validate(fitted["profile"])
    facts = _trained(first, options.runs, load_tokenizer(options.folder)).model_copy(
        update={
            "name": options.folder.name,
            "license": "apache-2.0",
            "language": "en",
            "limits": LIMITS,
            "evaluation": evaluation(quality) if quality else (),
            "evaluation_setup": setup(quality, criteria, fitted["unseen"]) if quality else "",
            "profile": profile,
            "calibration_error": fitted["seen"]["blend_error"],
        }
    )
    write_profile(profile, options.folder)
    write_card(facts, options.folder)
    lines = [{"run": 1} | row for row in _lines(options.first.parent / LOG_FILE)]
    lines += [{"run": place} | row for place, run in enumerate(options.runs, 2) for row in read_log(run)]
    (options.folder / LOG_FILE).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _trained(first: CardFacts, runs: list[Path], tokenizer: Any) -> CardFacts:
    """Return the facts of the first model with what the runs on top of it add."""
    parts, logs, taught, written = [first.statistics], [], 0, 0
    known = written_queries(tokenizer)
    samples: list[LabelledPair] = []
    for run in runs:
        plan, log = Plan.read(run / "plan.npz"), read_log(run)
        count = log[-1]["pairs"]
        pairs = list(trained_pairs(plan, count, tokenizer))
        parts.append(statistics_of(pairs))
        logs.append(log)
        taught += int((plan.taught[:count] == 1).sum())
        written += sum(query in known for query, _, _ in pairs)
        samples = [LabelledPair(sentence_0=query, sentence_1=passage, label=label)
                   for query, passage, label in pairs[-_SAMPLES:]]  # fmt: skip
    statistics = together(parts)
    counts = ", then ".join(f"{part.pair_count:,}" for part in parts)
    seconds = sum(10 * GROUPS_A_STEP * GROUP / row["pairs_per_s"] for log in logs for row in log)
    return first.model_copy(
        update={
            "statistics": statistics,
            "samples": tuple(samples),
            "log": _log(first, logs, statistics.pair_count),
            "seconds": first.seconds + seconds,
            "deviations": tuple(
                line.format(runs=counts, taught=f"{taught:,}", written=f"{written:,}") for line in DEVIATIONS
            ),
        }
    )


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _read(file: Path | None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file else {}
    return found


def _log(first: CardFacts, logs: list[list[dict[str, Any]]], pair_count: int) -> tuple[tuple[float, int, float], ...]:
    """Return ``(share of all pairs, step, mean loss of the last hundred steps)``, steps counted through."""
    rows: list[tuple[float, int, float]] = []
    pairs_a_step = GROUPS_A_STEP * GROUP
    steps = first.statistics.pair_count // pairs_a_step
    rows += [(step * pairs_a_step / pair_count, step, loss) for _, step, loss in first.log]
    for log in logs:
        recent: list[float] = []
        for row in log:
            recent.append(row["loss"])
            if row["step"] % _LOG_STEPS == 0:
                step = steps + row["step"]
                rows.append((step * pairs_a_step / pair_count, step, round(float(np.mean(recent)), 4)))
                recent = []
        steps += log[-1]["step"]
    return tuple(rows)


if __name__ == "__main__":
    main()
