"""Reranking on a GPU against sentence-transformers, in one go: every number that the project's GPU targets ask for.

    python benchmarks/rerank_gpu.py --out rerank_gpu.json     # ten minutes on an H200; exit code 2 without CUDA

Rows with text in and rows with tokens in are kept apart. "tokens in" has the ids of the passages ready as a collection
stores them and tokenizes queries within the measured time; "engine alone" has whole batches ready, as its opponent has.
sentence-transformers runs in fp16 at the batch size that is best for the workload. Fidelity is against fp32, TF32 off.
The file is written after every workload, so that a run that is cut short leaves what it measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from results import FOLDER, commit

from searchkit.benchmarking import Circumstances, OwnEngine, SentenceTransformersPeer, TextSource
from searchkit.benchmarking.bulk import TokenTexts
from searchkit.benchmarking.contestants import Batched, Contestant, Pair
from searchkit.benchmarking.fidelity import fidelity
from searchkit.benchmarking.gemm import MatrixProduct, arithmetic_of
from searchkit.benchmarking.machine import describe
from searchkit.benchmarking.stock import StockGraphed
from searchkit.benchmarking.summary import speeds, spread
from searchkit.benchmarking.timing import Sample, Timings, choose_batch_size, time_in_turns, why
from searchkit.benchmarking.tokens import EngineAlone, Prepared, TokensIn
from searchkit.benchmarking.workloads import PairLengths, Workload
from searchkit.models.hashing import weight_hash
from searchkit.models.onnx_session import usable_cores
from searchkit.reranking import CrossEncoderReranker

TEXT, TOKENS, ALONE = "searchkit", TokensIn.name, EngineAlone.name
PEER, STOCK = "sentence-transformers", StockGraphed.name
FEW, MANY = 10, 80  # tokens of a query, without and with criteria
DISTINCT_PASSAGES = 20_000
CANDIDATES = 100
GATE = {"kendall_mean": 0.999, "top10_overlap": 0.995}
GATE_AT_MOST = {"error_over_std": 3e-3, "ndcg10_lost": 5e-4}


@dataclasses.dataclass(frozen=True)
class Target:
    """What is to be reached in one workload: at most ``p50_ms`` (and ``p99_ms``) or at least ``pairs_per_s``."""

    name: str
    workload: str
    ours: str
    against: str
    ratio: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    pairs_per_s: float | None = None


TARGETS = (
    Target("1 x 100, short query", f"call, query of {FEW}", TOKENS, PEER, 12, p50_ms=1.6, p99_ms=2.0),
    Target("bulk, tokens in", f"bulk, query of {FEW}", TOKENS, PEER, 20, pairs_per_s=85_000),
    Target("bulk, text in", f"bulk, query of {FEW}", TEXT, PEER, 8, pairs_per_s=40_000),
    Target("bulk, criteria query", f"bulk, query of {MANY}", TOKENS, PEER, 18, pairs_per_s=50_000),
    Target("1 x 100, criteria query", f"call, query of {MANY}", TOKENS, PEER, 18, p50_ms=2.3),
    Target("GPU only", f"bulk, query of {FEW}", ALONE, STOCK, 1.7),
)


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much is measured: calls of 100 candidates a round, pairs in bulk, interleaved repeats."""

    calls: int = 50
    pairs: int = 100_000
    repeats: int = 3


def attempt(action: Callable[[], object]) -> str | None:
    """Do something and return why it failed, ``None`` if it did not."""
    try:
        action()
    except Exception as error:  # noqa: BLE001  # any library may raise anything; it becomes a finding
        return why(error)
    return None


def loaded(contestants: Sequence[Contestant], found: dict[str, Any]) -> list[Contestant]:
    """Load them; who cannot run is written down with the reason."""
    reasons = {contestant.name: attempt(contestant.load) for contestant in contestants}
    found["not_run"].update({name: reason for name, reason in reasons.items() if reason is not None})
    return [contestant for contestant in contestants if reasons[contestant.name] is None]


