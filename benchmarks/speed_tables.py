"""The tables of docs/speed.md in Markdown, each from the numbers of one benchmark; see tables.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Numbers = dict[str, Any]

RERANK_TARGETS = {
    ("searchkit onnx", "sentence-transformers"): 1.6,
    ("searchkit onnx", "fastembed"): 3.0,
    ("searchkit onnx", "FlashRank"): 3.4,
    ("searchkit openvino", "sentence-transformers"): 4.0,
}
INGEST_TARGET = 10_000


def rerank_table(numbers: Numbers) -> str:
    """Return how many times faster each engine is than each library, by CPU time, and what was aimed at."""
    report = numbers["report"]
    rows = [
        (
            ratio["workload"],
            f"{ratio['contestant']} / {ratio['against']}",
            f"{ratio['cpu']['median']:.2f} ({ratio['cpu']['low']:.2f} to {ratio['cpu']['high']:.2f})",
            f"{ratio['wall']['median']:.2f}",
            _aim(ratio),
        )
        for ratio in report["ratios"]
    ]
    machine = report["machine"]
    note = (
        f"{machine['processor']}, {machine['threads']} core, matrix product {report['peak_gflops']['median']:.0f} "
        f"GFLOP/s, {report['rounds']} rounds. {_source(numbers)}"
    )
    return _table(("pairs a call", "times faster", "CPU time", "wall clock", "aimed at"), rows, note)


def latency_table(numbers: Numbers) -> str:
    """Return the time of a call at each load."""
    rows = [
        (
            speed["workload"],
            speed["contestant"],
            *(f"{speed[name]:,.0f}" for name in ("p50_ms", "p95_ms", "p99_ms", "cpu_ms_per_call")),
            f"{speed['pairs_per_cpu_s']:.0f}",
            "" if speed["peak_share"] is None else f"{speed['peak_share']:.0%}",
        )
        for speed in numbers["report"]["speeds"]
    ]
    head = ("load", "who", "p50 ms", "p95 ms", "p99 ms", "CPU ms a call", "pairs a CPU s", "of the product's speed")
    return _table(head, rows, _source(numbers))


def encoding_table(numbers: Numbers) -> str:
    """Return how fast documents are encoded."""
    faster = numbers["times_faster"]
    rows = [
        (
            row["way"],
            f"{row['passages_per_cpu_s']:.1f}",
            f"{row['peak_share']:.0%}",
            f"{faster[row['way']]['cpu']['median']:.2f}" if row["way"] in faster else "",
        )
        for row in numbers["rows"]
    ]
    note = (
        f"{numbers['passages']} passages of {numbers['token_quartiles'][2]} tokens in the median, "
        f"{numbers['rounds']} rounds; aimed at {numbers['target']}. {_source(numbers)}"
    )
    return _table(("encoder", "passages a CPU s", "of the product's speed", "times faster"), rows, note)


def search_table(numbers: Numbers) -> str:
    """Return the whole search beside the same models wired by hand."""
    rows = [
        (
            row["side"],
            f"{row['p50_ms']:.0f}",
            f"{row['cpu_p50_ms']:.0f}",
            f"{row['ratio']:.2f}",
            f"{row['cpu_ratio']:.2f}",
        )
        for row in numbers["rows"]
    ]
    note = (
        f"{numbers['passages']:,} passages, {numbers['candidates']} candidates, {numbers['queries']} queries; aimed at "
        f"{numbers['target_ratio']}. {_source(numbers)}"
    )
    return _table(("search", "p50 ms", "CPU ms", "times faster", "by CPU time"), rows, note)


def memory_table(numbers: Numbers) -> str:
    """Return what many callers need beyond the model."""
    row = (
        f"{numbers['callers']} x {numbers['candidates']:,}",
        numbers["engine"],
        f"{numbers['pairs_scored']:,}",
        f"{numbers['growth_mb']:.0f} MB",
        f"< {numbers['target_mb']:.0f} MB",
    )
    return _table(
        ("callers x candidates", "engine", "pairs scored", "beyond the model", "aimed at"), [row], _source(numbers)
    )


def fidelity_table(numbers: Numbers) -> str:
    """Return how near int8 is to float32."""
    rows = [
        (
            row["collection"],
            f"{row['queries']} / {row['pairs']:,}",
            f"{row['spearman_mean']:.4f}",
            f"{row['top10_overlap']:.3f}",
            f"{row['ndcg_at_10_exact']:.4f}",
            f"{row['ndcg_at_10_lost']:+.4f}",
        )
        for row in numbers["rows"]
    ]
    aims = numbers["targets"]
    rows.append(
        (
            "aimed at",
            "",
            f">= {aims['spearman_mean']}",
            f">= {aims['top10_overlap']}",
            "",
            f"<= {aims['ndcg_at_10_lost']}",
        )
    )
    note = f"Weights {numbers['model_hash'][:12]}, depth {numbers['depth']}. {_source(numbers)}"
    head = ("collection", "queries / pairs", "Spearman", "top 10 shared", "nDCG@10 exact", "lost in int8")
    return _table(head, rows, note)


def adaptive_table(numbers: Numbers) -> str:
    """Return what adaptive depth saves and costs, with the blend and without."""
    rows = [
        (
            f"{row['collection']} ({row['queries']})",
            "yes" if row["blend"] else "no",
            f"{row['share_scored']:.0%}",
            f"{row['ndcg_at_10_full']:.4f}",
            f"{row['ndcg_at_10_lost']:+.4f}",
        )
        for row in sorted(numbers["rows"], key=lambda row: not row["blend"])
    ]
    aims = numbers["targets"]
    rows.append(("aimed at", "", f"<= {aims['share_scored']:.0%}", "", f"<= {aims['ndcg_at_10_lost']}"))
    note = f"Depth {numbers['depth']}, `max_missed` {numbers['rows'][0]['max_missed']}. {_source(numbers)}"
    return _table(("collection (queries)", "blend", "pairs scored", "nDCG@10, all scored", "lost"), rows, note)


def ingest_table(numbers: Numbers) -> str:
    """Return how fast passages go in, without the neural encoder."""
    rows = [
        ("without the reranker's token ids", f"{numbers['passages_per_cpu_s']:,}", f"{INGEST_TARGET:,}"),
        ("with them", f"{numbers['with_tokens_passages_per_cpu_s']:,}", ""),
    ]
    return _table(
        ("ingest", "passages a CPU s", "aimed at"), rows, f"{numbers['passages']:,} passages. {_source(numbers)}"
    )


def _aim(ratio: Numbers) -> str:
    aim = RERANK_TARGETS.get((ratio["contestant"], ratio["against"]))
    return "" if aim is None or ratio["workload"] != "100 candidates" else f">= {aim}"


def _source(numbers: Numbers) -> str:
    return f"Commit {numbers['commit']}, {numbers['date'][:10]}."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], note: str) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]
    return "\n".join([*lines, "", note])


SPEED_TABLES: dict[str, Callable[[Numbers], str]] = {
    "rerank_cpu": rerank_table,
    "rerank_defaults": rerank_table,
    "rerank_load": latency_table,
    "rerank_full": latency_table,
    "encoding": encoding_table,
    "search": search_table,
    "memory": memory_table,
    "int8_fidelity": fidelity_table,
    "adaptive_depth": adaptive_table,
    "ingest": ingest_table,
}

SOURCES = {"rerank_load": "rerank_cpu"}
"""Benchmarks whose file is another one's."""
