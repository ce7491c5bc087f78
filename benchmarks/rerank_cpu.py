"""Stage 2 on one core beside the libraries that it would replace, kept under results/.

    python benchmarks/rerank_cpu.py --rounds 3            # each library at its best batch size
    python benchmarks/rerank_cpu.py --quick --rounds 3    # each at its default batch size, kept as rerank_defaults
    python benchmarks/rerank_cpu.py --full                # 1,000 candidates and 64 callers too, kept as rerank_full

All arguments go to ``searchkit bench --threads 1``, whose report is kept. All libraries are installed by
``pip install fastembed flashrank``; they run the shipped weights, exported for the run.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from results import write


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "searchkit", "bench", "--threads", "1", "--report", str(report)]
        subprocess.run([*command, *sys.argv[1:]], check=True)
        plans = {"--quick": "rerank_defaults", "--full": "rerank_full"}
        name = next((name for option, name in plans.items() if option in sys.argv), "rerank_cpu")
        write(name, {"report": json.loads(report.read_text(encoding="utf-8"))})


if __name__ == "__main__":
    main()
