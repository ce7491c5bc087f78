"""Show what a model puts first for the written queries, and take the judgments of it back into ``written/``.

python -m benchmarks.default_model.mistakes show POOLS FOLDER MODEL --vectors VECTORS.npz [--more MORE] [--queries 1500]
python -m benchmarks.default_model.mistakes take FOLDER

``show`` writes ``FOLDER/blocks.txt``, a block a query: what the model ranks first of its pool's passages, some that the
bi-encoder does, and one that is known to be right, shuffled. Queries that the model gets wrong come first. Whoever
judges writes ``FOLDER/judged.tsv``: block, right letters, partly right letters, query, criteria; "=" for query and
criteria of the block, other words for a query of their own on the same passages. "-" is none.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.default_model.embeddings import Vectors
from benchmarks.default_model.half import reranker_of
from benchmarks.default_model.pools import bm25, read_pools
from benchmarks.default_model.written import FOLDER, WrittenQuery, passage_digest, read_written, with_criteria

LETTERS = "ABCDEFGH"
NEAREST, BM25_DEPTH = 12, 8
FIRST, SHOWN = 5, 7  # of the model's order; of all
SHOWN_CHARACTERS, READ_CHARACTERS = 360, 700
MOST_RIGHT = 4  # a query that more of eight passages answer says little
FILES = {
    "apidocs": "apidocs", "arxiv": "science", "doc_sections": "documentation", "tech_faq": "documentation",
    "clapnq": "encyclopedia", "squad": "encyclopedia", "squad_extra": "encyclopedia", "selqa": "encyclopedia",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """A line of ``written/*.tsv``: a query, criteria, and the digests of passages by what they are to it."""

    query: str
    criteria: str
    right: frozenset[str]
    partial: frozenset[str]
    wrong: frozenset[str]

    @classmethod
    def parsed(cls, line: str) -> Row:
        """Return what a line says."""
        query, criteria, *judged = line.split("\t")
        return cls(query, criteria, *(frozenset(names.split()) for names in judged))

    def line(self) -> str:
        """Return it as a line."""
        return "\t".join([self.query, self.criteria, *(" ".join(sorted(names)) for names in self._judged())])

    def _judged(self) -> tuple[frozenset[str], ...]:
        return self.right, self.partial, self.wrong

    def with_second_opinion(self, other: Row) -> Row:
        """Return both judgments together: what one calls right and the other does not is right in part.

        Where the two share no right passage, the first judge's stay: the query was written for them.
        """
        disputed = (self.right & (other.wrong | other.partial)) | (other.right & (self.wrong | self.partial))
        right = ((self.right | other.right) - disputed) or self.right
        partial = (self.partial | other.partial | disputed) - right
        return replace(self, right=right, partial=partial, wrong=(self.wrong | other.wrong) - right - partial)


def candidates(queries: Sequence[WrittenQuery], passages: Sequence[str], vectors: Vectors) -> list[list[int]]:
    """Return the places of each query's nearest passages and BM25's best, and of what is right."""
    place_of = {text: place for place, text in enumerate(passages)}
    lexical = bm25([query.text for query in queries], list(passages), BM25_DEPTH)
    nearest = np.argsort(-vectors.of([query.text for query in queries]) @ vectors.of(passages).T, axis=1)
    return [
        list(dict.fromkeys([*near[:NEAREST].tolist(), *worded, *(place_of[text] for text in query.right[:2])]))
        for query, near, worded in zip(queries, nearest, lexical, strict=True)
    ]


def shown(query: WrittenQuery, ordered: Sequence[str], nearest: Sequence[str]) -> list[str]:
    """Return what is shown for a query: the model's first, the bi-encoder's, and one right passage in any case."""
    texts = list(dict.fromkeys([*ordered[:FIRST], *nearest, *ordered]))[:SHOWN]
    return texts if set(texts) & set(query.right) else [*texts, query.right[0]]


def blocks(options: argparse.Namespace) -> list[tuple[int, WrittenQuery, list[str]]]:
    """Return (rank of the first right passage, query, what to show), the worst ranked first."""
    vectors, pools = Vectors(options.vectors), read_pools(options.pools, options.more)
    draw = random.Random(options.seed)
    asked = [query for query in read_written(pools) if query.pool in FILES]
    asked = draw.sample(asked, min(options.queries, len(asked)))
    model = reranker_of(options.model, "bf16")
    found = []
    for pool in sorted({query.pool for query in asked}):
        passages = sorted({example.positive for example in pools[pool]})
        queries = [query for query in asked if query.pool == pool]
        vectors.complete([*passages, *(query.text for query in queries)])
        for query, places in zip(queries, candidates(queries, passages, vectors), strict=True):
            text = with_criteria(query.text, query.criteria)
            scores = model.score_pairs([(text, passages[place][:READ_CHARACTERS]) for place in places]).logits
            ordered = [passages[places[row]] for row in np.argsort(-scores, kind="stable")]
            rank = min(ordered.index(text) for text in query.right[:2])
            texts = shown(query, ordered, [passages[place] for place in places[:4]])
            found.append((rank, query, draw.sample(texts, len(texts))))
    return sorted(found, key=lambda block: -block[0])


def show(options: argparse.Namespace) -> None:
    """Write the blocks."""
    options.folder.mkdir(parents=True, exist_ok=True)
    lines, facts = [], []
    for number, (_, query, texts) in enumerate(blocks(options)):
        lines.append(f"### {number} QUERY: {with_criteria(query.text, query.criteria and '| ' + query.criteria)}")
        lines += [f"{letter}: {' '.join(text.split())[:SHOWN_CHARACTERS]}" for letter, text in zip(LETTERS, texts)]  # noqa: B905  # at most eight
        shown_as = dict(zip(LETTERS, map(passage_digest, texts)))  # noqa: B905
        facts.append({"query": query.text, "criteria": query.criteria, "file": FILES[query.pool], "shown": shown_as})
    (options.folder / "blocks.txt").write_text("\n".join(lines), encoding="utf-8")
    (options.folder / "blocks.json").write_text(json.dumps(facts), encoding="utf-8")
    print(f"{len(facts)} blocks")


def judged_rows(folder: Path) -> Iterable[tuple[str, Row]]:
    """Yield (file, row) of every line of judgments; lines on nothing right, or on nearly everything, are left out."""
    facts = json.loads((folder / "blocks.json").read_text(encoding="utf-8"))
    for line in (folder / "judged.tsv").read_text(encoding="utf-8").splitlines():
        number, right, partial, query, criteria = (" ".join(part.split()) for part in line.split("\t"))
        block = facts[int(number)]
        names = dict(block["shown"])
        yes = frozenset(names[letter] for letter in right if letter != "-")
        perhaps = frozenset(names[letter] for letter in partial if letter != "-") - yes
        if query == "=":
            query, criteria = block["query"], block["criteria"]
        elif not 1 <= len(yes) <= MOST_RIGHT:
            continue
        criteria = "" if criteria == "-" else criteria
        yield block["file"], Row(query, criteria, yes, perhaps, frozenset(names.values()) - yes - perhaps)


def take(folder: Path, written: Path = FOLDER) -> None:
    """Put the judgments into ``written/*.tsv``; other lines stay as they are."""
    lines: dict[str, dict[tuple[str, ...], str]] = {}
    for file in written.glob("*.tsv"):
        lines[file.stem] = {tuple(line.split("\t")[:2]): line for line in file.read_text(encoding="utf-8").splitlines()}
    for name, row in judged_rows(folder):
        before = lines[name].get((row.query, row.criteria))
        merged = row if before is None else Row.parsed(before).with_second_opinion(row)
        lines[name][row.query, row.criteria] = merged.line()
    for name, by_query in lines.items():
        (written / f"{name}.tsv").write_text("".join(f"{line}\n" for line in by_query.values()), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ways = parser.add_subparsers(dest="way", required=True)
    showing, taking = ways.add_parser("show"), ways.add_parser("take")
    showing.add_argument("pools", type=Path)
    for way in (showing, taking):
        way.add_argument("folder", type=Path)
    showing.add_argument("model")
    showing.add_argument("--vectors", type=Path, required=True)
    showing.add_argument("--more", type=Path)
    showing.add_argument("--queries", type=int, default=1500)
    showing.add_argument("--seed", type=int, default=71)
    options = parser.parse_args()
    torch.set_num_threads(1)
    take(options.folder) if options.way == "take" else show(options)


if __name__ == "__main__":
    main()
