"""Options that several commands have, worded once."""

from __future__ import annotations

from typing import Annotated

import typer

PathOption = Annotated[
    str | None,
    typer.Option("--path", help="Folder of the embedded engine.", show_default=".searchkit", rich_help_panel="Where"),
]
UrlOption = Annotated[
    str | None,
    typer.Option("--url", envvar="SEARCHKIT_URL", help="Address of a Qdrant server.", rich_help_panel="Where"),
]
ApiKeyOption = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        envvar="SEARCHKIT_API_KEY",
        help="Key for the server; better given in the environment, as others see command lines.",
        rich_help_panel="Where",
        show_envvar=True,
    ),
]
EncoderFolderOption = Annotated[
    str | None,
    typer.Option(
        "--encoder-folder",
        envvar="SEARCHKIT_ENCODER_FOLDER",
        help="Folder of the bi-encoder that the collection was made with, if its name alone does not lead there.",
        rich_help_panel="Where",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON to standard output, for scripts.")]
