"""Reranking on a GPU against sentence-transformers, in one go: every number that the project's GPU targets ask for.

    python benchmarks/rerank_gpu.py --out rerank_gpu.json     # some seven minutes on one H100 or H200
    python benchmarks/rerank_gpu.py --dry-run                 # tiny sizes, on whatever is there: shows that it runs

NOTHING HAS BEEN MEASURED WITH IT ON A GPU YET: no number of the GPU path is claimed anywhere until a file of it lies
under benchmarks/results/. Without CUDA it measures nothing and exits with code 2 (with --dry-run it runs, and says so).

What it needs: a clone of this repository (45 MB of it the shipped weights) and torch with CUDA, transformers,
sentence-transformers, tokenizers, pydantic and rich; triton is used if it is there. Nothing is downloaded. On a machine
without a network, carry what is missing as wheels and put the clone on PYTHONPATH.

Rows with text in and rows with tokens in are kept apart. "tokens in" has the ids of the passages ready as a collection
stores them and tokenizes queries within the measured time; "engine alone" has whole batches ready, as its opponent has.
sentence-transformers runs in fp16 at the batch size that is best for the workload. Fidelity is against fp32, TF32 off.
Contestants take turns, three times. Parts come in order of weight; one that fails is written down and the rest goes on;
one that would not end within --minutes is skipped and named. The file is written after every part.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gpu_fidelity
from gpu_targets import FEW, MANY, TEXT, judged
from results import FOLDER, commit

from searchkit.benchmarking import Circumstances, OwnEngine, SentenceTransformersPeer, TextSource
from searchkit.benchmarking.ablations import ablations
from searchkit.benchmarking.bulk import TokenTexts
from searchkit.benchmarking.contestants import Batched, Contestant
from searchkit.benchmarking.gemm import MatrixProduct, arithmetic_of
from searchkit.benchmarking.machine import describe
from searchkit.benchmarking.stock import StockGraphed
from searchkit.benchmarking.summary import speeds
from searchkit.benchmarking.timing import Sample, Timings, choose_batch_size, time_in_turns, why
from searchkit.benchmarking.tokens import EngineAlone, Prepared, TokensIn
from searchkit.benchmarking.workloads import PairLengths, Workload
from searchkit.models.hashing import weight_hash
from searchkit.models.onnx_session import usable_cores
from searchkit.reranking import CrossEncoderReranker

PROBE_PAIRS = 4_000  # for each batch size that is tried


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        calls: Calls of ``candidates`` pairs a round.
        candidates: Pairs of a call.
        pairs: Pairs in bulk.
        pairs_with_criteria: The same with the long query, of which sentence-transformers scores half as many a second.
        ablated_pairs: Pairs in bulk for the ablations.
        repeats: Interleaved rounds.
        distinct: Passages to draw from.
        judged: Judged queries for fidelity; ``None`` for all.
        stock_rows: Rows of the stock model's batches.
    """

    calls: int = 50
    candidates: int = 100
    pairs: int = 100_000
    pairs_with_criteria: int = 50_000
    ablated_pairs: int = 20_000
    repeats: int = 3
    distinct: int = 20_000
    judged: int | None = None
    stock_rows: int = 256


DRY = Sizes(2, 6, 12, 12, 12, 1, 40, 2, 4)
DRY_LENGTH = 32  # tokens of a pair: batch-invariant tiles have room for many of the longest
SECONDS = {  # what a part takes at full size, generously; those that would not fit any more are skipped
    f"call, query of {FEW}": 20,
    f"bulk, query of {FEW}": 140,
    "fidelity": 40,
    "ablations": 60,
    f"call, query of {MANY}": 25,
    f"bulk, query of {MANY}": 110,
}


