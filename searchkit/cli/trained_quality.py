"""What a freshly trained reranker is worth beside the first stage alone, measured and put into its card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from searchkit.evaluation import Configuration, compare
from searchkit.training import QualityRow, read_card, write_card

if TYPE_CHECKING:
    from searchkit.evaluation import JudgedQueries
    from searchkit.kit import SearchKit

_MEASURE = "nDCG@10"


def evaluate_into_card(
    kit: SearchKit, collection: str, judged: JudgedQueries, folder: Path, *, depth: int
) -> QualityRow:
    """Search the judged queries with and without the reranker of ``kit``, and write what came out into its card.

    Args:
        kit: A kit with the trained model as its reranker.
        collection: Name of its collection.
        judged: Queries that were not trained on.
        folder: The model's folder.
        depth: Candidates a query.
    """
    alone = [Configuration(mode=mode, candidate_depth=depth, rerank=False) for mode in ("dense", "hybrid")]
    reranked = Configuration(candidate_depth=depth, blend=False)
    blended = Configuration(candidate_depth=depth)
    report, _ = compare(kit, judged, [*alone, reranked, blended], measures=[_MEASURE], primary=_MEASURE, timed_count=0)
    has_blend = kit.reranker.profile.blend is not None
    row = QualityRow(
        collection=collection,
        query_count=len(judged),
        first_stage=max(report.system(one.name).measures[_MEASURE] for one in alone),
        reranked=report.system(reranked.name).measures[_MEASURE],
        blended=report.system(blended.name).measures[_MEASURE] if has_blend else None,
    )
    setup = (
        f"Hybrid candidates of searchkit, depth {depth}, on the held-out queries of {judged.name}. First stage alone"
        " is the better of dense and hybrid."
    )
    facts = read_card(folder).model_copy(update={"evaluation": (row,), "evaluation_setup": setup})
    write_card(facts, folder)
    return row
