"""``searchkit demo``: the standard library's documentation, indexed, searched in two stages and measured."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from searchkit.cli import demo_view as view
from searchkit.cli.demo_index import COLLECTION, index_library
from searchkit.cli.demo_memo import DemoMemo, library_checksum, table_key
from searchkit.cli.demo_table import RERANK_DEPTH, measure, read_known
from searchkit.cli.stdlib import read_standard_library

if TYPE_CHECKING:
    from rich.console import Console

    from searchkit.kit import SearchKit
    from searchkit.stages import Encoder, Reranker


class DemoQuestion(NamedTuple):
    """A question that the demo asks."""

    text: str
    criteria: str | None = None


QUESTIONS = (
    DemoQuestion("remove the common leading whitespace of a multi-line string"),
    DemoQuestion("remove a fixed prefix from a string", "Must work on bytes, not text."),
    DemoQuestion("compress a block of bytes", "Output in the .xz container."),
)


def run_demo(
    *,
    path: str | Path,
    judgments: str | Path | None,
    console: Console,
    rebuild: bool = False,
    encoder: Encoder | None = None,
    reranker: Reranker | None = None,
) -> None:
    """Index the documentation of the running Python, answer three questions, and measure four ways to search.

    A second run reuses the index, and the table as long as corpus, models, queries and judgments are the same.

    Args:
        path: Folder of the embedded engine; the collection "stdlib" is made in it.
        judgments: Folder with judged queries; ``None`` leaves the table out.
        console: Where everything is written.
        rebuild: Index and measure again, whatever is there.
        encoder: Bi-encoder; default `searchkit.SentenceEncoder`.
        reranker: Cross-encoder; default `searchkit.CrossEncoderReranker`.

    Raises:
        SearchkitError: The index cannot be opened, a model cannot be loaded, or the judgments cannot be read.
    """
    from searchkit.config import SearchKitConfig
    from searchkit.encoding import SentenceEncoder
    from searchkit.kit import SearchKit
    from searchkit.reranking import CrossEncoderReranker

    encoder, reranker = encoder or SentenceEncoder(), reranker or CrossEncoderReranker()
    with ExitStack() as stack:
        # Before minutes of indexing: judgments that cannot be read are told at once.
        library = read_standard_library()
        judged = None if judgments is None else read_known(judgments, library)
        # A second stage that fails has nothing to show, and must not be measured as if it had run.
        config = SearchKitConfig(on_rerank_error="raise")
        kit = stack.enter_context(SearchKit(COLLECTION, path=path, encoder=encoder, reranker=reranker, config=config))
        memo = DemoMemo.read(path)
        console.print(view.opening(library))
        memo = index_library(kit, library, memo=memo, path=path, console=console, rebuild=rebuild)
        _answer(kit, len(library.passages), console)
        if judged is None:
            console.print(view.without_table())
            return
        key = table_key(library_checksum(library), judged.queries, encoder=encoder, reranker=reranker)
        if rebuild or memo.table is None or memo.table.key != key:
            memo = memo.with_table(measure(kit, judged.queries, key=key, console=console))
            memo.write(path)
            console.print(view.table(memo, judged, is_reused=False))
        else:
            console.print(view.table(memo, judged, is_reused=True))


def _answer(kit: SearchKit, passage_count: int, console: Console) -> None:
    """Ask the questions; loading the models is in nobody's time."""
    with console.status("loading the models") if view.is_lively(console) else ExitStack():
        kit.search(QUESTIONS[0].text, top_k=1, candidate_depth=2)
    console.print(view.stages(passage_count, RERANK_DEPTH))
    for number, question in enumerate(QUESTIONS, 1):
        result = kit.search(question.text, criteria=question.criteria, top_k=RERANK_DEPTH, candidate_depth=RERANK_DEPTH)
        console.print(view.answer(result, number, console))
