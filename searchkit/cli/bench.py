"""``searchkit bench``: how fast the reranker is on this machine, beside the libraries that it would replace."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from searchkit.cli.bench_table import show_bench
from searchkit.cli.options import JsonOption
from searchkit.cli.session import Session
from searchkit.errors import ConfigError
from searchkit.progress import progress_bar

if TYPE_CHECKING:
    from searchkit.benchmarking import BenchReport, Circumstances, Contestant, PeerFolder, Plan

EXAMPLE = (
    "Example: searchkit bench --quick   or, for numbers to quote: searchkit bench --full --threads 1 --report me.json"
)


def bench(
    context: typer.Context,
    quick: Annotated[bool, typer.Option("--quick", help="About a minute: does it run, roughly how fast.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Half an hour: 1000 candidates and 64 callers as well.")] = False,
    model: Annotated[
        str | None, typer.Option(help="Cross-encoder: a folder or a name.", show_default="the shipped one")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Cores that each may use.", show_default="all")] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Interleaved repetitions.", show_default="5, with --quick 2")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Take part: a name in the table, or its first word; repeat.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the texts.")] = 0,
    report_file: Annotated[Path | None, typer.Option("--report", help="Write the report as JSON.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure reranking on this machine, beside sentence-transformers, fastembed and FlashRank where installed.

    All run the same weights on the same pairs, in turns; their logits are compared. The texts are sentences of the
    standard library's documentation in the lengths of MS MARCO, so nothing is downloaded. CPU time is reported beside
    wall-clock time, because machines are shared.
    """
    session: Session = context.obj
    if quick and full:
        raise typer.BadParameter("--quick and --full exclude each other")
    if report_file is not None and not report_file.parent.is_dir():
        raise ConfigError(f"{report_file} cannot be written: there is no folder {report_file.parent}")
    with _quiet_libraries():
        report = _run(model, device, threads, _plan(rounds, quick=quick, full=full), only, seed)
    if report_file is not None:
        try:
            report_file.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{report_file} cannot be written: {error.strerror}") from error
    if as_json:
        session.output.json(report)
    else:
        show_bench(session.output, report)
    session.output.warn(f"note: {note}" for note in report.notes)
    if not any(entry.is_ours and entry.status == "run" for entry in report.contestants):
        session.output.note("searchkit: no engine of searchkit ran", style="red")
        raise typer.Exit(1)


def _plan(rounds: int | None, *, quick: bool, full: bool) -> Plan:
    from searchkit.benchmarking import FULL, QUICK, STANDARD

    plan = QUICK if quick else FULL if full else STANDARD
    return plan if rounds is None else replace(plan, rounds=rounds)


def _run(
    model: str | None, device: str, threads: int | None, plan: Plan, only: Sequence[str] | None, seed: int
) -> BenchReport:
    from searchkit.benchmarking import PeerFolder, SentenceTransformersPeer, run_benchmark, step_count
    from searchkit.models.device import device_kind

    here = _circumstances(model, device, threads)
    files = PeerFolder(here.folder, here.max_length)
    contestants = _chosen(_contestants(here, files), only)
    # On an accelerator the others run in half precision too, so the truth is an fp32 model that is not timed.
    reference = None if device_kind(here.device) == "cpu" else SentenceTransformersPeer(here, "fp32")
    try:
        with progress_bar(step_count(plan, len(contestants)), "turns", show=None) as advance:
            return run_benchmark(contestants, here, plan, reference=reference, seed=seed, on_progress=advance)
    finally:
        files.close()


def _circumstances(model: str | None, device: str, threads: int | None) -> Circumstances:
    from searchkit.benchmarking import Circumstances
    from searchkit.models.device import resolve_device
    from searchkit.models.lookup import DEFAULT_RERANKER
    from searchkit.models.onnx_session import usable_cores
    from searchkit.reranking import CrossEncoderReranker

    reranker = CrossEncoderReranker(model or DEFAULT_RERANKER)
    cores = usable_cores()
    if threads is not None and threads > cores:
        raise ConfigError(f"--threads {threads} is more than the {cores} cores that this process may use")
    return Circumstances(reranker.model_path, resolve_device(device), threads or cores, reranker.max_length)


def _contestants(here: Circumstances, files: PeerFolder) -> list[Contestant]:
    from searchkit.benchmarking import own_engines, peers

    return [*own_engines(here), *peers(here, files)]


def _chosen(contestants: Sequence[Contestant], only: Sequence[str] | None) -> list[Contestant]:
    if not only:
        return list(contestants)
    wanted = {name.lower() for name in only}
    chosen = [one for one in contestants if {one.name.lower(), one.name.lower().split()[0]} & wanted]
    known = {word for one in contestants for word in (one.name.lower(), one.name.lower().split()[0])}
    if wanted - known:
        names = ", ".join(repr(one.name) for one in contestants)
        raise typer.BadParameter(f"--only {' '.join(sorted(wanted - known))}: there are {names}")
    return chosen


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Keep the chatter of other libraries away from the progress bar; errors still come through."""
    loggers = [logging.getLogger(name) for name in ("sentence_transformers", "transformers", "flashrank")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
