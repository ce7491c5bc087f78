"""``searchkit index``: files and folders into a collection."""

from __future__ import annotations

from collections.abc import Collection as AnyCollection
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from searchkit.cli.options import ApiKeyOption, EncoderFolderOption, JsonOption, PathOption, UrlOption
from searchkit.cli.session import Place, Session
from searchkit.cli.sources import KINDS, FilePassages, Found, Problem, find_files
from searchkit.types import AddReport, PassageId

if TYPE_CHECKING:
    from searchkit.cli.stale import Leftovers
    from searchkit.kit import SearchKit

EXAMPLE = "Example: searchkit index docs/ faq.csv --text-column answer --collection handbook"


def index(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help=f"Files ({', '.join(KINDS)}) and folders.")],
    collection: Annotated[str, typer.Option("--collection", "-c", help="Name of the collection; made if new.")],
    text_column: Annotated[
        str | None,
        typer.Option(help="Column or field that holds the text in .csv and .jsonl.", show_default="text"),
    ] = None,
    path: PathOption = None,
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
    encoder_folder: EncoderFolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Index files and folders.

    A .txt or .md file is one passage, called by its path. Each line of a .jsonl file and each row of a .csv file is
    one, called by its "id" or else by path:line; the other fields are metadata. Long texts are split into windows by
    themselves. Cells of a .csv file are strings; a range, and a number that a program filters by, want .jsonl.

    Run it again after a change, from the same working folder, as paths in ids are relative to it: what is the same is
    not encoded again. What the files no longer hold stays findable: it is named, for you to delete.
    """
    session: Session = context.obj
    found = find_files(paths)
    passages = FilePassages(found.files, text_column=text_column)
    done = _Done(AddReport())
    if found.files:
        with session.open_kit(Place(collection, path, url, api_key, encoder_folder)) as kit:
            done = _write(kit, paths, found, passages)
            if kit.is_optimizing:
                session.output.note("building the index of the vectors; stopping here costs speed, not passages")
                kit.optimize()
    problems = [*found.problems, *passages.problems]
    if as_json:
        session.output.json(_summary(collection, done, problems, found))
    else:
        _describe(session, collection, done)
    session.output.warn(f"not indexed: {problem.place} {problem.reason}" for problem in problems)
    if found.left_alone:
        kinds = ", ".join(f"{number} {ending}" for ending, number in found.left_alone.most_common())
        session.output.note(f"left alone, as their kind is not read: {kinds}")
    if not _usable(done.report):
        session.output.note("searchkit: nothing to index was found", style="red")
        raise typer.Exit(1)


@dataclass(slots=True)
class _Done:
    """What one run did.

    Attributes:
        report: What became of the passages that were read.
        count: Passages in the collection; ``None`` where nothing was written.
        left: What the files no longer hold; ``None`` where that cannot be told, as not every file could be read.
    """

    report: AddReport
    count: int | None = None
    left: Leftovers | None = None


def _write(kit: SearchKit, paths: list[Path], found: Found, passages: FilePassages) -> _Done:
    from searchkit.cli.stale import Leftovers, find_leftovers
    from searchkit.collection.collection import Collection

    done = _Done(kit.add(passages))
    report, collection = done.report, kit.parts.collection
    if not _usable(report):
        return done
    done.count = kit.count()
    if any(problem.extent == "whole" for problem in (*found.problems, *passages.problems)):
        return done
    done.left = Leftovers()
    # Most collections hold what was just read and nothing else: those need no second look.
    if isinstance(collection, Collection) and done.count != report.added + report.updated + report.unchanged:
        is_first_time = not report.updated + report.unchanged
        done.left = find_leftovers(collection, paths, found, passages, is_first_time=is_first_time)
    return done


def _usable(report: AddReport) -> int:
    return report.added + report.updated + report.unchanged + len(report.skipped)


def _describe(session: Session, collection: str, done: _Done) -> None:
    report = done.report
    session.output.show(
        f"{report.added} added, {report.updated} updated, {report.unchanged} unchanged in {report.seconds:.1f} s"
        + ("" if done.count is None else f"; {collection} holds {done.count} passages")
    )
    session.output.warn(f"skipped: {skipped.id} {skipped.reason}" for skipped in report.skipped)
    _describe_leftovers(session, done)
    if _usable(report):
        session.output.note(f'search them: searchkit search "..." --collection {collection}')


def _describe_leftovers(session: Session, done: _Done) -> None:
    left = done.left
    if left is None:
        return
    if left.stale:
        what = f"stale: {_some(left.stale)}, which the files no longer hold; --json names all, SearchKit.delete deletes"
        session.output.note(what, style="yellow")
    if left.unsure:
        what = f"left alone: {_some(left.unsure)}, which the files no longer hold, but which have ids of their own"
        session.output.note(f"{what}; delete with SearchKit.delete", style="yellow")
    if left.elsewhere:
        what = f"twice: {_some(left.elsewhere)}, of the same files, indexed from another working folder"
        session.output.note(f"{what}; index from there, or delete with SearchKit.delete", style="yellow")


def _some(ids: AnyCollection[PassageId]) -> str:
    named = ", ".join(str(one) for one in islice(ids, 3))
    return f"{len(ids)} passage{'s'[len(ids) == 1 :]} ({named}{', ...' if len(ids) > 3 else ''})"


def _summary(collection: str, done: _Done, problems: list[Problem], found: Found) -> dict[str, Any]:
    left = done.left
    return {
        "collection": collection,
        "count": done.count,
        **done.report.model_dump(mode="json"),
        "stale": None if left is None else left.stale,
        "own_ids_left": None if left is None else left.unsure,
        "elsewhere": None if left is None else left.elsewhere,
        "problems": [{"place": problem.place, "reason": problem.reason} for problem in problems],
        "left_alone": dict(found.left_alone),
    }
