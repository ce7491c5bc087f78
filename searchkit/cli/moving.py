"""``searchkit push``, ``pull`` and ``reindex``: collections between engines, and built again for another encoder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from searchkit.cli.eval_table import show_report
from searchkit.cli.options import ApiKeyOption, EncoderFolderOption, JsonOption, PathOption, UrlOption
from searchkit.cli.session import DEFAULT_PATH, Place, Session
from searchkit.config import FilterFieldType, SearchKitConfig, WindowConfig
from searchkit.errors import ConfigError
from searchkit.progress import progress_bar

if TYPE_CHECKING:
    from searchkit.kit import SearchKit
    from searchkit.moving import Location, ReindexReport

PUSH_EXAMPLE = "Example: searchkit push handbook --url http://localhost:6333 --filter-field tenant=tenant"
PULL_EXAMPLE = "Example: searchkit pull handbook --url http://localhost:6333 --as handbook-of-today"
REINDEX_EXAMPLE = (
    "Example: searchkit reindex handbook --encoder BAAI/bge-small-en-v1.5 --judged judged/ --no-switch"
    "   and, if the new one is better, the same without --no-switch"
)

CollectionArgument = Annotated[str, typer.Argument(metavar="COLLECTION", help="Name of the collection.")]
AsOption = Annotated[str | None, typer.Option("--as", help="Name of the copy.", show_default="that of the collection")]
FilterFieldOption = Annotated[
    list[str] | None,
    typer.Option(
        "--filter-field",
        metavar="NAME=KIND",
        help=f"Metadata field that the copy gets an index for ({', '.join(get_args(FilterFieldType))}); repeat.",
    ),
]


def push(
    context: typer.Context,
    collection: CollectionArgument,
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
    path: PathOption = None,
    name: AsOption = None,
    filter_fields: FilterFieldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy a collection of the embedded engine to a Qdrant server.

    Vectors are copied, nothing is encoded again. The copy is compared with the collection before it can be opened.
    Interrupted, it is finished by the same command.
    """
    source, target = _ends(collection, name, path, url, api_key)
    _copy(context, source, target, filter_fields, as_json=as_json)


