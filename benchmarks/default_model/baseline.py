"""Write the pairs of the recipe's baseline: 1,000 queries, each with one relevant passage and thirty mined ones.

python -m benchmarks.default_model.baseline POOLS OUT.jsonl --vectors FILE [--more FOLDER]
searchkit train OUT.jsonl --output FOLDER --max-length 96 --precision bf16

What the shipped model must beat. The passages are cut and the pools are those of short passages, so that two cores
can make the recipe's 93,000 pair passes; everything else is the recipe's default.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

from benchmarks.default_model.embeddings import Vectors
from benchmarks.default_model.groups import Composer
from benchmarks.default_model.plan import load_pools
from benchmarks.default_model.pools import Example
from searchkit.training import LabelledPair, write_pairs

# Half of the queries carry criteria.
QUERIES = {
    "aspects": 300, "perspectrum": 200, "fever": 100, "squad_sent": 80, "selqa": 70, "apidocs": 60, "tldr": 60,
    "fetaqa": 50, "dstc9_faq": 40, "clapnq": 20, "cosqa": 20,
}  # fmt: skip
NEGATIVES = 30
CHARACTERS = 400


def pairs_of(composer: Composer, example: Example) -> Iterator[LabelledPair]:
    """Yield the pairs of one query; criteria follow the query as they do at search time."""
    query = f"{example.query} {example.instruction}".strip()
    yield LabelledPair(sentence_0=query, sentence_1=example.positive[:CHARACTERS], label=1.0)
    for passage in composer.negatives(example, NEGATIVES):
        yield LabelledPair(sentence_0=query, sentence_1=passage[:CHARACTERS], label=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pools", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--vectors", type=Path, required=True, help="what benchmarks.default_model.embeddings wrote")
    parser.add_argument("--more", type=Path, help="a folder of further pools")
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args()
    pools = load_pools(options.pools, options.more, Vectors(options.vectors))
    composer, draw = Composer(pools, options.seed), random.Random(options.seed)
    chosen = [example for name, count in QUERIES.items() for example in draw.sample(pools[name], count)]
    draw.shuffle(chosen)
    pairs = [pair for example in chosen for pair in pairs_of(composer, example)]
    write_pairs(pairs, options.out)
    print(f"{len(chosen)} queries, {len(pairs)} pairs")


if __name__ == "__main__":
    main()