def measure(name: str, workload: Workload, running: Sequence[Contestant], repeats: int, found: dict[str, Any]) -> None:
    """Warm everyone up on the workload, let them take turns, and enter what came of it."""
    device = found["machine"]["device"]
    reasons = {one.name: attempt(partial(warm_up, one, workload, is_cpu=device == "cpu")) for one in running}
    ready = [one for one in running if reasons[one.name] is None]
    failed = [{"contestant": who, "reason": reason} for who, reason in reasons.items() if reason is not None]
    product = MatrixProduct(device)
    timings = time_in_turns(ready, [workload], repeats, measure_peak=product.measure)
    arithmetic = arithmetic_of(Path(found["folder"]))
    rows = speeds(timings, [workload], arithmetic=arithmetic, is_cpu=device == "cpu")
    setups = {contestant.name: contestant.setup for contestant in ready}
    found["workloads"][name] = {
        "size": {**workload.size.model_dump(), "mean_pair_tokens": round(statistics.mean(workload.lengths), 1)},
        "rows": [{**row.model_dump(), "setup": setups[row.contestant]} for row in rows],
        "rounds": [dataclasses.asdict(sample) for sample in shortened(timings)],
    }
    failed += [{"contestant": one.contestant, "reason": one.reason} for one in timings.failures]
    found["failures"] += [{**one, "workload": name} for one in failed]
    found["targets"] += [
        verdict
        for target in TARGETS
        if target.workload == name
        for verdict in judge(target, timings, len(workload.lengths))
    ]


def shortened(timings: Timings) -> list[Sample]:
    """Keep a round's median call rather than each."""
    return [dataclasses.replace(one, calls_s=(statistics.median(one.calls_s),)) for one in timings.samples]


def warm_up(contestant: Contestant, workload: Workload, *, is_cpu: bool) -> None:
    """Prepare what is not timed, find the best batch size, and run the whole workload once untimed if it is ours."""
    for pairs in workload.queries:
        if isinstance(contestant, Prepared):
            contestant.prepare(pairs)
    if isinstance(contestant, Batched):
        probe = [pair for pairs in workload.queries[:1] for pair in pairs[:10_000]]
        choose_batch_size(contestant, lambda: contestant.score(probe), by_cpu=is_cpu)
    else:
        for pairs in workload.queries:
            contestant.score(pairs)


def judge(target: Target, timings: Timings, pair_count: int) -> list[dict[str, Any]]:
    """Return what became of a target; nothing if one of the two did not run."""
    mine, theirs = ([one for one in timings.samples if one.contestant == who] for who in (target.ours, target.against))
    if not mine or not theirs:
        return []
    is_call = target.p50_ms is not None
    times = [[statistics.median(one.calls_s) if is_call else one.wall_s for one in side] for side in (mine, theirs)]
    ratio = spread([theirs_s / mine_s for mine_s, theirs_s in zip(*times, strict=True)])
    calls_ms = np.array([seconds for one in mine for seconds in one.calls_s]) * 1e3
    found = {
        "p50_ms": float(np.median(calls_ms)),
        "p99_ms": float(np.quantile(calls_ms, 0.99)),
        "pairs_per_s": pair_count / statistics.median(one.wall_s for one in mine),
    }
    limits = (("p50_ms", target.p50_ms), ("p99_ms", target.p99_ms))
    is_reached = all(limit is None or found[name] <= limit for name, limit in limits)
    is_reached &= target.pairs_per_s is None or found["pairs_per_s"] >= target.pairs_per_s
    verdict = {"ratio_reached": ratio.median >= target.ratio, "commitment_reached": is_reached}
    return [{"target": dataclasses.asdict(target), "ratio": ratio.model_dump(), "found": found, **verdict}]


