"""Import time of the package and of what it keeps away: best of several runs, each in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

from results import write

MODULES = ("searchkit", "searchkit.kit", "sentence_transformers")


def seconds(module: str, runs: int = 7) -> float:
    code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    times = [float(subprocess.check_output([sys.executable, "-c", code], text=True)) for _ in range(runs)]
    return min(times)


def main() -> None:
    write("imports", {f"{module}_s": round(seconds(module), 3) for module in MODULES})


if __name__ == "__main__":
    main()
