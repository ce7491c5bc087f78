"""The commands, put together. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from searchkit.cli.bench import EXAMPLE as BENCH_EXAMPLE
from searchkit.cli.bench import bench
from searchkit.cli.doctor import EXAMPLE as DOCTOR_EXAMPLE
from searchkit.cli.doctor import doctor
from searchkit.cli.eval import EXAMPLE as EVAL_EXAMPLE
from searchkit.cli.eval import evaluate
from searchkit.cli.index import EXAMPLE as INDEX_EXAMPLE
from searchkit.cli.index import index
from searchkit.cli.moving import PULL_EXAMPLE, PUSH_EXAMPLE, REINDEX_EXAMPLE, pull, push, rebuild
from searchkit.cli.search import EXAMPLE as SEARCH_EXAMPLE
from searchkit.cli.search import search
from searchkit.cli.session import EncoderMaker, KitOpener, OneLineErrors, Session, make_encoders, open_kit
from searchkit.cli.train import EXAMPLE as TRAIN_EXAMPLE
from searchkit.cli.train import train

DEMO_EXAMPLE = 'Example: searchkit demo, and then: searchkit search "read a file line by line"'
JUDGMENTS = Path("tests/data/stdlib")


def create_app(open_kit: KitOpener = open_kit, make_encoders: EncoderMaker = make_encoders) -> typer.Typer:
    """Return the command line.

    Args:
        open_kit: How a collection is opened; pass your own to run the commands with other models or another store.
        make_encoders: The encoders of these models, for a collection that cannot be opened.
    """
    app = typer.Typer(
        name="searchkit",
        cls=OneLineErrors,
        add_completion=False,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
    )

    @app.callback(invoke_without_command=True)
    def start(
        context: typer.Context,
        debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,  # noqa: ARG001  # OneLineErrors acts on it
        version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    ) -> None:
        """Two-stage search: candidates from a bi-encoder and BM25, reordered by a cross-encoder."""
        context.obj = Session(open_kit, make_encoders)
        if version:
            from searchkit import __version__

            typer.echo(__version__)
        elif context.invoked_subcommand is None:
            typer.echo(context.get_help())
            raise typer.Exit(2)

    app.command("demo", epilog=DEMO_EXAMPLE)(demo)
    app.command("index", epilog=INDEX_EXAMPLE)(index)
    app.command("search", epilog=SEARCH_EXAMPLE)(search)
    app.command("doctor", epilog=DOCTOR_EXAMPLE)(doctor)
    app.command("eval", epilog=EVAL_EXAMPLE)(evaluate)
    app.command("bench", epilog=BENCH_EXAMPLE)(bench)
    app.command("train", epilog=TRAIN_EXAMPLE)(train)
    app.command("push", epilog=PUSH_EXAMPLE)(push)
    app.command("pull", epilog=PULL_EXAMPLE)(pull)
    app.command("reindex", epilog=REINDEX_EXAMPLE)(rebuild)
    return app


def demo(
    context: typer.Context,
    path: Annotated[
        Path, typer.Option(help="Folder of the embedded engine; the collection 'stdlib' is made in it.")
    ] = Path(".searchkit"),
    judgments: Annotated[
        Path | None, typer.Option(help="Judged queries to measure with.", show_default=f"{JUDGMENTS}, if it is there")
    ] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Index and measure again.")] = False,
) -> None:
    """Index the documentation of this Python's standard library, search it and measure the search.

    Afterwards `searchkit search "how do I ..."` searches it.
    """
    from searchkit.cli.demo import run_demo

    session: Session = context.obj
    known = JUDGMENTS if judgments is None and JUDGMENTS.is_dir() else judgments
    run_demo(path=path, judgments=known, console=session.output.data, rebuild=rebuild)
