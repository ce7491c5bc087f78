"""The training pools: read, split, and given BM25 negatives."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer

if TYPE_CHECKING:
    from benchmarks.default_model.embeddings import Vectors

HELD_OUT_PER_MILLE = 35
# BM25 ranks that negatives are mined from; the ranks before are left alone because they are often right too.
MINED_RANKS = {
    "fever": (2, 25), "clapnq": (1, 20), "cosqa": (2, 20), "arxiv": (1, 12), "wiki_title": (1, 12), "squad": (1, 12),
    "squad_extra": (1, 12), "squad_sent": (2, 16), "selqa": (2, 14), "hybridqa": (2, 16), "medquad": (2, 14),
    "fetaqa": (3, 16), "tech_faq": (3, 16), "timeqa": (3, 16), "doc_sections": (3, 16), "qmsum": (3, 14),
    "apidocs": (2, 16),
}  # fmt: skip
# Pools whose passages are also ranked by the bi-encoder; the rest is long, or has hard negatives of its own.
DENSE_POOLS = frozenset(
    ("apidocs", "arxiv", "clapnq", "cosqa", "dstc9_faq", "fetaqa", "fever", "selqa", "squad_sent", "tech_faq", "tldr",
     "doc_sections", "squad_extra")
)  # fmt: skip
MOST_EXAMPLES = {"arxiv": 9_000, "wiki_title": 6_000}
# The same for the bi-encoder's ranks. In arxiv what ranks high is on the topic, which is what such searches want.
NEAR_RANKS = {
    "apidocs": (2, 40), "arxiv": (8, 80), "clapnq": (1, 24), "cosqa": (2, 24), "dstc9_faq": (2, 24), "fetaqa": (3, 30),
    "fever": (2, 30), "selqa": (2, 20), "squad_sent": (2, 24), "tech_faq": (2, 24), "tldr": (2, 30),
    "doc_sections": (3, 30), "squad_extra": (1, 12),
}  # fmt: skip
# Where several passages may answer, one that the bi-encoder puts clearly above the right one is more likely right too.
MANY_MAY_ANSWER = frozenset(("apidocs", "arxiv", "cosqa", "doc_sections", "fetaqa", "fever", "tech_faq", "tldr"))
_MARGIN = 0.03
# Passages about the same thing may be right too: these pools skip mined passages with the positive's title.
SAME_TITLE_IS_RISKY = ("medquad", "fever", "timeqa")
_ASPECTS = (
    r"consider only (.+?)\. A relevant document must cover .+ deal with (.+?) are not relevant",
    r"give information on (.+?)\. Texts that only discuss (.+?) should",
    r"Focus strictly on (.+?)\. Do not .* explains (.+?)\.$",
    r"I only need (.+?)\. Documents on other aspects such as (.+?) are",
)


@dataclass
class Example:
    """One query with its passages."""

    pool: str
    query: str
    positive: str
    negatives: list[str] = field(default_factory=list)
    mined: list[str] = field(default_factory=list)
    near: list[str] = field(default_factory=list)
    instruction: str = ""
    wanted: str = ""
    excluded: str = ""
    source: str = ""


def is_held_out(positive: str) -> bool:
    """Whether a passage belongs to the part that is never trained on; the same on every machine."""
    return int(hashlib.md5(positive.encode()).hexdigest(), 16) % 1000 < HELD_OUT_PER_MILLE


def read_pool(folder: Path) -> list[Example]:
    """Return the examples of one pool; texts of a few characters are dropped."""
    found = []
    with gzip.open(folder / "pairs.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if len(row["query"]) > 5 and len(row["positive"]) > 15:
                instruction = row.get("instruction") or ""
                example = Example(
                    folder.name, row["query"], row["positive"], row.get("negatives") or [],
                    instruction=instruction, source=row.get("source", ""),
                )  # fmt: skip
                example.wanted, example.excluded = aspects_of(instruction)
                found.append(example)
    return found


def read_pools(folder: Path, more: Path | None = None) -> dict[str, list[Example]]:
    """Return the training part of every pool under ``folder`` and ``more``; the largest are cut by hash."""
    pools = {}
    for path in sorted([*folder.iterdir(), *(more.iterdir() if more else ())]):
        if (path / "pairs.jsonl.gz").is_file():
            examples = [example for example in read_pool(path) if not is_held_out(example.positive)]
            most = MOST_EXAMPLES.get(path.name)
            if most is not None:
                examples = sorted(examples, key=lambda example: digest(example.positive))[:most]
            pools[path.name] = examples
    return pools


def digest(text: str) -> str:
    """Return the MD5 of a text, for orders and names that are the same on every machine."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def aspects_of(instruction: str) -> tuple[str, str]:
    """Return the aspect that medquad's criteria want and the one they exclude; empty if they are of another form."""
    for pattern in _ASPECTS:
        match = re.search(pattern, instruction)
        if match:
            return match[1], match[2]
    return "", ""


