"""Continue a run: put further groups behind those that it has learned, and let the learning rate rise and fall again.

python -m benchmarks.default_model.extend POOLS RUN --vectors VECTORS.npz [--more MORE] [--groups 20000] [--peak 6e-5]

All kinds of groups are mixed, so that the run may stop anywhere: written queries, aspects in many wordings, the stories
told around queries, counterfactual groups, and the pools' own labels. What was planned but not learned yet is dropped.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.default_model.embeddings import Vectors
from benchmarks.default_model.groups import Composer, Group
from benchmarks.default_model.plan import Course, Supply, labelled_group, load_pools, parsed_options, tokenise
from benchmarks.default_model.planfile import GROUP, Plan
from benchmarks.default_model.pools import Example
from benchmarks.default_model.train import GROUPS_A_STEP, newest_checkpoint
from benchmarks.default_model.written import WrittenGroups, read_stories

SHARES = {"written": 0.42, "aspects": 0.18, "told": 0.1, "counterfactual": 0.06, "labelled": 0.24}
LABELLED_POOLS = (
    "clapnq", "clapnq", "selqa", "squad_sent", "squad", "fever", "arxiv", "arxiv", "medquad", "medquad", "tech_faq",
    "apidocs", "hybridqa", "doc_sections", "dstc9_faq", "cosqa", "timeqa", "fetaqa",
)  # fmt: skip
# Tokens of a pair: short where that is enough, room where criteria take a part of it.
LIMITS = {"written": 128, "aspects": 176, "told": 256, "counterfactual": 160, "labelled": 144}
WARM_UP_PAIRS = 2_000


def composed(pools: dict[str, list[Example]], count: int, seed: int) -> Course:
    """Return about ``count`` groups of all kinds, mixed."""
    composer, supply, draw = Composer(pools, seed), Supply(pools, seed), random.Random(seed)
    written = WrittenGroups(pools)
    wanted = {kind: round(count * share) for kind, share in SHARES.items()}

    def drawn(kind: str, pool: Callable[[], str]) -> list[Group]:
        return [labelled_group(composer, supply, draw, pool(), LIMITS[kind]) for _ in range(wanted[kind])]

    by_kind: dict[str, list[Group]] = {
        "written": written.groups(wanted["written"], seed),
        "aspects": drawn("aspects", lambda: "aspects"),
        "told": _told(pools, composer, written, wanted["told"], seed),
        "counterfactual": drawn("counterfactual", lambda: "counterfactual"),
        "labelled": drawn("labelled", lambda: draw.choice(LABELLED_POOLS)),
    }
    groups = [(group, LIMITS[kind]) for kind, found in by_kind.items() for group in found]
    draw.shuffle(groups)
    groups = groups[: len(groups) // GROUPS_A_STEP * GROUPS_A_STEP]
    course = Course([group for group, _ in groups], [limit for _, limit in groups], [None] * len(groups))
    course.counts.update({kind: len(found) for kind, found in by_kind.items()})
    return course


def _told(
    pools: dict[str, list[Example]], composer: Composer, written: WrittenGroups, count: int, seed: int
) -> list[Group]:
    stories = read_stories()
    asked: dict[str, Example] = {}
    for examples in pools.values():
        for example in examples:
            if example.query in stories and not example.instruction:
                asked.setdefault(example.query, example)
    found: list[Group] = []
    while len(found) < count:
        found += written.told(stories, seed + len(found))
        found += [composer.told(example, stories[query]) for query, example in asked.items()]
    return random.Random(seed).sample(found, count)


def joined(first: Plan, learned: int, second: Plan) -> Plan:
    """Return the first ``learned`` groups of one plan with all of another behind them."""
    rows = learned * GROUP
    end = int(first.offsets[rows])
    return Plan(
        np.concatenate([first.tokens[:end], second.tokens]),
        np.concatenate([first.offsets[: rows + 1], second.offsets[1:] + end]),
        *(
            np.concatenate([mine[:rows], more])
            for mine, more in (
                (first.splits, second.splits),
                (first.labels, second.labels),
                (first.dense, second.dense),
                (first.taught, second.taught),
            )
        ),
    )


def main() -> None:
    options = parsed_options(__doc__, seed=20261126, groups=20_000, peak=6e-5)
    vectors = Vectors(options.vectors)
    pools = load_pools(options.pools, options.more, vectors)
    course = composed(pools, options.groups, options.seed)
    torch.set_num_threads(1)
    vectors.complete(text for group in course.groups if group.asked for text in (group.asked, *group.read))
    checkpoint = newest_checkpoint(options.run)
    learned = 0 if checkpoint is None else int(checkpoint.stem.removeprefix("ck-")) * GROUPS_A_STEP
    plan = joined(Plan.read(options.run / "plan.npz"), learned, tokenise(course, vectors))
    schedule = json.loads((options.run / "schedule.json").read_text(encoding="utf-8"))
    done, end = learned * GROUP, plan.group_count * GROUP
    schedule = [point for point in schedule if point[0] < done]
    schedule += [[done, schedule[-1][1]], [done + WARM_UP_PAIRS, options.peak], [end, options.peak / 30]]
    plan.write(options.run / "plan.npz")
    (options.run / "schedule.json").write_text(json.dumps(schedule), encoding="utf-8")
    lengths = np.diff(plan.offsets)[done:]
    print(json.dumps({"counts": course.counts, "pairs": [done, end], "tokens a pair": round(float(lengths.mean()), 1)}))


if __name__ == "__main__":
    main()
