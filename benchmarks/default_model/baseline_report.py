"""Write what the recipe's baseline reached: its loss beside the seed card's, its ranking beside the shipped model's.

python -m benchmarks.default_model.baseline_report FOLDER --baseline OUT.json ... --shipped OUT.json ...

FOLDER is what `searchkit train` made of the pairs of `baseline`; the other files are what `measure` kept of the same
queries with either model. Makes benchmarks/results/baseline-COMMIT.json, which `tables.py` reads.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.default_model.fit_profile import read
from benchmarks.default_model.measure import means
from benchmarks.results import write

SEED_CARD_LOSS = {500: 0.1455, 5500: 0.0419}
"""The first and the last line of the seed card's training log."""


def ranked(found: dict[str, Any], queries: set[str]) -> dict[str, float]:
    """Return nDCG@10 of each first stage and of stage 2 alone, on some of a collection's queries."""
    some = {query: rows for query, rows in found["queries"].items() if query in queries}
    return {way: round(mean, 4) for way, mean in means(found | {"queries": some}).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--baseline", nargs="+", type=Path, required=True)
    parser.add_argument("--shipped", nargs="+", type=Path, required=True)
    parser.add_argument("--precision", default="bf16", help="what both were measured in")
    options = parser.parse_args()
    log = (options.folder / "training_log.jsonl").read_text(encoding="utf-8").splitlines()
    baseline, shipped = read(options.baseline), read(options.shipped)
    rows = []
    for name, found in baseline.items():
        both = found["queries"].keys() & shipped[name]["queries"].keys()
        mine, other = ranked(found, both), ranked(shipped[name], both)
        rows.append({"collection": name, "queries": len(both), "first_stage": max(mine["dense"], mine["hybrid"]),
                     "baseline": mine["reranked"], "shipped": other["reranked"]})  # fmt: skip
    loss = [{"step": row["step"], "loss": round(row["loss"], 4)} for row in map(json.loads, log)]
    write("baseline", {"precision": options.precision, "loss": loss, "seed_card_loss": SEED_CARD_LOSS, "rows": rows})


if __name__ == "__main__":
    main()
