"""``searchkit eval``: several ways to search, or several runs, on judged queries, and which to use."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from searchkit.cli.eval_table import show_report
from searchkit.cli.options import ApiKeyOption, EncoderFolderOption, JsonOption, PathOption, UrlOption
from searchkit.cli.session import Place, Session
from searchkit.errors import ConfigError
from searchkit.progress import progress_bar

if TYPE_CHECKING:
    from searchkit.evaluation import ComparisonReport, Configuration, JudgedQueries, Qrels, Run
    from searchkit.kit import SearchKit

EXAMPLE = (
    "Example: searchkit eval judged/ --collection handbook --depth 20 --depth 100 --html report.html"
    "   or, for runs made elsewhere: searchkit eval --qrels qrels.txt --run bm25.run --run mine.run"
)
_SEARCH_ONLY = frozenset(
    {"collection", "index", "sample", "depths", "modes", "rerankers", "rerank", "blend", "criteria", "timed"}
    | {"budget_ms", "path", "url", "encoder_folder"}
)
"""Parameters of `evaluate` that mean nothing where nothing is searched."""
_SWITCH = {"on": (True,), "off": (False,), "both": (True, False)}


class Mode(str, Enum):
    """`searchkit.types.SearchMode` as typer reads a repeated option."""

    HYBRID = "hybrid"
    DENSE = "dense"
    SPARSE = "sparse"


@dataclass(frozen=True, slots=True)
class Outputs:
    """Files that an evaluation writes beside its table; ``None`` is not written."""

    report: Path | None
    html: Path | None
    png: Path | None
    runs: Path | None

    def check(self) -> None:
        """Refuse places that cannot be written before minutes of searching, not after.

        Raises:
            ConfigError: The folder of a file does not exist.
        """
        for path in (self.report, self.html, self.png):
            if path is not None and not path.parent.is_dir():
                raise ConfigError(f"{path} cannot be written: there is no folder {path.parent}")

    def write(self, report: ComparisonReport, runs: Sequence[Run], qrels: Qrels) -> None:
        """Write what was asked for, the report first."""
        from searchkit.evaluation import write_html, write_png, write_qrels, write_run

        try:
            if self.report is not None:
                self.report.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
            if self.runs is not None:
                self.runs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{error.filename} cannot be written: {error.strerror}") from error
        if self.html is not None:
            write_html(report, self.html)
        if self.png is not None:
            write_png(report, self.png)
        if self.runs is not None:
            write_qrels(qrels, self.runs / "qrels.txt")
            for run, name in zip(runs, _file_names([run.name for run in runs]), strict=True):
                write_run(run, self.runs / name)


def _file_names(names: Sequence[str]) -> list[str]:
    """Return a file name for each run, like its own name and no other's, whatever the file system makes of case."""
    found: list[str] = []
    for name in names:
        plain = re.sub(r"\W+", "-", name).strip("-") or "run"
        stems = [plain, *(f"{plain}-{number}" for number in range(2, len(names) + 1))]
        taken = {file.casefold() for file in found}
        found.append(next(f"{stem}.run" for stem in stems if f"{stem}.run".casefold() not in taken))
    return found


