"""What reranking gains on judged collections: python benchmarks/quality.py STORE FOLDER [FOLDER ...] [--queries 60].

Does what `searchkit eval` does at the depth that the shipped model is judged at, on every collection: each first stage
alone, stage 2 alone and both blended, with intervals and tests. STORE keeps the indexed collections; the folder
tests/data/stdlib stands for the documentation of Python's standard library. `python benchmarks/tables.py --write` puts
the newest result into the README.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from known import known
from results import write

from searchkit import SearchKit, SearchKitConfig
from searchkit.cli.stdlib import standard_library_passages
from searchkit.evaluation import ComparisonReport, JudgedQueries, compare, grid, read_corpus, read_judged, search_count
from searchkit.evaluation.folders import has_corpus
from searchkit.progress import progress_bar

_IDS_A_CALL = 500


def main() -> None:
    options = _options()
    reports = {}
    for folder in options.folders:
        report = _report(folder, options)
        reports[report.queries_name] = report
        print(f"{report.queries_name}: {report.recommendation.sentences[0]}", file=sys.stderr)
    rows = [_row(report, options.depth) for report in reports.values()]
    full = {name: report.model_dump(mode="json") for name, report in reports.items()}
    write("quality", {"depth": options.depth, "rows": rows, "reports": full})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--queries", type=int, default=60, help="the most queries a collection, evenly spread")
    parser.add_argument("--depth", type=int, default=100)
    parser.add_argument("--timed", type=int, default=10, help="searches a way that are timed one at a time")
    return parser.parse_args()


def _report(folder: Path, options: argparse.Namespace) -> ComparisonReport:
    config = SearchKitConfig(on_rerank_error="raise")
    with SearchKit(folder.name, path=options.store, config=config) as kit:
        kit.add(read_corpus(folder) if has_corpus(folder) else standard_library_passages())
        judged = read_judged(folder)
        judged = known(judged, _present(kit, judged))
        judged = judged.sample(min(options.queries, len(judged)))
        ways = grid(depths=[options.depth])
        with progress_bar(search_count(judged, ways), f"searches of {folder.name}", show=None) as advance:
            return compare(kit, judged, ways, timed_count=options.timed, on_progress=advance)[0]


def _present(kit: SearchKit, judged: JudgedQueries) -> set[str]:
    wanted = sorted({name for grades in judged.qrels.values() for name in grades})
    parts = [kit.get(wanted[start : start + _IDS_A_CALL]) for start in range(0, len(wanted), _IDS_A_CALL)]
    return {str(passage.id) for part in parts for passage in part}


def _row(report: ComparisonReport, depth: int) -> dict[str, Any]:
    ways = {"dense": f"dense, depth {depth}", "bm25": f"sparse, depth {depth}", "hybrid": f"hybrid, depth {depth}",
            "reranked": f"hybrid + rerank, depth {depth}, no blend",
            "blended": f"hybrid + rerank, depth {depth}"}  # fmt: skip
    row: dict[str, Any] = {"collection": report.queries_name, "queries": report.query_count}
    row |= {name: round(report.system(way).measures["nDCG@10"], 4) for name, way in ways.items()}
    blended = report.system(ways["blended"])
    assert blended.difference is not None
    row["first_stage"] = max(row["dense"], row["hybrid"])
    row["gain_over_best_first_stage"] = {name: round(getattr(blended.difference, name), 4)
                                         for name in ("mean", "low", "high", "p_corrected")}  # fmt: skip
    row |= {"best_first_stage": report.baseline, "pool_recall": round(blended.pool_recall, 4),
            "oracle": round(blended.oracle_ceiling, 4), "calibration_error": blended.calibration_error,
            "p50_ms": None if blended.latency is None else round(blended.latency.p50_ms)}  # fmt: skip
    return row


if __name__ == "__main__":
    main()
