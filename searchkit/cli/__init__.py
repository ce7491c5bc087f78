"""The command line: ``searchkit --help``.

It needs the extra ``cli``; without it, `main` says so in one line.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from searchkit.errors import MissingExtraError

_OURS = frozenset({"typer", "rich"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 an error of ours or nothing usable, 2 wrong usage.

    Args:
        arguments: What would stand after ``searchkit``; ``None`` takes the process's own.
    """
    try:
        from searchkit.cli.app import create_app
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _OURS:
            raise
        sys.stderr.write(f"searchkit: {MissingExtraError('the command line', 'cli')}\n")
        return 2
    return int(create_app()(args=arguments, prog_name="searchkit", standalone_mode=False) or 0)
