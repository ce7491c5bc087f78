"""Make the plan of a run: which groups, in which order, cut at how many tokens.

python -m benchmarks.default_model.plan POOLS RUN [--seed N] [--groups N]
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.default_model.embeddings import Vectors
from benchmarks.default_model.groups import Composer, Group
from benchmarks.default_model.planfile import GROUP, Plan
from benchmarks.default_model.pools import MINED_RANKS, NEAR_RANKS, Example, mine, mine_near, read_pools
from benchmarks.default_model.sentences import Teacher
from benchmarks.default_model.train import GROUPS_A_STEP
from benchmarks.default_model.written import WrittenGroups
from searchkit.models.lookup import find_model
from searchkit.models.tokenizer import load_tokenizer

# Share of the groups; "aspects" are medquad's examples with criteria, "counterfactual" draws on several pools.
SHARES = {
    "arxiv": 0.14, "apidocs": 0.12, "aspects": 0.09, "counterfactual": 0.08, "squad_sent": 0.08, "fever": 0.07,
    "medquad": 0.05, "squad": 0.05, "selqa": 0.05, "clapnq": 0.05, "tldr": 0.05, "tech_faq": 0.04, "cosqa": 0.035,
    "squad_extra": 0.035, "hybridqa": 0.03, "dstc9_faq": 0.03, "fetaqa": 0.03, "doc_sections": 0.03,
    "perspectrum": 0.02, "disfl_qa": 0.015, "wiki_title": 0.012, "timeqa": 0.01, "qmsum": 0.01, "tatqa": 0.01,
    "sharc": 0.002,
}  # fmt: skip
COUNTERFACTUAL_POOLS = (
    "squad_sent", "selqa", "squad", "fever", "clapnq", "fetaqa", "hybridqa", "tech_faq", "squad_extra", "timeqa",
    "dstc9_faq", "apidocs", "doc_sections",
)  # fmt: skip
# What decides relevance in these comes early, so cutting them is no false label.
CUT_TOLERANT = {"medquad", "aspects", "arxiv", "tech_faq", "wiki_title", "doc_sections", "cosqa", "fever", "qmsum"}
# Share of the groups, tokens, share of these that the bi-encoder teaches, share of written queries.
CURRICULUM = ((0.35, 80, 1.0, 0.0), (0.5, 96, 0.1, 0.4), (0.15, 256, 0.0, 0.2))
# A cosine as a probability: the middle and the slope that fit the pools' own positives and mined negatives.
COSINE_MIDDLE, COSINE_SLOPE = 0.55, 12.0
CHARACTERS_A_TOKEN = 4.0
MIN_PASSAGE_TOKENS = 40


class Supply:
    """Hands out examples of each pool in a random order, all before any comes twice."""

    def __init__(self, pools: dict[str, list[Example]], seed: int) -> None:
        self._pools, self._draw = pools, random.Random(seed)
        self._left: dict[str, list[Example]] = {name: [] for name in pools}

    def take(self, name: str, token_limit: int) -> Example:
        """Return the next example, preferring one whose positive fits."""
        left = self._left[name]
        if not left:
            left += self._pools[name]
            self._draw.shuffle(left)
        if name not in CUT_TOLERANT:
            for place in range(len(left) - 1, max(-1, len(left) - 400), -1):
                if len(left[place].positive) + len(left[place].query) < token_limit * CHARACTERS_A_TOKEN:
                    return left.pop(place)
        return left.pop()


def load_pools(folder: Path, more: Path | None, vectors: Vectors) -> dict[str, list[Example]]:
    """Return every pool's training part, with mined negatives."""
    pools = read_pools(folder, more)
    pools["aspects"] = [example for example in pools["medquad"] if example.instruction]
    pools["medquad"] = [example for example in pools["medquad"] if not example.instruction]
    for example in pools["aspects"]:
        example.pool = "aspects"
    for name, examples in pools.items():
        if name in MINED_RANKS:
            mine(examples, name)
        if name in NEAR_RANKS:
            mine_near(examples, name, vectors)
    return pools