def mine(examples: list[Example], pool: str) -> None:
    """Set ``mined`` of every example to what BM25 finds for its query among the pool's passages."""
    first, last = MINED_RANKS[pool]
    passages = sorted({example.positive for example in examples})
    right: defaultdict[str, set[str]] = defaultdict(set)
    for example in examples:
        right[_key(example.query)].add(example.positive)
    rankings = bm25([example.query for example in examples], passages, last + 4)
    for example, ranking in zip(examples, rankings, strict=True):
        known = right[_key(example.query)]
        found = [passages[place] for place in ranking if passages[place] not in known][first:]
        if pool in SAME_TITLE_IS_RISKY:
            found = [text for text in found if _title(text) != _title(example.positive)]
        example.mined = found


def mine_near(examples: list[Example], pool: str, vectors: Vectors) -> None:
    """Set ``near`` of every example to what the bi-encoder finds for its query among the pool's passages."""
    first, last = NEAR_RANKS[pool]
    passages = sorted({example.positive for example in examples})
    found = vectors.of(passages)
    right: defaultdict[str, set[str]] = defaultdict(set)
    for example in examples:
        right[_key(example.query)].add(example.positive)
    place = {text: row for row, text in enumerate(passages)}
    for start in range(0, len(examples), 512):
        part = examples[start : start + 512]
        scores = vectors.of([example.query for example in part]) @ found.T
        count = min(last + 4, len(passages) - 1)
        top = np.argpartition(-scores, count, axis=1)[:, : count + 1]
        for row, example in enumerate(part):
            order = top[row][np.argsort(-scores[row, top[row]], kind="stable")]
            bar = scores[row, place[example.positive]] + _MARGIN if pool in MANY_MAY_ANSWER else 9.0
            kept = [passages[one] for one in order if scores[row, one] <= bar]
            kept = [text for text in kept if text not in right[_key(example.query)]][first:]
            if pool in SAME_TITLE_IS_RISKY:
                kept = [text for text in kept if _title(text) != _title(example.positive)]
            example.near = kept


def bm25(queries: list[str], passages: list[str], depth: int) -> list[list[int]]:
    """Return the places of the best passages of each query, k1 = 1.2, b = 0.75."""
    vectorizer = CountVectorizer(stop_words="english", max_df=0.2, dtype=np.float32)
    counts = vectorizer.fit_transform(passages).tocsr()
    lengths = np.asarray(counts.sum(axis=1)).ravel()
    frequency = np.bincount(counts.indices, minlength=counts.shape[1])
    weight = np.log(1 + (len(passages) - frequency + 0.5) / (frequency + 0.5)).astype(np.float32)
    rows = np.repeat(np.arange(len(passages)), np.diff(counts.indptr))
    norm = 1.2 * (0.25 + 0.75 * lengths[rows] / lengths.mean())
    counts.data = (counts.data * 2.2 / (counts.data + norm) * weight[counts.indices]).astype(np.float32)
    asked = vectorizer.transform(queries)
    asked.data[:] = 1
    found: list[list[int]] = []
    for start in range(0, len(queries), 512):
        scores = (asked[start : start + 512] @ counts.T).tocsr()
        for row in range(scores.shape[0]):
            part = slice(scores.indptr[row], scores.indptr[row + 1])
            order = np.argsort(-scores.data[part], kind="stable")[:depth]
            found.append(scores.indices[part][order].tolist())
    return found


def _key(query: str) -> str:
    return query.lower().strip(" ?.")


def _title(text: str) -> str:
    return text.split(":")[0].lower() if ":" in text[:80] else text[:25].lower()
