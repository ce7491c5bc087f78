"""The README's tables, made from the newest files under benchmarks/results/: python benchmarks/tables.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"


def newest(benchmark: str) -> dict[str, Any]:
    """Return the numbers of the benchmark's newest file."""
    found: list[dict[str, Any]] = [
        json.loads(path.read_text(encoding="utf-8")) for path in FOLDER.glob(f"{benchmark}-*.json")
    ]
    return max(found, key=lambda numbers: str(numbers["date"]))


def demo_table(numbers: dict[str, Any]) -> str:
    """Return the demo's table in Markdown."""
    lines = ["| search | nDCG@10 | RR@10 | recall@100 | p50 ms |", "|---|---|---|---|---|"]
    lines += [
        f"| {row['search']} | {row['ndcg_at_10']:.3f} | {row['rr_at_10']:.3f} | {row['recall_at_100']:.3f} |"
        f" {row['p50_ms']:.0f} |"
        for row in numbers["rows"]
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(demo_table(newest("demo")))
