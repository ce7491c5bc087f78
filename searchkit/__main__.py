"""``python -m searchkit``."""

from __future__ import annotations

import sys

from searchkit.cli import main

if __name__ == "__main__":
    sys.exit(main())
