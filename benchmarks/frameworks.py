"""The same questions through LangChain's own two stages, LlamaIndex's own, and ours: python benchmarks/frameworks.py.

The collection is the standard library's documentation, written once in langchain-qdrant's layout and once in
LlamaIndex's, in one in-memory Qdrant client; encoder and cross-encoder are the same in all stacks, in single precision.
What differs is what each stack does with them. Every question is asked through every stack before the next one, so that
a busy machine slows all of them alike: the ratio of their times holds where the milliseconds do not.

`python benchmarks/tables.py --write` puts the newest result into the README.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from framework_stacks import Answer, Stack, filled_client, langchain_stack, llamaindex_stack, searchkit_stack
from known import known
from results import write

from searchkit import CrossEncoderReranker, SentenceEncoder
from searchkit.cli.stdlib import standard_library_passages
from searchkit.evaluation import JudgedQueries, JudgedQuery, Run, ScoredPassage, evaluate, read_judged
from searchkit.types import Passage

JUDGED = Path(__file__).resolve().parents[1] / "tests" / "data" / "stdlib"
REFERENCE = "searchkit, dense"
"""Whose time is 1: it reads the same candidates of the same first stage as the others at their best."""


def main() -> None:
    options = _options()
    passages = list(standard_library_passages())
    judged = known(read_judged(JUDGED), {str(passage.id) for passage in passages}).sample(options.queries)
    encoder, reranker = SentenceEncoder(), CrossEncoderReranker()
    client = filled_client(passages, _vectors(passages, encoder, options.vectors))
    with tempfile.TemporaryDirectory() as folder, _single_precision(reranker.model_path, Path(folder)) as model:
        stacks = [
            langchain_stack("LangChain, defaults", client, encoder, model, k=4, top_n=3),
            langchain_stack("LangChain, k=50, top_n=10", client, encoder, model, k=50, top_n=10),
            llamaindex_stack("LlamaIndex, defaults", client, encoder, model, k=2, top_n=2),
            llamaindex_stack("LlamaIndex, k=50, top_n=10", client, encoder, model, k=50, top_n=10),
            searchkit_stack(REFERENCE, client, encoder, mode="dense"),
            searchkit_stack("searchkit, hybrid (default)", client, encoder, mode="hybrid"),
            searchkit_stack("searchkit, hybrid, criteria", client, encoder, mode="hybrid", reads_criteria=True),
        ]
        answers, milliseconds = _asked(stacks, judged.queries)
    rows = [_row(stack, answers[stack.name], milliseconds, judged) for stack in stacks]
    write(
        "frameworks",
        {"passages": len(passages), "queries": len(judged), "reranker": reranker.name, "rows": rows},
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=220, help="how many of the judged questions to ask")
    parser.add_argument("--vectors", type=Path, help="an .npy file that keeps the passages' vectors between runs")
    return parser.parse_args()


def _vectors(passages: list[Passage], encoder: SentenceEncoder, kept: Path | None) -> np.ndarray:
    if kept is not None and kept.exists():
        vectors = np.load(kept)
        if len(vectors) == len(passages):
            return vectors
    vectors = encoder.encode_passages([passage.text for passage in passages])
    if kept is not None:
        np.save(kept, vectors)
    return vectors


@contextmanager
def _single_precision(folder: str | Path, target: Path) -> Iterator[str]:
    """Yield a copy of the model with float32 weights, since sentence-transformers runs half precision as it is."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    AutoModelForSequenceClassification.from_pretrained(folder, dtype="float32").save_pretrained(target)
    AutoTokenizer.from_pretrained(folder).save_pretrained(target)
    yield str(target)


def _asked(
    stacks: Sequence[Stack], queries: Sequence[JudgedQuery]
) -> tuple[dict[str, list[Answer]], dict[str, list[float]]]:
    """Ask every question through every stack in turn, beginning with another stack each time."""
    for stack in stacks:
        stack.ask(JudgedQuery(id="warm-up", text="how do I begin"))  # models are loaded by the first question
    answers: dict[str, list[Answer]] = {stack.name: [] for stack in stacks}
    milliseconds: dict[str, list[float]] = {stack.name: [] for stack in stacks}
    for number, query in enumerate(queries):
        turn = number % len(stacks)
        for stack in (*stacks[turn:], *stacks[:turn]):
            start = time.perf_counter()
            answer = stack.ask(query)
            milliseconds[stack.name].append((time.perf_counter() - start) * 1e3)
            answers[stack.name].append(answer)
        if number % 20 == 19:
            print(f"{number + 1} of {len(queries)} questions", flush=True)
    return answers, milliseconds


def _row(
    stack: Stack, answers: Sequence[Answer], milliseconds: dict[str, list[float]], judged: JudgedQueries
) -> dict[str, Any]:
    rankings = {
        query.id: tuple(ScoredPassage(one, -float(place)) for place, one in enumerate(answer.ids))
        for query, answer in zip(judged.queries, answers, strict=True)
    }
    measured = evaluate(Run(stack.name, rankings), judged.qrels, ["nDCG@10"])
    mine, reference = milliseconds[stack.name], milliseconds[REFERENCE]
    return {
        "stack": stack.name,
        "engine": stack.engine,
        "ndcg_at_10": round(measured.mean("nDCG@10"), 3),
        "p50_ms": round(statistics.median(mine), 1),
        "time_ratio": round(statistics.median(a / b for a, b in zip(mine, reference, strict=True)), 3),
        "candidates_reranked": stack.candidates(),
        "scores_kept": all(answer.has_scores for answer in answers),
    }


if __name__ == "__main__":
    main()
