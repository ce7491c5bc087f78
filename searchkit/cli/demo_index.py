"""The demo's index: complete, current, and not made twice."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from searchkit.cli.demo_memo import DemoMemo, library_checksum
from searchkit.cli.stdlib import StandardLibrary

if TYPE_CHECKING:
    from rich.console import Console

    from searchkit.kit import SearchKit

COLLECTION = "stdlib"
_EVERYTHING = {"kind": {"exists": True}}  # every passage of the library has a kind


def index_library(
    kit: SearchKit,
    library: StandardLibrary,
    *,
    memo: DemoMemo,
    path: str | Path,
    console: Console,
    rebuild: bool,
) -> DemoMemo:
    """Bring the collection to exactly the library's passages and return what is now known of it.

    A collection that holds them already is left alone. One that another version of Python filled loses what this
    version lacks. An interrupted run is resumed: texts that are there are not encoded again.
    """
    corpus, count = library_checksum(library), len(library.passages)
    has_data = (Path(path) / COLLECTION).is_dir()
    if has_data and not rebuild and memo.corpus == corpus and kit.count() == count:
        console.print(Text(f"The index holds these {count:,} passages already: nothing to do."))
        return memo
    ids = tuple(str(passage.id) for passage in library.passages)
    known = DemoMemo(ids=tuple(sorted({*ids, *memo.ids})), table=memo.table)
    Path(path).mkdir(parents=True, exist_ok=True)
    known.write(path)  # before the work: a run that is interrupted here still knows what may be in the index
    if has_data:
        _delete_old(kit, set(memo.ids) - set(ids), everything=rebuild)
    _add(kit, library, console)
    if kit.count() > count:  # of unknown origin: the memory of an earlier run was lost
        _delete_old(kit, set(), everything=True)
        _add(kit, library, console)
    done = known.model_copy(update={"corpus": corpus, "ids": ids})
    done.write(path)
    return done


def _delete_old(kit: SearchKit, ids: set[str], *, everything: bool) -> None:
    if everything:
        kit.delete(filter=_EVERYTHING)
    elif ids:
        kit.delete(ids=sorted(ids))


def _add(kit: SearchKit, library: StandardLibrary, console: Console) -> None:
    console.print(Text(f"Indexing {len(library.passages):,} passages, once; this takes minutes without a GPU ..."))
    report = kit.add(library.passages, show_progress=console.is_terminal and not console.is_dumb_terminal)
    known = f", {report.unchanged:,} were there already" if report.unchanged else ""
    console.print(Text(f"Indexed {report.added + report.updated:,} passages in {report.seconds:.1f} s{known}."))