def evaluate(
    context: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Argument(help="Judged queries: queries.jsonl with qrels.tsv, or BEIR's layout.", show_default=False),
    ] = None,
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", help="Where to search.", show_default="name of FOLDER")
    ] = None,
    index: Annotated[bool, typer.Option("--index", help="Index FOLDER's corpus.jsonl first.")] = False,
    split: Annotated[str | None, typer.Option(help="Which file under qrels/.", show_default="test, dev, train")] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="Take this many queries, evenly spread.")] = None,
    depths: Annotated[
        list[int] | None, typer.Option("--depth", min=1, help="Candidate depth; repeat.", show_default="10 20 50 100")
    ] = None,
    modes: Annotated[
        list[Mode] | None, typer.Option("--mode", help="First stage to rerank; repeat.", show_default="hybrid")
    ] = None,
    rerank: Annotated[bool, typer.Option("--rerank/--no-rerank", help="Whether stage 2 is tried.")] = True,
    rerankers: Annotated[
        list[str] | None,
        typer.Option("--reranker", help="A model for stage 2, a folder or a name; repeat.", show_default="shipped"),
    ] = None,
    blend: Annotated[
        Literal["on", "off", "both"], typer.Option(help="Blending of both stages, where the reranker has it.")
    ] = "on",
    criteria: Annotated[
        Literal["on", "off", "both"], typer.Option(help="Whether stage 2 reads the queries' criteria.")
    ] = "on",
    measures: Annotated[
        list[str] | None,
        typer.Option("--measure", help="Repeat; the first decides.", show_default="nDCG@10 RR@10 R@100 AP Judged@10"),
    ] = None,
    timed: Annotated[int, typer.Option(min=0, help="Queries searched one by one, for the latency.")] = 50,
    budget_ms: Annotated[float | None, typer.Option(help="Recommend nothing with a p95 above it.")] = None,
    seed: Annotated[int, typer.Option(help="Of the resampling.")] = 42,
    run_files: Annotated[
        list[Path] | None, typer.Option("--run", help="TREC run to compare instead of searching; repeat.")
    ] = None,
    qrels_file: Annotated[Path | None, typer.Option("--qrels", help="TREC qrels for --run.")] = None,
    report_file: Annotated[Path | None, typer.Option("--report", help="Write the report as JSON.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with the picture.")] = None,
    png: Annotated[Path | None, typer.Option(help="Write the picture.")] = None,
    runs_folder: Annotated[Path | None, typer.Option("--runs", help="Write TREC runs and qrels there.")] = None,
    path: PathOption = None,
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
    encoder_folder: EncoderFolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare ways to search on judged queries, and say which to use.

    Tries each first stage alone and, at each depth, with each reranker; the best first stage is what the others have to
    beat. Every number comes with an interval and a test, and not to rerank may win.
    """
    session: Session = context.obj
    outputs = Outputs(report_file, html, png, runs_folder)
    outputs.check()
    if budget_ms is not None and not budget_ms > 0:
        raise typer.BadParameter(f"--budget-ms {budget_ms}: give milliseconds, above 0")
    if run_files:
        _refuse_search_options(context)
        report, runs, qrels = _compare_files(folder, split, qrels_file, run_files, measures, seed)
    elif folder is None or qrels_file is not None:
        raise typer.BadParameter(
            "give a FOLDER of judged queries to search for, or --qrels with --run files to compare"
        )
    else:
        from searchkit.evaluation import read_judged

        judged = read_judged(folder, split=split)
        judged = judged if sample is None else judged.sample(sample)
        names: list[str | None] = [*dict.fromkeys(rerankers)] if rerankers else [None]
        chosen = _configurations(depths, modes, blend, criteria, names, rerank=rerank)
        place = Place(collection or judged.name, path, url, api_key, encoder_folder)
        with ExitStack() as stack:
            kits = {name: stack.enter_context(session.open_kit(replace(place, reranker=name))) for name in names}
            if index:
                _index(session, next(iter(kits.values())), folder)
            report, runs = _compare(kits, judged, chosen, measures, timed, budget_ms, seed)
        qrels = judged.qrels
    if as_json:
        session.output.json(report)
    else:
        show_report(session.output, report)
    session.output.warn(f"note: {finding.message}" for finding in report.lint)
    outputs.write(report, runs, qrels)  # last: what cannot be written must not take the table with it


def _refuse_search_options(context: typer.Context) -> None:
    """Refuse what only searching can heed: with ``--run`` nothing is searched."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name in _SEARCH_ONLY and source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(
                f"{parameter.opts[0]} says how to search; with --run nothing is searched: leave it out"
            )


def _compare(
    kits: Mapping[Any, SearchKit],
    judged: JudgedQueries,
    configurations: Sequence[Configuration],
    measures: Sequence[str] | None,
    timed: int,
    budget_ms: float | None,
    seed: int,
) -> tuple[ComparisonReport, list[Run]]:
    from searchkit.evaluation import DEFAULT_MEASURES, compare, search_count

    names = measures or DEFAULT_MEASURES
    with progress_bar(search_count(judged, configurations), "searches", show=None) as advance:
        return compare(
            kits,
            judged,
            configurations,
            measures=names,
            primary=names[0],
            timed_count=timed,
            latency_budget_ms=budget_ms,
            seed=seed,
            on_progress=advance,
        )


def _compare_files(
    folder: Path | None,
    split: str | None,
    qrels_file: Path | None,
    run_files: Sequence[Path],
    measures: Sequence[str] | None,
    seed: int,
) -> tuple[ComparisonReport, list[Run], Qrels]:
    from searchkit.evaluation import DEFAULT_MEASURES, compare_runs, read_judged, read_qrels, read_run

    if (qrels_file is None) == (folder is None):
        raise typer.BadParameter("--run needs the judgments: give --qrels FILE or a FOLDER, one of the two")
    if folder is not None:
        judged = read_judged(folder, split=split)
        name, qrels = judged.name, judged.qrels
    else:
        name, qrels = str(qrels_file), read_qrels(str(qrels_file))
    runs = [read_run(path) for path in run_files]
    if len({run.name for run in runs}) < len(runs):  # one tool, one tag: the file names tell them apart
        runs = [read_run(path, name=str(path)) for path in run_files]
    names = measures or DEFAULT_MEASURES
    return compare_runs(name, qrels, runs, measures=names, primary=names[0], seed=seed), runs, qrels


def _configurations(
    depths: Sequence[int] | None,
    modes: Sequence[Mode] | None,
    blend: str,
    criteria: str,
    rerankers: Sequence[str | None],
    *,
    rerank: bool,
) -> Sequence[Configuration]:
    from searchkit.evaluation import DEFAULT_DEPTHS, grid

    return grid(
        depths=depths or DEFAULT_DEPTHS,
        reranked_modes=[mode.value for mode in modes or (Mode.HYBRID,)] if rerank else (),
        blends=_SWITCH[blend],
        criteria=_SWITCH[criteria],
        rerankers=rerankers,
    )


def _index(session: Session, kit: SearchKit, folder: Path) -> None:
    from searchkit.evaluation import read_corpus

    added = kit.add(read_corpus(folder))
    session.output.note(f"{added.added} added, {added.updated} updated, {added.unchanged} unchanged")
    session.output.warn(f"skipped: {skipped.id} {skipped.reason}" for skipped in added.skipped)
