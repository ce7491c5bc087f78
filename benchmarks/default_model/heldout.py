"""Write the held-out part of the pools as judged collections, for calibration and blend.

python -m benchmarks.default_model.heldout POOLS OUT [--more FOLDER]

A collection is the held-out passages of one pool and, beside them, passages that training has seen as positives of
other queries: what is judged is unseen, the crowd around it need not be.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

from benchmarks.default_model.pools import Example, is_held_out, read_pool
from searchkit.training.criteria import anchored_story, noise

POOLS = ("apidocs", "arxiv", "clapnq", "fever", "medquad", "selqa", "squad_sent", "tech_faq", "tldr")
QUERIES, PASSAGES, MOST_HELD_OUT = 24, 900, 400
NOISY_SHARE = 0.2  # of the queries without criteria get such that ask for nothing, in wordings training never sees
NOTHING_SHARE = 0.15  # of the queries come from another pool: nothing is relevant


def write_collection(folder: Path, name: str, examples: list[Example], foreign: list[str], seed: int) -> None:
    """Write one collection in BEIR's layout."""
    draw = random.Random(seed)
    held_out = [example for example in examples if is_held_out(example.positive)][:MOST_HELD_OUT]
    asked = draw.sample(held_out, min(QUERIES, len(held_out)))
    texts = [example.positive for example in held_out]
    texts += draw.sample([example.positive for example in examples], min(PASSAGES, len(examples)))
    passages = list(dict.fromkeys(texts))
    ids = {text: f"{name}-{place}" for place, text in enumerate(passages)}
    right: dict[str, set[str]] = {}
    for example in examples:
        if example.positive in ids:
            right.setdefault(example.query.lower(), set()).add(ids[example.positive])
    queries, qrels = [], ["query-id\tcorpus-id\tscore"]
    for place, example in enumerate(asked):
        row = {"_id": f"{name}-q{place}", "text": example.query}
        criteria = example.instruction
        if not criteria and draw.random() < NOISY_SHARE:
            story = draw.random() < 0.5
            criteria = anchored_story(draw, example.query, held_out=True) if story else noise(draw, held_out=True)
        queries.append(row | ({"instruction": criteria} if criteria else {}))
        relevant = {ids[example.positive]} if example.instruction else right[example.query.lower()]
        qrels += [f"{row['_id']}\t{one}\t1" for one in sorted(relevant)]
    for place, query in enumerate(draw.sample(foreign, int(len(asked) * NOTHING_SHARE) + 1)):
        queries.append({"_id": f"{name}-n{place}", "text": query})
        qrels.append(f"{name}-n{place}\t{ids[passages[0]]}\t0")
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    corpus = [{"_id": ids[text], "title": "", "text": text} for text in passages]
    for file, rows in (("corpus.jsonl", corpus), ("queries.jsonl", queries)):
        (folder / file).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text("\n".join(qrels) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pools", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--more", type=Path, help="a folder of further pools")
    options = parser.parse_args()
    roots = [options.pools, *([options.more] if options.more else [])]
    read = {name: read_pool(root / name) for root in roots for name in POOLS if (root / name).is_dir()}
    for place, (name, examples) in enumerate(sorted(read.items())):
        foreign = [
            row.query for other, rows in read.items() if other != name for row in rows if is_held_out(row.positive)
        ]
        write_collection(options.out / f"heldout-{name}", name, examples, foreign, seed=place)


if __name__ == "__main__":
    main()
