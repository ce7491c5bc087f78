"""How fast is the reranker here, against the libraries that it would replace? Same weights, same pairs, in turns.

```python
from searchkit.benchmarking import QUICK, Circumstances, own_engines, run_benchmark

here = Circumstances(folder, device="cpu", threads=2, max_length=512)
report = run_benchmark(own_engines(here), here, QUICK)
```
"""

from __future__ import annotations

from searchkit.benchmarking.benchmark import run_benchmark, step_count
from searchkit.benchmarking.contestants import Batched, Circumstances, Contestant, NotRunError, OwnEngine, own_engines
from searchkit.benchmarking.peer_files import PeerFolder
from searchkit.benchmarking.peers import FastEmbedPeer, FlashRankPeer, SentenceTransformersPeer, peers
from searchkit.benchmarking.report import BenchReport, Entry, Failure, Fidelity, Machine, Ratio, Speed, Spread
from searchkit.benchmarking.workloads import FULL, QUICK, STANDARD, Load, Plan
from searchkit.models.sample_texts import TextSource, real_sentences

__all__ = [
    "FULL",
    "QUICK",
    "STANDARD",
    "Batched",
    "BenchReport",
    "Circumstances",
    "Contestant",
    "Entry",
    "Failure",
    "FastEmbedPeer",
    "Fidelity",
    "FlashRankPeer",
    "Load",
    "Machine",
    "NotRunError",
    "OwnEngine",
    "PeerFolder",
    "Plan",
    "Ratio",
    "SentenceTransformersPeer",
    "Speed",
    "Spread",
    "TextSource",
    "own_engines",
    "peers",
    "real_sentences",
    "run_benchmark",
    "step_count",
]
