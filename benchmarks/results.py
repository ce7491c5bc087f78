"""Where the numbers go: one JSON file a benchmark and commit, with the machine that made it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"


def commit() -> str:
    """Return the short hash of HEAD, with "-dirty" if the package differs from it."""
    top = Path(__file__).parent
    name = subprocess.check_output(["git", "rev-parse", "--short=12", "HEAD"], cwd=top, text=True).strip()
    dirty = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "../searchkit"], cwd=top, check=False).returncode
    return f"{name}-dirty" if dirty else name


def machine() -> dict[str, Any]:
    """Return when and where the numbers were measured."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cpu_count": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
    }


def write(name: str, numbers: dict[str, Any]) -> Path:
    """Write and print the numbers of one benchmark."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}-{commit()}.json"
    text = json.dumps({"benchmark": name, "commit": commit(), **machine(), **numbers}, indent=2)
    path.write_text(text + "\n", encoding="utf-8")
    print(text)
    return path
