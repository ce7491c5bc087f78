"""``searchkit index``: files and folders into a collection."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from searchkit.cli.options import ApiKeyOption, EncoderFolderOption, JsonOption, PathOption, UrlOption
from searchkit.cli.session import Place, Session
from searchkit.cli.sources import KINDS, FilePassages, Found, Problem, find_files
from searchkit.types import AddReport

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
    themselves. Run it again after a change: what is the same is not encoded again.
    """
    session: Session = context.obj
    found = find_files(paths)
    passages = FilePassages(found.files, text_column=text_column)
    report = AddReport()
    count = None
    if found.files:
        with session.open_kit(Place(collection, path, url, api_key, encoder_folder)) as kit:
            report = kit.add(passages)
            count = kit.count() if _usable(report) else None
            if kit.is_optimizing:
                session.output.note("building the index of the vectors; stopping here costs speed, not passages")
                kit.optimize()
    problems = [*found.problems, *passages.problems]
    if as_json:
        session.output.json(_summary(collection, report, count, problems, found))
    else:
        _describe(session, collection, report, count)
    session.output.warn(f"not indexed: {problem.place} {problem.reason}" for problem in problems)
    if found.left_alone:
        kinds = ", ".join(f"{number} {ending}" for ending, number in found.left_alone.most_common())
        session.output.note(f"left alone, as their kind is not read: {kinds}")
    if not _usable(report):
        session.output.note("searchkit: nothing to index was found", style="red")
        raise typer.Exit(1)


def _usable(report: AddReport) -> int:
    return report.added + report.updated + report.unchanged + len(report.skipped)


def _describe(session: Session, collection: str, report: AddReport, count: int | None) -> None:
    session.output.show(
        f"{report.added} added, {report.updated} updated, {report.unchanged} unchanged in {report.seconds:.1f} s"
        + ("" if count is None else f"; {collection} holds {count} passages")
    )
    session.output.warn(f"skipped: {skipped.id} {skipped.reason}" for skipped in report.skipped)
    if _usable(report):
        session.output.note(f'search them: searchkit search "..." --collection {collection}')


def _summary(
    collection: str, report: AddReport, count: int | None, problems: list[Problem], found: Found
) -> dict[str, Any]:
    return {
        "collection": collection,
        "count": count,
        **report.model_dump(mode="json"),
        "problems": [{"place": problem.place, "reason": problem.reason} for problem in problems],
        "left_alone": dict(found.left_alone),
    }