class Bench:
    """One run: its contestants, its texts and what was found.

    Args:
        here: Model and device.
        sizes: How much.
        judgments: Folder of the judged queries.
        out: Where the file goes.
        source: Where words come from.
    """

    def __init__(self, here: Circumstances, sizes: Sizes, judgments: Path, out: Path, source: TextSource) -> None:
        self.here, self.sizes, self.judgments, self.out = here, sizes, judgments, out
        self.started = time.monotonic()
        self.found: dict[str, Any] = {
            "benchmark": "rerank_gpu",
            "commit": commit_name(),
            "is_measurement": here.device != "cpu" and sizes == Sizes(),
            "folder": str(here.folder),
            "weights": weight_hash(here.folder),
            "sizes": dataclasses.asdict(sizes),
            "machine": describe(here.device, here.threads, is_pinned=False).model_dump(),
            "not_run": {},
            "failures": [],
            "skipped": [],
            "targets": [],
            "fidelity": None,
            "workloads": {},
        }
        self.lengths = PairLengths(here.folder, here.max_length)
        self.texts = TokenTexts(here.folder, source, sizes.distinct)
        self.users = self.loaded([OwnEngine(here), TokensIn(here), SentenceTransformersPeer(here)])
        self.alone = self.loaded([EngineAlone(here), StockGraphed(here, sizes.stock_rows)])

    def run(self, minutes: float) -> dict[str, Any]:
        """Do every part that fits into so many minutes and return what was found."""
        parts: dict[str, Callable[[], None]] = {
            f"call, query of {FEW}": partial(self.calls, FEW, self.users),
            f"bulk, query of {FEW}": partial(self.bulk, FEW, self.sizes.pairs, [*self.users, *self.alone]),
            "fidelity": self.fidelity,
            "ablations": self.ablations,
            f"call, query of {MANY}": partial(self.calls, MANY, self.users),
            f"bulk, query of {MANY}": partial(self.bulk, MANY, self.sizes.pairs_with_criteria, self.users),
        }
        for name, part in parts.items():
            if time.monotonic() - self.started + SECONDS[name] > minutes * 60:
                self.found["skipped"].append(name)
                continue
            reason = attempt(part)
            if reason is not None:
                self.found["failures"].append({"contestant": TEXT, "workload": name, "reason": reason})
            self.write()
        self.write()
        return self.found

    def calls(self, query_tokens: int, contestants: Sequence[Contestant], prefix: str = "") -> None:
        """Measure calls of 100 candidates, one after another."""
        sizes = self.sizes
        work = self.texts.workload(sizes.calls, sizes.candidates, query_tokens=query_tokens, lengths=self.lengths)
        self.measure(f"{prefix}call, query of {query_tokens}", work, contestants)

    def bulk(self, query_tokens: int, pairs: int, contestants: Sequence[Contestant], prefix: str = "") -> None:
        """Measure one call of very many pairs."""
        work = self.texts.workload(1, pairs, query_tokens=query_tokens, lengths=self.lengths)
        self.measure(f"{prefix}bulk, query of {query_tokens}", work, contestants)

    def fidelity(self) -> None:
        """Compare with fp32."""
        sizes = self.sizes
        self.found["fidelity"] = gpu_fidelity.checked(self.here, self.judgments, sizes.judged, sizes.candidates)

    def ablations(self) -> None:
        """Measure our engine with one part after the other."""
        contestants = self.loaded(ablations(self.here))
        self.calls(FEW, contestants, "ablation, ")
        self.bulk(FEW, self.sizes.ablated_pairs, contestants, "ablation, ")

    def loaded(self, contestants: Sequence[Contestant]) -> list[Contestant]:
        """Load them; who cannot run is written down with the reason."""
        reasons = {contestant.name: attempt(contestant.load) for contestant in contestants}
        self.found["not_run"].update({name: reason for name, reason in reasons.items() if reason is not None})
        return [contestant for contestant in contestants if reasons[contestant.name] is None]

    def measure(self, name: str, workload: Workload, running: Sequence[Contestant]) -> None:
        """Warm everyone up on the workload, let them take turns, and enter what came of it."""
        is_cpu = self.here.device == "cpu"
        reasons = {one.name: attempt(partial(warm_up, one, workload, is_cpu=is_cpu)) for one in running}
        ready = [one for one in running if reasons[one.name] is None]
        failed = [{"contestant": who, "reason": reason} for who, reason in reasons.items() if reason is not None]
        peak = MatrixProduct(self.here.device).measure if self.found["is_measurement"] else None
        timings = time_in_turns(ready, [workload], self.sizes.repeats, measure_peak=peak)
        rows = speeds(timings, [workload], arithmetic=arithmetic_of(self.here.folder), is_cpu=is_cpu)
        setups = {contestant.name: contestant.setup for contestant in ready}
        self.found["workloads"][name] = {
            "size": {**workload.size.model_dump(), "mean_pair_tokens": round(statistics.mean(workload.lengths), 1)},
            "rows": [{**row.model_dump(), "setup": setups[row.contestant]} for row in rows],
            "rounds": [dataclasses.asdict(sample) for sample in shortened(timings)],
        }
        failed += [{"contestant": one.contestant, "reason": one.reason} for one in timings.failures]
        self.found["failures"] += [{**one, "workload": name} for one in failed]
        self.found["targets"] += judged(name, timings, len(workload.lengths))

    def write(self) -> None:
        """Write what is known so far."""
        self.found["seconds"] = round(time.monotonic() - self.started, 1)
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self.out.write_text(json.dumps(self.found, indent=2) + "\n", encoding="utf-8")


