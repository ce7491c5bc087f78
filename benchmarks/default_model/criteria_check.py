"""What criteria cost: wordings that training never saw, and criteria that ask for nothing.

python -m benchmarks.default_model.criteria_check MODEL STORE OUT.json --aspects FOLDER --plain FOLDER [FOLDER ...]

``--aspects`` is a judged collection whose queries ask for one aspect of a subject and exclude another: each is asked in
the collection's words, in a wording of the training run and in one that was kept from it. The queries of ``--plain``
have no criteria: they are asked alone, then with vague, irrelevant and story-like criteria in words that were kept
from training. nDCG@10 of what the kit returns, blend as shipped, and the loss with a 95% bootstrap interval.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.default_model.half import reranker_of
from benchmarks.default_model.measure import RememberingEncoder
from benchmarks.default_model.pools import aspects_of
from searchkit import CrossEncoderReranker, SearchKit, SearchKitConfig
from searchkit.evaluation import JudgedQueries, Run, ScoredPassage, evaluate, read_corpus, read_judged
from searchkit.evaluation.judged import JudgedQuery
from searchkit.training.criteria import anchored_story, irrelevant, story, vague
from searchkit.training.criteria.wordings import ASPECT_PAIRS, ASPECT_PAIRS_HELD_OUT

_BATCH = 8
_RESAMPLES = 10_000
Wording = Callable[[random.Random, JudgedQuery], str | None]


def _aspect(templates: tuple[str, ...]) -> Wording:
    def worded(draw: random.Random, query: JudgedQuery) -> str | None:
        wanted, excluded = aspects_of(query.criteria or "")
        return draw.choice(templates).format(wanted=wanted, excluded=excluded)

    return worded


ASPECTS: dict[str, Wording] = {
    "as given": lambda _draw, query: query.criteria,
    "seen wording": _aspect(ASPECT_PAIRS),
    "unseen wording": _aspect(ASPECT_PAIRS_HELD_OUT),
}
PLAIN: dict[str, Wording] = {
    "query alone": lambda _draw, _query: None,
    "vague": lambda draw, _: vague(draw, held_out=True),
    "irrelevant": lambda draw, _: irrelevant(draw, held_out=True),
    "story": lambda draw, _: story(draw, held_out=True),
    "story around the query": lambda draw, query: anchored_story(draw, query.text, held_out=True),
}


def asked(kit: SearchKit, judged: JudgedQueries, wording: Wording, depth: int) -> dict[str, float]:
    """Return nDCG@10 of each query when its criteria are worded so."""
    draw = random.Random(7)
    found: dict[str, tuple[ScoredPassage, ...]] = {}
    for start in range(0, len(judged), _BATCH):
        part = judged.queries[start : start + _BATCH]
        criteria = [wording(draw, query) for query in part]
        results = kit.search_batch([query.text for query in part], criteria=criteria, top_k=10, candidate_depth=depth)
        for query, result in zip(part, results, strict=True):
            found[query.id] = tuple(ScoredPassage(str(hit.id), -place) for place, hit in enumerate(result.hits))
    measured = evaluate(Run("run", found), judged.qrels, ["nDCG@10"])
    return dict(zip(measured.query_ids, measured.values["nDCG@10"].tolist(), strict=True))


def compared(values: dict[str, dict[str, float]], options: Any) -> dict[str, Any]:
    """Return the means, and what each way loses against the first."""
    names = list(values)
    queries = list(values[names[0]])
    table = {name: np.array([values[name][query] for query in queries]) for name in names}
    draw = np.random.default_rng(7)
    rows = draw.integers(0, len(queries), (_RESAMPLES, len(queries)))
    found: dict[str, Any] = {"queries": len(queries), "depth": options.depth, "precision": options.precision}
    for name in names:
        lost = table[names[0]] - table[name]
        low, high = np.percentile(lost[rows].mean(axis=1), (2.5, 97.5))
        found[name] = {"nDCG@10": round(float(table[name].mean()), 4), "lost": round(float(lost.mean()), 4),
                       "interval": [round(float(low), 4), round(float(high), 4)]}  # fmt: skip
    return found


def check(folder: Path, ways: dict[str, Wording], reranker: CrossEncoderReranker, options: Any) -> dict[str, Any]:
    """Return what each way of asking finds in one collection."""
    encoder = RememberingEncoder([one for one in options.vectors if Path(one.split("=")[0]) == folder])
    config = SearchKitConfig(on_rerank_error="raise")
    with SearchKit(folder.name, path=options.store, encoder=encoder, reranker=reranker, config=config) as kit:
        kit.add(read_corpus(folder), show_progress=False)
        judged = read_judged(folder)
        judged = judged.sample(min(options.queries, len(judged)))
        values = {}
        for name, wording in ways.items():
            values[name] = asked(kit, judged, wording, options.depth)
            print(f"{folder.name}, {name}: {np.mean(list(values[name].values())):.3f}", flush=True)
    return compared(values, options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("store", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--aspects", nargs="*", type=Path, default=[])
    parser.add_argument("--plain", nargs="*", type=Path, default=[])
    parser.add_argument("--queries", type=int, default=40)
    parser.add_argument("--depth", type=int, default=50)
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--vectors", action="append", default=[], help="FOLDER=FILE.npy, known vectors of a corpus")
    options = parser.parse_args()
    reranker = reranker_of(options.model, options.precision)
    found = {folder.name: check(folder, ASPECTS, reranker, options) for folder in options.aspects}
    found |= {folder.name: check(folder, PLAIN, reranker, options) for folder in options.plain}
    options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