@dataclass
class Course:
    """Groups in learning order, with the token limit of each and the cosines where they are known already."""

    groups: list[Group] = field(default_factory=list)
    limits: list[int] = field(default_factory=list)
    cosines: list[np.ndarray | None] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def compose(pools: dict[str, list[Example]], teacher: Teacher, written: WrittenGroups, count: int, seed: int) -> Course:
    """Return the course: first what the bi-encoder teaches, then labels on ever longer passages."""
    composer, supply, draw = Composer(pools, seed), Supply(pools, seed), random.Random(seed)
    course = Course()
    for stage, (share, limit, taught, asked) in enumerate(CURRICULUM):
        part: list[tuple[Group, np.ndarray | None]] = []
        part += teacher.groups(round(count * share * taught), seed + stage)
        course.counts["taught"] += len(part)
        part += [(group, None) for group in written.groups(round(count * share * asked), seed + stage)]
        course.counts["written"] += round(count * share * asked)
        for name, weight in SHARES.items():
            for _ in range(round(count * share * (1 - taught - asked) * weight / sum(SHARES.values()))):
                part.append((labelled_group(composer, supply, draw, name, limit), None))
                course.counts[name] += 1
        draw.shuffle(part)
        part = part[: len(part) // GROUPS_A_STEP * GROUPS_A_STEP]
        course.groups += [group for group, _ in part]
        course.cosines += [cosines for _, cosines in part]
        course.limits += [limit] * len(part)
    return course


def labelled_group(composer: Composer, supply: Supply, draw: random.Random, name: str, limit: int) -> Group:
    """Return a group of a pool, or of one of the two kinds that draw on several."""
    if name == "counterfactual":
        return composer.counterfactual(supply.take(draw.choice(COUNTERFACTUAL_POOLS), limit))
    example = supply.take(name, limit)
    if name == "aspects":
        return composer.aspect(example)
    if name == "arxiv":
        return composer.science(example)
    return composer.stance(example) if name == "perspectrum" else composer.plain(example)


def tokenise(course: Course, vectors: Vectors) -> Plan:
    """Return the plan; queries leave a passage at least ``MIN_PASSAGE_TOKENS``, passages are cut at the end."""
    tokenizer = load_tokenizer(find_model("all-MiniLM-L6-v2").path)
    pieces: list[np.ndarray] = []
    offsets, splits, labels = [0], [], []
    for (query, passage, label), limit in _rows(course.groups, course.limits):
        asked = tokenizer.encode(query, add_special_tokens=False).ids[: limit - min(MIN_PASSAGE_TOKENS, limit // 2) - 3]
        read = tokenizer.encode(passage[: limit * 8], add_special_tokens=False).ids[: limit - 3 - len(asked)]
        pieces.append(np.array([101, *asked, 102, *read, 102], np.uint16))
        offsets.append(offsets[-1] + len(pieces[-1]))
        splits.append(len(asked) + 2)
        labels.append(label)
    known = [_cosines(group, vectors) if found is None else found
             for group, found in zip(course.groups, course.cosines, strict=True)]  # fmt: skip
    dense = np.concatenate(known).astype(np.float32)
    is_taught = np.repeat([found is not None for found in course.cosines], GROUP)
    taught = np.where(is_taught, 1.0, np.repeat([group.taught for group in course.groups], GROUP))
    likely = 1 / (1 + np.exp(-COSINE_SLOPE * (dense - COSINE_MIDDLE)))
    wanted = np.where(is_taught, likely, np.array(labels, np.float32))
    arrays = np.array(offsets), np.array(splits, np.int32), wanted.astype(np.float16)
    return Plan(np.concatenate(pieces), *arrays, dense, taught.astype(np.float16))


def _cosines(group: Group, vectors: Vectors) -> np.ndarray:
    if not group.asked or any(text not in vectors for text in (group.asked, *group.read)):
        return np.full(GROUP, np.nan, np.float32)
    return vectors.of(group.read) @ vectors.of([group.asked])[0]


def _rows(groups: list[Group], limits: list[int]) -> Iterator[tuple[tuple[str, str, float], int]]:
    for group, limit in zip(groups, limits, strict=True):
        if len(group.rows) != GROUP:
            raise ValueError(f"a group of {len(group.rows)}: {group}")
        for row in group.rows:
            yield row, limit


def parsed_options(description: str | None, *, seed: int, groups: int, peak: float) -> argparse.Namespace:
    """Return what the command line says of a plan to make."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("pools", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--vectors", type=Path, required=True, help="what benchmarks.default_model.embeddings wrote")
    parser.add_argument("--more", type=Path, help="a folder of further pools")
    parser.add_argument("--seed", type=int, default=seed)
    parser.add_argument("--groups", type=int, default=groups)
    parser.add_argument("--peak", type=float, default=peak, help="learning rate after the warm-up")
    return parser.parse_args()


def main() -> None:
    options = parsed_options(__doc__, seed=20261125, groups=36_000, peak=1e-4)
    options.run.mkdir(parents=True, exist_ok=True)
    vectors = Vectors(options.vectors)
    pools = load_pools(options.pools, options.more, vectors)
    teacher = Teacher(read_pools(options.pools, options.more), options.run / "sentences.npz")
    course = compose(pools, teacher, WrittenGroups(pools), options.groups, options.seed)
    tokenise(course, vectors).write(options.run / "plan.npz")
    count = len(course.groups)
    schedule = [[0, 0], [4000, options.peak], [count * GROUP, options.peak / 20]]
    (options.run / "schedule.json").write_text(json.dumps(schedule), encoding="utf-8")
    facts = {"seed": options.seed, "groups": count, "counts": course.counts}
    facts["pools"] = {name: len(examples) for name, examples in pools.items()}
    (options.run / "plan.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")
    print(json.dumps(facts, indent=2))


if __name__ == "__main__":
    main()
