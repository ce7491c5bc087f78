"""``searchkit search``: one query, the hits, and what both stages did."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.text import Text

from searchkit.cli.console import Output, visible
from searchkit.cli.options import ApiKeyOption, EncoderFolderOption, JsonOption, PathOption, UrlOption
from searchkit.cli.session import Place, Session
from searchkit.config import FilterFieldType
from searchkit.types import Hit, SearchResult

if TYPE_CHECKING:
    from searchkit.kit import SearchKit

EXAMPLE = (
    'Example: searchkit search "run a command with a timeout" --criteria "It must return what the command printed."'
    " --filter module=subprocess --top-k 3"
)
DEFAULT_COLLECTION = "stdlib"
_SHOWN_CHARS = 300


def search(
    context: typer.Context,
    query: Annotated[str, typer.Argument(help="What to look for, in words.")],
    collection: Annotated[str, typer.Option("--collection", "-c", help="Where to look.")] = DEFAULT_COLLECTION,
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, help="Hits at most.")] = 10,
    candidate_depth: Annotated[
        int | None,
        typer.Option(min=1, help="Passages that stage 1 hands to stage 2.", show_default="50, or top-k if more"),
    ] = None,
    criteria: Annotated[
        str | None,
        typer.Option(help="What makes a passage relevant, in words; stage 2 reads it."),
    ] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            help="Condition on metadata: key=value, which finds a number, true or false as a string too, or a JSON"
            " object, whose values find their own type only (cells of .csv files are strings). May be repeated.",
        ),
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Least probability of relevance."),
    ] = None,
    mode: Annotated[Literal["hybrid", "dense", "sparse"], typer.Option(help="Legs of stage 1.")] = "hybrid",
    rerank: Annotated[bool, typer.Option("--rerank/--no-rerank", help="Whether stage 2 runs.")] = True,
    deadline: Annotated[
        float | None,
        typer.Option(help="Seconds that the search may take, loading the models included."),
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(help="Metadata field; only the best hit of each of its values is shown."),
    ] = None,
    path: PathOption = None,
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
    encoder_folder: EncoderFolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search a collection."""
    session: Session = context.obj
    condition = parse_filters(filters or [])
    with session.open_kit(Place(collection, path, url, api_key, encoder_folder)) as kit:
        if any(isinstance(value, list) for value in condition.values()):
            condition = parse_filters(filters or [], _declared(kit))
        result = kit.search(
            query,
            top_k=top_k,
            candidate_depth=max(50, top_k) if candidate_depth is None else candidate_depth,
            criteria=criteria,
            filter=condition or None,
            min_score=min_score,
            deadline_s=deadline,
            mode=mode,
            rerank=rerank,
            group_by=group_by,
        )
    if as_json:
        session.output.json(result)
    else:
        show_result(session.output, result)


def _declared(kit: SearchKit) -> Mapping[str, FilterFieldType]:
    from searchkit.moving import settings_as_kept

    return settings_as_kept(kit).config.filter_fields


_UNDECLARED: Mapping[str, FilterFieldType] = {}
_TYPED = ("integer", "float", "bool")


def parse_filters(texts: list[str], declared: Mapping[str, FilterFieldType] = _UNDECLARED) -> dict[str, Any]:
    """Return the conditions of ``--filter`` as one filter.

    ``year=2020`` finds the number and the string, ``open=true`` the boolean and the string: cells of a .csv file are
    strings. ``lang=en`` and ``year="2020"`` find the string only.

    Args:
        texts: What was given.
        declared: Kinds of fields that have an index. It holds values of one type, and a server in strict mode refuses
            to look for others.

    Raises:
        typer.BadParameter: One is neither ``key=value`` nor a JSON object, or a key is given twice.
    """
    condition: dict[str, Any] = {}
    for text in texts:
        one = _json_object(text) if text.lstrip().startswith("{") else _key_value(text, declared)
        twice = sorted(condition.keys() & one.keys())
        if twice:
            raise typer.BadParameter(f'--filter gives {twice[0]!r} twice; for any of several: {{"key": [1, 2]}}')
        condition.update(one)
    return condition


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"--filter {text!r} is no JSON: {error}") from error
    return dict(value)


def _key_value(text: str, declared: Mapping[str, FilterFieldType]) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise typer.BadParameter(
            f'--filter {text!r}: give key=value, or a JSON object such as {{"year": {{"gte": 2020}}}}'
        )
    try:
        parsed = json.loads(value)
    except ValueError:
        return {key: value}
    if isinstance(parsed, str):
        return {key: parsed}
    if not _is_number_or_bool(parsed):
        return {key: value}
    kind = declared.get(key)
    if kind is None:
        return {key: [parsed, value]}
    return {key: parsed if kind in _TYPED else value}


def _is_number_or_bool(parsed: object) -> bool:
    """Whether metadata can hold it: neither NaN, nor 1e999, nor an integer of more than 64 bits."""
    return isinstance(parsed, int | float) and abs(parsed) < 2**63


def show_result(output: Output, result: SearchResult) -> None:
    """Print the hits to standard output and what the stages did to standard error."""
    for hit in result:
        output.show(_heading(hit))
        output.show(Text(textwrap.indent(_body(hit), " " * 4)))
    if not result.hits:
        output.note("no passage matches" if result.candidate_count == 0 else "no passage is good enough")
    if result.reason is not None:
        output.note(f"{result.status}: {result.reason}", style="yellow")
    output.note(_summary(result), style="dim")


def _heading(hit: Hit) -> Text:
    text = Text(f"{hit.rank:>2}. ", style="dim")
    text.append(f"{hit.score:.3f}  ", style="green" if hit.logit is not None else "")
    text.append(visible(str(hit.id), limit=120), style="bold")
    if hit.logit is not None and hit.retrieval.rank is not None:
        text.append(f"  (stage 1: {_moved(hit.retrieval.rank, hit.rank)})", style="dim")
    return text


def _moved(before: int, after: int) -> str:
    if before == after:
        return f"also {before}"
    return f"{before}, {'up' if after < before else 'down'} {abs(before - after)}"


def _body(hit: Hit) -> str:
    shown = visible(hit.text if hit.snippet is None else hit.snippet.text, limit=_SHOWN_CHARS)
    return "\n".join(textwrap.wrap(shown, width=100))


def _summary(result: SearchResult) -> str:
    times = result.timings
    work = f"{result.status}: {result.scored_count} of {result.candidate_count} candidates scored"
    if result.reranker is not None:
        work += f" by {result.reranker} ({result.engine})" if result.engine else f" by {result.reranker}"
    cut = f"; {result.truncated_count} passages were too long to be read whole" if result.truncated_count else ""
    if result.rerank_query_truncated_tokens:
        cut += f"; the last {result.rerank_query_truncated_tokens} tokens of query and criteria were not read"
    return (
        f"{work} in {times.total:.0f} ms (encode {times.encode:.0f}, retrieve {times.retrieve:.0f},"
        f" rerank {times.rerank:.0f}){cut}"
    )