def check_fidelity(here: Circumstances, judgments: Path, found: dict[str, Any]) -> None:
    """Compare what the user gets with fp32 on judged queries: 100 candidates each, the judged passages among them."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    fast = CrossEncoderReranker(here.folder, device=here.device)
    exact = CrossEncoderReranker(here.folder, device=here.device, precision="fp32", engine="torch")
    pools = judged_pools(judgments, fast)
    scores = [[one.score_pairs(pairs) for pairs, _ in pools] for one in (fast, exact)]
    values = [[score.logits for score in side] for side in scores]
    gate: dict[str, Any] = fidelity(scores[0][0].engine, scores[1][0].engine, values[0], values[1]).model_dump()
    mine, theirs = ([ndcg(side, grades) for side, (_, grades) in zip(each, pools, strict=True)] for each in values)
    gate.update(queries=len(pools), ndcg10_exact=statistics.mean(theirs))
    gate["ndcg10_lost"] = gate["ndcg10_exact"] - statistics.mean(mine)
    passed = [gate[name] >= bound for name, bound in GATE.items()]
    passed += [gate[name] <= bound for name, bound in GATE_AT_MOST.items()]
    found["fidelity"] = {**gate, "bounds": {**GATE, **GATE_AT_MOST}, "passed": all(passed)}


def judged_pools(judgments: Path, reranker: CrossEncoderReranker) -> list[tuple[list[Pair], Any]]:
    """Return, for each judged query, its judged passages filled up to 100 with others, and their grades."""
    from searchkit.cli.demo_table import read_known
    from searchkit.cli.stdlib import read_standard_library

    library = read_standard_library()
    judged, texts = read_known(judgments, library).queries, {str(one.id): one.text for one in library.passages}
    chance, pools = random.Random(0), []
    for query in judged.queries:
        grades = judged.qrels[query.id]
        ids = list(dict.fromkeys([*grades, *chance.sample(sorted(texts), CANDIDATES)]))[:CANDIDATES]
        composed = reranker.compose(query.text, query.criteria)
        pools.append(([(composed, texts[name]) for name in ids], np.array([grades.get(name, 0) for name in ids])))
    return pools


def ndcg(logits: Any, grades: Any, cutoff: int = 10) -> float:
    """Return nDCG@10 with the grade as gain."""
    discounts = 1 / np.log2(np.arange(2, cutoff + 2))
    order, best = np.argsort(-logits, kind="stable")[:cutoff], np.sort(grades)[::-1][:cutoff]
    discounts = discounts[: len(best)]
    return float((grades[order] * discounts).sum() / max((best * discounts).sum(), 1e-12))


def run(here: Circumstances, sizes: Sizes, judgments: Path, out: Path, source: TextSource | None = None) -> Any:
    """Measure everything and return what was written to ``out``."""
    started = time.time()
    found: dict[str, Any] = {
        "benchmark": "rerank_gpu",
        "commit": commit_name(),
        "folder": str(here.folder),
        "weights": weight_hash(here.folder),
        "sizes": dataclasses.asdict(sizes),
        "machine": describe(here.device, here.threads, is_pinned=False).model_dump(),
        "not_run": {},
        "failures": [],
        "targets": [],
        "workloads": {},
        "fidelity": None,
    }
    lengths = PairLengths(here.folder, here.max_length)
    texts = TokenTexts(here.folder, source or TextSource(0), min(DISTINCT_PASSAGES, max(sizes.pairs, 2 * CANDIDATES)))
    users = loaded([OwnEngine(here), TokensIn(here), SentenceTransformersPeer(here)], found)
    alone = loaded([EngineAlone(here), StockGraphed(here)], found)
    for query_tokens in (FEW, MANY):
        for kind, calls, candidates in (("call", sizes.calls, CANDIDATES), ("bulk", 1, sizes.pairs)):
            name = f"{kind}, query of {query_tokens}"
            everyone = users + (alone if name == f"bulk, query of {FEW}" else [])
            workload = texts.workload(calls, candidates, query_tokens=query_tokens, lengths=lengths)
            measure(name, workload, everyone, sizes.repeats, found)
            write(out, found, started)
    reason = attempt(lambda: check_fidelity(here, judgments, found))
    if reason is not None:
        found["failures"].append({"contestant": TEXT, "workload": "fidelity", "reason": reason})
    write(out, found, started)
    return found


def write(out: Path, found: dict[str, Any], started: float) -> None:
    found["seconds"] = round(time.time() - started, 1)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def commit_name() -> str:
    try:
        return commit()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"  # a copy of the tree without its history


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None, help="folder or name; the shipped one by default")
    parser.add_argument("--pairs", type=int, default=Sizes.pairs)
    parser.add_argument("--repeats", type=int, default=Sizes.repeats)
    parser.add_argument("--judgments", type=Path, default=Path(__file__).parents[1] / "tests" / "data" / "stdlib")
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args(arguments)
    import torch

    if not torch.cuda.is_available():
        sys.stderr.write(f"rerank_gpu: no CUDA device (torch {torch.__version__}): nothing was measured\n")
        return 2
    reranker = CrossEncoderReranker(options.model) if options.model else CrossEncoderReranker()
    here = Circumstances(reranker.model_path, "cuda", usable_cores(), reranker.max_length)
    out = options.out or FOLDER / f"rerank_gpu-{commit_name()}.json"
    found = run(here, Sizes(pairs=options.pairs, repeats=options.repeats), options.judgments, out)
    print(json.dumps({name: found[name] for name in ("targets", "fidelity", "not_run", "failures")}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
