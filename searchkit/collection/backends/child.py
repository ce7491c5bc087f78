"""Another process of ours that has the engine to itself: it may block, run out of memory or crash there.

It talks with its parent in lines of JSON, one object with an "is" each.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from searchkit.errors import RetrievalError

_BOOT = (
    "import json, sys; from importlib import import_module; sys.path[:] = json.loads(sys.stdin.readline());"
    " import_module(sys.argv[1]).main(sys.stdin, sys.stdout)"
)


class Child:
    """A child that runs ``main(lines, answers)`` of one of our modules.

    Args:
        module: Full name of the module.
        purpose: What it is for, for messages: "optimize the collection in ...".

    Raises:
        RetrievalError: It cannot be started.
    """

    def __init__(self, module: str, purpose: str) -> None:
        self._purpose = purpose
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-c", _BOOT, module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        except OSError as error:
            raise RetrievalError(f"cannot {purpose}: no second process of {sys.executable} ({error})") from error
        self._write(json.dumps(sys.path))

    def tell(self, values: Mapping[str, Any]) -> None:
        """Send one object."""
        self._write(json.dumps(values))

    def hear(self, expected: str) -> dict[str, Any]:
        """Return the child's next answer.

        Raises:
            RetrievalError: The child failed, or is gone.
        """
        line = self.process.stdout.readline() if self.process.stdout is not None else ""
        answer: dict[str, Any] = json.loads(line) if line else {"is": "gone"}
        if answer["is"] == expected:
            return answer
        reason = answer.get("error") or f"its process ended (exit code {self.process.wait()})"
        raise RetrievalError(
            f"cannot {self._purpose}: {reason}; it is as it was, see that there is memory and disk space for a second "
            "copy"
        )

    def end(self) -> None:
        """Kill the child, if it is still there."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()

    def _write(self, line: str) -> None:
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):  # the missing answer says it better
                self.process.stdin.write(line + "\n")
                self.process.stdin.flush()
