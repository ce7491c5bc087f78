"""A progress bar for long work, shown where a person watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(total: int | None, unit: str, *, show: bool | None) -> Iterator[Callable[[int], None]]:
    """Yield a function that is told how many more units are done.

    Args:
        total: How many there will be, ``None`` if unknown.
        unit: Their name in the plural.
        show: ``None`` shows the bar when standard error is a terminal.
    """
    if show is False or (show is None and not sys.stderr.isatty()):
        yield lambda _: None
        return
    from tqdm import tqdm

    with tqdm(total=total, unit=f" {unit}", file=sys.stderr, dynamic_ncols=True, smoothing=0.1) as bar:

        def advance(count: int) -> None:
            bar.update(count)

        yield advance
