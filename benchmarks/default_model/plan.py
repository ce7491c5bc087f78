"""Make the plan of a run: which groups, in which order, cut at how many tokens.

python -m benchmarks.default_model.plan POOLS RUN [--seed N] [--groups N]
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.default_model.groups import Composer, Group
from benchmarks.default_model.planfile import GROUP, Plan
from benchmarks.default_model.pools import MINED_RANKS, Example, is_held_out, mine, read_pool
from benchmarks.default_model.train import GROUPS_A_STEP
from searchkit.models.lookup import find_model
from searchkit.models.tokenizer import load_tokenizer

# Share of the groups; "aspects" are medquad's examples with criteria, "counterfactual" draws on several pools.
SHARES = {
    "aspects": 0.15, "squad_sent": 0.12, "medquad": 0.09, "squad": 0.07, "selqa": 0.07, "fever": 0.07,
    "counterfactual": 0.07, "arxiv": 0.06, "clapnq": 0.05, "tech_faq": 0.05, "squad_extra": 0.04, "hybridqa": 0.035,
    "cosqa": 0.035, "tldr": 0.03, "dstc9_faq": 0.03, "fetaqa": 0.03, "perspectrum": 0.02, "doc_sections": 0.02,
    "disfl_qa": 0.015, "tatqa": 0.012, "timeqa": 0.01, "qmsum": 0.01, "wiki_title": 0.008,
}  # fmt: skip
COUNTERFACTUAL_POOLS = (
    "squad_sent", "selqa", "squad", "fever", "clapnq", "fetaqa", "hybridqa", "tech_faq", "squad_extra", "timeqa",
    "dstc9_faq",
)  # fmt: skip
# What decides relevance in these comes early, so cutting them is no false label.
CUT_TOLERANT = {"medquad", "aspects", "arxiv", "tech_faq", "wiki_title", "doc_sections", "cosqa", "fever", "qmsum"}
CURRICULUM = ((0.4, 128), (0.3, 176), (0.3, 256))
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


def load_pools(folder: Path) -> dict[str, list[Example]]:
    """Return every pool's training part, with mined negatives."""
    pools: dict[str, list[Example]] = {}
    for path in sorted(folder.iterdir()):
        if not (path / "pairs.jsonl.gz").is_file():
            continue
        examples = [example for example in read_pool(path) if not is_held_out(example.positive)]
        plain = [example for example in examples if path.name != "medquad" or not example.instruction]
        if path.name in MINED_RANKS:
            mine(plain, path.name)
        pools[path.name] = plain
        if path.name == "medquad":
            pools["aspects"] = [example for example in examples if example.instruction]
            for example in pools["aspects"]:
                example.pool = "aspects"
    return pools


def compose(pools: dict[str, list[Example]], count: int, seed: int) -> tuple[list[Group], list[int], Counter[str]]:
    """Return the groups in learning order, the token limit of each, and how many came from where."""
    composer, supply, draw = Composer(pools, seed), Supply(pools, seed), random.Random(seed)
    groups: list[Group] = []
    limits: list[int] = []
    counts: Counter[str] = Counter()
    for share, limit in CURRICULUM:
        part: list[Group] = []
        for name, weight in SHARES.items():
            for _ in range(round(count * share * weight / sum(SHARES.values()))):
                part.append(_group(composer, supply, draw, name, limit))
                counts[name] += 1
        draw.shuffle(part)
        part = part[: len(part) // GROUPS_A_STEP * GROUPS_A_STEP]
        groups += part
        limits += [limit] * len(part)
    return groups, limits, counts


def _group(composer: Composer, supply: Supply, draw: random.Random, name: str, limit: int) -> Group:
    if name == "counterfactual":
        return composer.counterfactual(supply.take(draw.choice(COUNTERFACTUAL_POOLS), limit))
    example = supply.take(name, limit)
    if name == "aspects":
        return composer.aspect(example)
    return composer.stance(example) if name == "perspectrum" else composer.plain(example)


def tokenise(groups: list[Group], limits: list[int]) -> Plan:
    """Return the plan; queries leave a passage at least ``MIN_PASSAGE_TOKENS``, passages are cut at the end."""
    tokenizer = load_tokenizer(find_model("all-MiniLM-L6-v2").path)
    pieces: list[np.ndarray] = []
    offsets, splits, labels = [0], [], []
    for (query, passage, label), limit in _rows(groups, limits):
        asked = tokenizer.encode(query, add_special_tokens=False).ids[: limit - MIN_PASSAGE_TOKENS - 3]
        read = tokenizer.encode(passage[: limit * 8], add_special_tokens=False).ids[: limit - 3 - len(asked)]
        pieces.append(np.array([101, *asked, 102, *read, 102], np.uint16))
        offsets.append(offsets[-1] + len(pieces[-1]))
        splits.append(len(asked) + 2)
        labels.append(label)
    return Plan(np.concatenate(pieces), np.array(offsets), np.array(splits, np.int32), np.array(labels, np.int8))


def _rows(groups: list[Group], limits: list[int]) -> Iterator[tuple[tuple[str, str, int], int]]:
    for group, limit in zip(groups, limits, strict=True):
        if len(group) != GROUP:
            raise ValueError(f"a group of {len(group)}: {group}")
        for row in group:
            yield row, limit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pools", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--groups", type=int, default=36_000)
    parser.add_argument("--peak", type=float, default=1e-4, help="learning rate after 4,000 pairs")
    options = parser.parse_args()
    options.run.mkdir(parents=True, exist_ok=True)
    pools = load_pools(options.pools)
    groups, limits, counts = compose(pools, options.groups, options.seed)
    tokenise(groups, limits).write(options.run / "plan.npz")
    schedule = [[0, 0], [4000, options.peak], [len(groups) * GROUP, options.peak / 5]]
    (options.run / "schedule.json").write_text(json.dumps(schedule), encoding="utf-8")
    facts = {"seed": options.seed, "groups": len(groups), "counts": counts}
    facts["pools"] = {name: len(examples) for name, examples in pools.items()}
    (options.run / "plan.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")
    print(json.dumps(facts, indent=2))


if __name__ == "__main__":
    main()
