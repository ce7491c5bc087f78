"""``searchkit train``: a cross-encoder of your own, from labelled pairs or from a collection and judged queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from searchkit.cli.options import ApiKeyOption, EncoderFolderOption, JsonOption, PathOption, UrlOption
from searchkit.cli.session import Place, Session
from searchkit.progress import progress_bar

if TYPE_CHECKING:
    from searchkit.evaluation import JudgedQueries
    from searchkit.training import LabelledPair, MiningConfig, TrainingReport

EXAMPLE = (
    "Example: searchkit train pairs.jsonl --output my-reranker"
    "   or, mining the negatives: searchkit train --judged clicks/ --collection handbook --output my-reranker"
)


def train(
    context: typer.Context,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the model; new, or of a run to resume.")],
    pair_files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PAIRS...", help=".jsonl, .csv, .tsv or .parquet with sentence_0, sentence_1 and label."
        ),
    ] = None,
    judged: Annotated[
        Path | None,
        typer.Option(help="Queries and their relevant passages, as in 'searchkit eval'.", rich_help_panel="Mining"),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Which file under qrels/.", show_default="train", rich_help_panel="Mining")
    ] = None,
    collection: Annotated[
        str | None,
        typer.Option("--collection", "-c", help="Where the negatives come from.", rich_help_panel="Mining"),
    ] = None,
    negatives: Annotated[int, typer.Option(min=1, help="Negatives a query.", rich_help_panel="Mining")] = 30,
    depth: Annotated[int, typer.Option(min=1, help="How deep stage 1 looks.", rich_help_panel="Mining")] = 100,
    skip_ranks: Annotated[
        int, typer.Option(min=0, help="Passages at the top left alone; often relevant.", rich_help_panel="Mining")
    ] = 2,
    save_pairs: Annotated[
        Path | None, typer.Option(help="Write the mined pairs as JSON lines.", rich_help_panel="Mining")
    ] = None,
    held_out: Annotated[
        Path | None,
        typer.Option(
            help="Judged queries kept for evaluation; none may be among the pairs. With --collection, the model is"
            " measured on them and its card tells."
        ),
    ] = None,
    base_model: Annotated[str, typer.Option(help="Weights to start from: a folder or a name.")] = "all-MiniLM-L6-v2",
    epochs: Annotated[int, typer.Option(min=1)] = 3,
    batch_size: Annotated[int, typer.Option(min=1)] = 16,
    learning_rate: Annotated[float, typer.Option(min=1e-9, max=1.0)] = 5e-5,
    max_length: Annotated[int, typer.Option(min=8, help="Longest pair in tokens.")] = 512,
    precision: Annotated[Literal["fp32", "bf16", "fp16"], typer.Option()] = "fp32",
    save_steps: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 500,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1)] = 42,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or mps.", show_default="the best there is")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a run in the folder stopped.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Never ask the model hub.")] = False,
    path: PathOption = None,
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
    encoder_folder: EncoderFolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a reranker on your own judgments.

    The defaults are the recipe of the shipped model's card. The folder then holds weights, tokenizer, model card and
    training log, and opens with CrossEncoderReranker("FOLDER").
    """
    from searchkit.evaluation import read_judged
    from searchkit.evaluation.measures import ir_measures_library
    from searchkit.training import MiningConfig, Recipe, read_pairs
    from searchkit.training import train as run_training

    session: Session = context.obj
    if bool(pair_files) == (judged is not None):
        raise typer.BadParameter("give files with PAIRS, or --judged with --collection to mine them; one of the two")
    place = Place(collection or "", path, url, api_key, encoder_folder)
    kept = None if held_out is None else read_judged(held_out)
    if kept is not None and collection is not None:
        ir_measures_library()  # before the training, not after it
    if judged is not None:
        if collection is None:
            raise typer.BadParameter("--judged needs --collection, where the passages are")
        if save_pairs is not None and not save_pairs.parent.is_dir():  # before minutes of searching, not after
            raise typer.BadParameter(f"--save-pairs: there is no folder {save_pairs.parent}")
        mining = MiningConfig(negatives_per_query=negatives, skip_ranks=skip_ranks, seed=seed)
        pairs = _mine(session, place, judged, split, mining, depth, save_pairs)
    else:
        pairs = [pair for file in pair_files or () for pair in read_pairs(file)]
    report = run_training(
        pairs,
        output,
        Recipe(
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            max_length=max_length,
            precision=precision,
            save_steps=save_steps,
            logging_steps=min(save_steps, 500),
            seed=seed,
        ),
        base_model=base_model,
        evaluation_queries=_asked(kept),
        resume=resume,
        device=device,
        offline=offline,
    )
    _show(session, report, as_json=as_json)
    if kept is not None and collection is not None:
        _measure(session, replace(place, reranker=str(output)), kept, output, depth)


def _measure(session: Session, place: Place, kept: JudgedQueries, folder: Path, depth: int) -> None:
    from searchkit.cli.trained_quality import evaluate_into_card

    with session.open_kit(place) as kit:
        row = evaluate_into_card(kit, place.collection, kept, folder, depth=depth)
    session.output.note(
        f"on {row.query_count} held-out queries: nDCG@10 {row.reranked:.3f} reranked, {row.first_stage:.3f} without;"
        f" {folder}/README.md has it, searchkit eval says whether it is luck"
    )


def _mine(
    session: Session,
    place: Place,
    folder: Path,
    split: str | None,
    config: MiningConfig,
    depth: int,
    save_pairs: Path | None,
) -> list[LabelledPair]:
    from searchkit.cli.mining import mine_collection
    from searchkit.evaluation import read_judged
    from searchkit.training import write_pairs

    judged = read_judged(folder, split=split, preferred=["train"])
    with (
        session.open_kit(place) as kit,
        progress_bar(len(judged), "queries", show=None) as advance,
    ):
        mined = mine_collection(kit, judged, config, depth=depth, on_progress=advance)
    session.output.note(f"{len(mined.pairs)} pairs for {len(judged)} queries, negatives mined from {place.collection}")
    if mined.without_positive:
        session.output.warn([f"{_some(mined.without_positive)}: no relevant passage is in {place.collection}"])
    if mined.without_negative:
        session.output.warn([f"{_some(mined.without_negative)}: stage 1 found too little beside the relevant"])
    if save_pairs is not None:
        write_pairs(mined.pairs, save_pairs)
    return mined.pairs


def _some(query_ids: Sequence[str]) -> str:
    return f"{len(query_ids)} queries left out, such as {query_ids[0]!r}"


def _asked(kept: JudgedQueries | None) -> list[str]:
    """Return the queries as they are judged and, where they have criteria, as the pairs have them."""
    queries = () if kept is None else kept.queries
    with_criteria = [f"{query.text} {query.criteria}" for query in queries if query.criteria is not None]
    return [*(query.text for query in queries), *with_criteria]


def _show(session: Session, report: TrainingReport, *, as_json: bool) -> None:
    if as_json:
        session.output.json(report)
    else:
        pairs = report.statistics
        loss = "" if report.final_loss is None else f", last loss {report.final_loss:.4f}"
        session.output.show(
            f"{report.folder}: {report.steps} steps in {report.seconds:.0f} s on {pairs.pair_count} pairs of"
            f" {pairs.query_count} queries{loss}"
        )
        session.output.note(f'use it: SearchKit(..., reranker=CrossEncoderReranker("{report.folder}"))')
    session.output.warn(f"note: {warning}" for warning in report.statistics.warnings)