def pull(
    context: typer.Context,
    collection: CollectionArgument,
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
    path: PathOption = None,
    name: AsOption = None,
    filter_fields: FilterFieldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy a collection of a Qdrant server to the embedded engine.

    Vectors are copied, nothing is encoded again. The copy is compared with the collection before it can be opened.
    Interrupted, it is finished by the same command.
    """
    target, source = _ends(collection, name, path, url, api_key, is_pull=True)
    _copy(context, source, target, filter_fields, as_json=as_json)


def _ends(
    collection: str, name: str | None, path: str | None, url: str | None, api_key: str | None, *, is_pull: bool = False
) -> tuple[Location, Location]:
    """Return the embedded end and the one on the server."""
    from searchkit.moving import Location

    if url is None:
        raise typer.BadParameter("give the address of the server: --url http://localhost:6333")
    copied = name or collection
    embedded = Location(copied if is_pull else collection, path=path or DEFAULT_PATH)
    return embedded, Location(collection if is_pull else copied, url=url, api_key=api_key)


def _copy(
    context: typer.Context, source: Location, target: Location, filter_fields: list[str] | None, *, as_json: bool
) -> None:
    from searchkit.moving import copy_collection, point_count

    session: Session = context.obj
    config = SearchKitConfig(filter_fields=parse_filter_fields(filter_fields or []))
    with progress_bar(2 * point_count(source, config), "points", show=None) as advance:
        report = copy_collection(source, target, config=config, on_progress=advance)
    if as_json:
        session.output.json(report)
        return
    session.output.show(
        f"{report.passages} passages in {report.points} points: {report.copied} copied, {report.kept} were there; "
        f"equal, checksum {report.checksum} ({report.seconds:.1f} s)"
    )


def parse_filter_fields(texts: list[str]) -> dict[str, FilterFieldType]:
    """Return the fields of ``--filter-field`` with their kinds.

    Raises:
        typer.BadParameter: One is not ``name=kind``.
    """
    fields: dict[str, FilterFieldType] = {}
    for text in texts:
        name, _, kind = text.partition("=")
        if not name or kind not in get_args(FilterFieldType):
            raise typer.BadParameter(
                f"--filter-field {text!r}: give NAME=KIND with one of {', '.join(get_args(FilterFieldType))}"
            )
        fields[name] = cast("FilterFieldType", kind)
    return fields


def rebuild(
    context: typer.Context,
    collection: CollectionArgument,
    encoder: Annotated[
        str | None,
        typer.Option(help="Bi-encoder (sentence-transformers), name or folder.", show_default="the same"),
    ] = None,
    window_tokens: Annotated[
        int | None, typer.Option(min=8, help="Longest window.", show_default="what the encoder reads")
    ] = None,
    overlap_tokens: Annotated[int | None, typer.Option(min=0, help="Tokens that neighbours share.")] = None,
    judged: Annotated[
        Path | None, typer.Option(help="Folder of judged queries to measure old and new with.", show_default=False)
    ] = None,
    switch: Annotated[
        bool, typer.Option("--switch/--no-switch", help="Whether the new one takes the old one's place.")
    ] = True,
    drop: Annotated[
        bool, typer.Option("--drop-previous", help="Build nothing: delete what was kept when its place was taken.")
    ] = False,
    path: PathOption = None,
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
    encoder_folder: EncoderFolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build a collection again for another encoder or other windows, beside the old one, and switch to it.

    Nothing is read but the collection. Programs that have it open go on with the old one, which is kept until
    --drop-previous. Interrupted, it is finished by the same command.
    """
    from searchkit.moving import drop_previous

    session: Session = context.obj
    with session.open_kit(Place(collection, path, url, api_key, encoder_folder)) as kit:
        if drop:
            dropped = drop_previous(kit)
            if as_json:
                session.output.json({"collection": collection, "dropped": dropped})
            else:
                session.output.show(f"deleted: {', '.join(dropped) or 'nothing, no earlier collection is kept'}")
            return
        if encoder is None and window_tokens is None and overlap_tokens is None:
            kit.count()  # a name with no collection is the greater mistake, and this says so
            raise ConfigError("nothing would change: give --encoder, --window-tokens or --overlap-tokens")
        report = _reindexed(session, kit, encoder, _windows(window_tokens, overlap_tokens), judged, switch=switch)
    if as_json:
        session.output.json(report)
    else:
        _describe(session, report)


def _windows(window_tokens: int | None, overlap_tokens: int | None) -> WindowConfig:
    if overlap_tokens is None:
        return WindowConfig(max_tokens=window_tokens)
    return WindowConfig(max_tokens=window_tokens, overlap_tokens=overlap_tokens)


def _reindexed(
    session: Session, kit: SearchKit, encoder: str | None, windows: WindowConfig, judged: Path | None, *, switch: bool
) -> ReindexReport:
    from searchkit.encoding import SentenceEncoder
    from searchkit.evaluation import read_judged
    from searchkit.moving import reindex, settings_as_kept

    kept = settings_as_kept(kit)
    for what in kept.left_out:
        session.output.note(f"the new collection is made without {what}: no setting of searchkit says it")
    queries = None if judged is None else read_judged(judged)
    with progress_bar(kit.count(), "passages", show=None) as advance:
        return reindex(
            kit,
            encoder=None if encoder is None else SentenceEncoder(encoder),
            config=kept.config.model_copy(update={"windows": windows}),
            judged=queries,
            switch=switch,
            on_progress=advance,
        )


def _describe(session: Session, report: ReindexReport) -> None:
    if report.comparison is not None:
        show_report(session.output, report.comparison)
    session.output.show(
        f"{report.built} holds {report.passages} passages, {report.encoded} encoded in {report.seconds:.1f} s"
    )
    if report.is_switched:
        session.output.show(f"{report.collection} leads to {report.built}; {report.previous} is kept")
        session.output.note(f"delete it: searchkit reindex {report.collection} --drop-previous")
    else:
        session.output.note(f"{report.collection} is unchanged; run the same without --no-switch to switch")
