"""``searchkit doctor``: what state a collection is in, and what can be repaired."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from searchkit.cli.console import Output, visible
from searchkit.cli.options import ApiKeyOption, EncoderFolderOption, JsonOption, PathOption, UrlOption
from searchkit.cli.session import Session, make_encoders
from searchkit.errors import SearchkitError

if TYPE_CHECKING:
    from searchkit.collection.diagnosis import Diagnosis
    from searchkit.stages import TokenWriter

EXAMPLE = "Example: searchkit doctor handbook, and then, if it says so: searchkit doctor handbook --repair"
_SHOWN_IDS = 20
_STYLES = {"fine": "green", "note": "yellow", "problem": "red"}


def doctor(
    context: typer.Context,
    collection: Annotated[str, typer.Argument(help="Name of the collection.")],
    repair: Annotated[bool, typer.Option("--repair", help="Repair what can be repaired.")] = False,
    path: PathOption = None,
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
    encoder_folder: EncoderFolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Examine a collection that will not open, was damaged, or may be.

    It reads everything and proves every passage, so it takes a while for a large collection, and room on disk for a
    copy of an embedded one. Nothing is changed without --repair. The exit code is 0 if nothing is wrong (any more).
    """
    from searchkit.collection.doctor import examine
    from searchkit.kit import DEFAULT_PATH

    session: Session = context.obj
    diagnosis = examine(
        collection,
        path=DEFAULT_PATH if path is None and url is None else path,
        url=url,
        api_key=api_key,
        repair=repair,
        encoders=session.make_encoders if encoder_folder is None else partial(make_encoders, encoder_folder),
        tokens=_token_writer(),
    )
    if as_json:
        session.output.json(diagnosis)
    else:
        _show(session.output, diagnosis)
    if diagnosis.state not in {"healthy", "in use"}:
        raise typer.Exit(1)


def _token_writer() -> TokenWriter | None:
    with suppress(SearchkitError):  # tokens are the least of what is examined
        from searchkit.reranking import CrossEncoderReranker

        return CrossEncoderReranker().token_writer()
    return None


def _show(output: Output, diagnosis: Diagnosis) -> None:
    for finding in diagnosis.findings:
        line = Text(f"{finding.severity:<8}", style=_STYLES[finding.severity])
        line.append(f"{finding.subject:<10}", style="bold")
        line.append(visible(finding.text))
        output.show(line)
        if finding.remedy:
            output.show(Text(f"{'':<18}{visible(finding.remedy)}", style="dim"))
    for sentence in diagnosis.repaired:
        output.show(Text(f"repaired: {visible(sentence)}", style="green"))
    for sentence in _to_add(diagnosis):
        output.show(Text(sentence, style="yellow"))
    output.show(Text(f"{visible(diagnosis.collection)}: {diagnosis.state}", style="bold"))


def _to_add(diagnosis: Diagnosis) -> Iterator[str]:
    if diagnosis.lost:
        shown = ", ".join(visible(repr(one), limit=80) for one in diagnosis.lost[:_SHOWN_IDS])
        rest = len(diagnosis.lost) - _SHOWN_IDS
        yield f"add again: {shown}" + (f" and {rest} more (--json lists all)" if rest > 0 else "")
    if diagnosis.lost_count:
        yield f"add all again: {diagnosis.lost_count} windows are missing, and nobody knows of which passages"
