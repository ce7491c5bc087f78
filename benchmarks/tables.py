"""The tables of README and docs, made from the newest files in benchmarks/results/: benchmarks/tables.py [--write].

Without an argument they are printed. A table lies in its page between ``<!-- table: NAME -->`` and
``<!-- end of table -->``; ``--write`` renews what lies there.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from speed_tables import SOURCES, SPEED_TABLES

FOLDER = Path(__file__).parent / "results"
README = Path(__file__).parents[1] / "README.md"
PAGES = (README, *(README.parent / "docs" / name for name in ("embedded.md", "speed.md", "training.md")))
_PLACE = re.compile(r"(<!-- table: (\w+) -->\n)(.*?)(<!-- end of table -->)", re.DOTALL)


def newest(benchmark: str) -> dict[str, Any] | None:
    """Return the numbers of the benchmark's newest file; ``None`` if it was never run."""
    files = FOLDER.glob(f"{SOURCES.get(benchmark, benchmark)}-*.json")
    found: list[dict[str, Any]] = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    return max(found, key=lambda numbers: str(numbers["date"]), default=None)


def demo_table(numbers: dict[str, Any]) -> str:
    """Return the demo's table in Markdown."""
    lines = ["| search | nDCG@10 | RR@10 | recall@100 | p50 ms |", "|---|---|---|---|---|"]
    lines += [
        f"| {row['search']} | {row['ndcg_at_10']:.3f} | {row['rr_at_10']:.3f} | {row['recall_at_100']:.3f} |"
        f" {row['p50_ms']:.0f} |"
        for row in numbers["rows"]
    ]
    return "\n".join(lines)


def frameworks_table(numbers: dict[str, Any]) -> str:
    """Return the table of the frameworks' own two stages beside ours in Markdown."""
    lines = [
        "| two stages | nDCG@10 | p50 ms | time (searchkit, dense = 1) | candidates reranked | scores kept |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['stack']} | {row['ndcg_at_10']:.3f} | {row['p50_ms']:.0f} | {row['time_ratio']:.2f} |"
        f" {row['candidates_reranked']} | {'yes' if row['scores_kept'] else 'no'} |"
        for row in numbers["rows"]
    ]
    lines += ["", f"{numbers['queries']} judged questions over {numbers['passages']:,} passages."]
    return "\n".join(lines)


def quality_table(numbers: dict[str, Any]) -> str:
    """Return what each stage reaches on judged collections, and what both gain on the better first stage."""
    lines = [
        "| collection, queries | dense | BM25 | hybrid | stage 2 alone | both | gain, 95% interval |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in numbers["rows"]:
        gain = row["gain_over_best_first_stage"]
        values = " | ".join(f"{row[name]:.3f}" for name in ("dense", "bm25", "hybrid", "reranked", "blended"))
        interval = f"{gain['mean']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f})"
        lines.append(f"| {row['collection']}, {row['queries']} | {values} | {interval} |")
    return "\n".join(lines)


def baseline_table(numbers: dict[str, Any]) -> str:
    """Return the recipe's loss beside the seed card's, and its ranking beside the shipped model's."""
    seed = {int(step): loss for step, loss in numbers["seed_card_loss"].items()}
    lines = ["| step | loss | seed card's |", "|---|---|---|"]
    lines += [
        f"| {row['step']:,} | {row['loss']:.4f} | {seed.get(row['step'], '')} |"
        for row in numbers["loss"]
        if row["step"] % 500 == 0
    ]
    lines += [
        "",
        "| stage 2 alone, nDCG@10 | queries | first stage | the recipe | the shipped model |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['collection']} | {row['queries']} | {row['first_stage']:.3f} | {row['baseline']:.3f} |"
        f" {row['shipped']:.3f} |"
        for row in numbers["rows"]
    ]
    return "\n".join(lines)


def million_table(numbers: dict[str, Any]) -> str:
    """Return how an index of the embedded engine is made and searched."""
    ingest, index, reopen = numbers["ingest"], numbers["optimize"], numbers["reopen"]
    count = f"{numbers['passages']:,} passages of {numbers['dimension']} dimensions"
    lines = [
        "| `hnsw.ef_search` | recall@100 | p50 ms | p95 ms |",
        "|---|---|---|---|",
        f"| no index yet | 1 | {numbers['unindexed_search']['p50_ms']} | {numbers['unindexed_search']['p95_ms']} |",
    ]
    lines += [
        f"| {row['ef_search']} | {row['recall_at_100']:.3f} | {row['p50_ms']} | {row['p95_ms']} |"
        for row in numbers["search"]["rows"]
    ]
    # A build that was stopped now and then for other measurements says nothing of how long anything took meanwhile.
    built = (
        "index built beside other work, with pauses"
        if index.get("paused")
        else f"index built in {index['seconds']} s; meanwhile the slowest of {index['searches_meanwhile']} searches "
        f"took {index['slowest_search_ms']} ms, and for {index['stall_ms']} ms no other thread ran"
    )
    lines += [
        "",
        f"{count}, {numbers['cpu_count']} cores: written in {ingest['seconds']} s (the process grew by "
        f"{ingest['growth_mb']['first_tenth']} MB in the first tenth, by {ingest['growth_mb']['all']} MB in all), "
        f"{built}. Opened, with every file read, in {reopen['open_and_verify_s']} s; {reopen['disk_mb']} MB on disk.",
    ]
    return "\n".join(lines)


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "demo": demo_table,
    "frameworks": frameworks_table,
    "quality": quality_table,
    "baseline": baseline_table,
    "million": million_table,
    "million_50000": million_table,
    **SPEED_TABLES,
}


def filled(page: str) -> str:
    """Return a page with its tables renewed; a place whose benchmark was never run stays as it is."""

    def renewed(place: re.Match[str]) -> str:
        numbers = newest(place[2])
        return place[0] if numbers is None else f"{place[1]}{TABLES[place[2]](numbers)}\n{place[4]}"

    return _PLACE.sub(renewed, page)


def main(arguments: list[str]) -> None:
    if "--write" in arguments:
        for page in PAGES:
            page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
        return
    for benchmark, table in TABLES.items():
        numbers = newest(benchmark)
        print(f"{benchmark}: never run" if numbers is None else table(numbers), end="\n\n")


if __name__ == "__main__":
    main(sys.argv[1:])