def attempt(action: Callable[[], object]) -> str | None:
    """Do something and return why it failed, ``None`` if it did not."""
    try:
        action()
    except Exception as error:  # noqa: BLE001  # any library may raise anything; it becomes a finding
        return why(error)
    return None


def shortened(timings: Timings) -> list[Sample]:
    """Keep a round's median call rather than each."""
    return [dataclasses.replace(one, calls_s=(statistics.median(one.calls_s),)) for one in timings.samples]


def warm_up(contestant: Contestant, workload: Workload, *, is_cpu: bool) -> None:
    """Prepare what is not timed, find the best batch size, and run the whole workload once untimed if it is ours."""
    if isinstance(contestant, Prepared):
        for pairs in workload.queries:
            contestant.prepare(pairs)
    if isinstance(contestant, Batched):
        probe = [pair for pairs in workload.queries[:1] for pair in pairs[:PROBE_PAIRS]]
        choose_batch_size(contestant, lambda: contestant.score(probe), by_cpu=is_cpu)
    else:
        for pairs in workload.queries:
            contestant.score(pairs)


def commit_name() -> str:
    try:
        return commit()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"  # a copy of the tree without its history


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None, help="folder or name; the shipped one by default")
    parser.add_argument("--minutes", type=float, default=8.0, help="parts that would not end by then are skipped")
    parser.add_argument("--judgments", type=Path, default=Path(__file__).parents[1] / "tests" / "data" / "stdlib")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes on any device; nothing of it is a number")
    options = parser.parse_args(arguments)
    import torch

    has_cuda = torch.cuda.is_available()
    if not has_cuda and not options.dry_run:
        sys.stderr.write(f"rerank_gpu: no CUDA device (torch {torch.__version__}): nothing was measured\n")
        return 2
    reranker = CrossEncoderReranker(options.model) if options.model else CrossEncoderReranker()
    longest = DRY_LENGTH if options.dry_run else reranker.max_length
    here = Circumstances(reranker.model_path, "cuda" if has_cuda else "cpu", usable_cores(), longest)
    default = Path(tempfile.gettempdir()) / "dry" if options.dry_run else FOLDER
    out = options.out or default / f"rerank_gpu-{commit_name()}.json"
    sizes, minutes = (DRY, float("inf")) if options.dry_run else (Sizes(), options.minutes)
    found = Bench(here, sizes, options.judgments, out, TextSource(0)).run(minutes)
    shown = ("is_measurement", "targets", "fidelity", "not_run", "failures", "skipped")
    print(json.dumps({name: found[name] for name in shown}, indent=2))
    sys.stderr.write(f"rerank_gpu: wrote {out}{' (a dry run: no measurement)' if options.dry_run else ''}\n")
    return int(bool(options.dry_run and (found["failures"] or found["not_run"])))


if __name__ == "__main__":
    sys.exit(main())
