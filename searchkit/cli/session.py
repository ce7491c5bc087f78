"""What every command shares: where the collection lies, how a kit is opened, what becomes of an error."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.text import Text
from typer.core import TyperGroup

from searchkit.cli.console import Output, visible
from searchkit.errors import SearchkitError

if TYPE_CHECKING:
    from searchkit.kit import SearchKit
    from searchkit.stages import Encoder, SparseEncoder

# typer brings its own click since 0.20 and exports neither's UsageError, the base of what it does export.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]


DEFAULT_PATH = ".searchkit"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a collection lies; ``None`` leaves a value to `searchkit.SearchKit`."""

    collection: str
    path: str | None = None
    url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    encoder_folder: str | None = None
    reranker: str | None = None


KitOpener = Callable[[Place], "SearchKit"]
EncoderMaker = Callable[[], "tuple[Encoder, SparseEncoder]"]


def open_kit(place: Place) -> SearchKit:
    """Open a kit with the models and windows that its collection was made with; a new one with the default ones."""
    from searchkit.moving import Location, open_as_made
    from searchkit.reranking import CrossEncoderReranker

    path = DEFAULT_PATH if place.path is None and place.url is None else place.path
    location = Location(place.collection, path=path, url=place.url, api_key=place.api_key)
    reranker = None if place.reranker is None else CrossEncoderReranker(place.reranker)
    return open_as_made(location, encoder_folder=place.encoder_folder, reranker=reranker)


def make_encoders(encoder_folder: str | None = None) -> tuple[Encoder, SparseEncoder]:
    """Return the encoders that a kit with the default models has, or with the bi-encoder in a folder."""
    from searchkit.encoding import Bm25Encoder, SentenceEncoder

    return SentenceEncoder() if encoder_folder is None else SentenceEncoder(Path(encoder_folder)), Bm25Encoder()


@dataclass(frozen=True, slots=True)
class Session:
    """One run of the command line.

    Attributes:
        open_kit: Opens a collection; tests put small models in here.
        make_encoders: Makes the encoders for a collection that cannot be opened.
        output: Where to write.
    """

    open_kit: KitOpener = open_kit
    make_encoders: EncoderMaker = make_encoders
    output: Output = field(default_factory=Output)


class OneLineErrors(TyperGroup):
    """A command group whose errors are one line on standard error; ``--debug`` may stand anywhere in the command."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command; leave the process with its exit code, or return it if not ``standalone_mode``."""
        given = list(sys.argv[1:] if args is None else args)
        options = given[: given.index("--")] if "--" in given else given
        is_debug = "--debug" in options
        if is_debug:
            given.remove("--debug")
            given.insert(0, "--debug")
        try:
            code = super().main(given, prog_name, complete_var, False, windows_expand_args, **extra)
        except (Exception, typer.Abort) as error:  # noqa: BLE001  # the edge of the program: every error ends as a line
            code = _report(error, is_debug=is_debug)
        if standalone_mode:
            sys.exit(code)
        return code


def _report(error: BaseException, *, is_debug: bool) -> int:
    """Say what went wrong in one line and return the exit code."""
    if is_debug:
        for line in "".join(traceback.format_exception(error)).rstrip("\n").split("\n"):
            Output().notes.print(Text(line[: len(line) - len(line.lstrip(" "))] + visible(line)))
    message = getattr(error, "format_message", lambda: str(error))()
    if isinstance(error, _UsageError):
        return _write(f"{message} (see --help)", 2)
    if isinstance(error, SearchkitError):
        return _write(message, 1)
    if isinstance(error, typer.Abort):
        return _write("stopped", 1)
    hint = "" if is_debug else "; --debug shows where"
    return _write(f"unexpected {type(error).__name__}: {message}{hint}", 1)


def _write(message: str, code: int) -> int:
    Output().notes.print(f"searchkit: {visible(message)}", style="red" if code == 1 else "")
    return code
