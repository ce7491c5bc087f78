"""Groups that the bi-encoder teaches: a query or a sentence, beside sentences from several of its ranks.

Labels that people gave are few, and each says one bit. The bi-encoder has seen a billion pairs: its cosine over short
pairs carries what it knows of meaning into the cross-encoder cheaply, before labels teach what it gets wrong.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.default_model.embeddings import encode
from benchmarks.default_model.groups import Group
from benchmarks.default_model.pools import Example, digest

SHORTEST, LONGEST = 25, 200
SENTENCES_A_POOL, QUERIES_A_POOL = 9_000, 4_000
SENTENCE_SHARE = 0.25  # of the groups ask with a sentence
RANKS = ((0, 3), (3, 15), (15, 200))  # one passage of each, and a stranger
DEPTH = RANKS[-1][1]
_SENTENCE_END = re.compile(r"(?<=[a-z0-9)][.!?]) +(?=[A-Z])|\n+")
_BLOCK = 2048


def sentences_of(pools: Mapping[str, Sequence[Example]]) -> list[str]:
    """Return sentences of the pools' passages, at most ``SENTENCES_A_POOL`` of each, the same on every machine."""
    found: dict[str, None] = {}
    for examples in pools.values():
        texts = dict.fromkeys(
            " ".join(part.split())
            for example in examples
            for part in _SENTENCE_END.split(example.positive)
            if SHORTEST <= len(part) <= LONGEST
        )
        found |= dict.fromkeys(sorted(texts, key=digest)[:SENTENCES_A_POOL])
    return list(found)


def queries_of(pools: Mapping[str, Sequence[Example]]) -> list[str]:
    """Return queries of the pools, at most ``QUERIES_A_POOL`` of each."""
    found: dict[str, None] = {}
    for examples in pools.values():
        texts = {example.query for example in examples if len(example.query) <= LONGEST}
        found |= dict.fromkeys(sorted(texts, key=digest)[:QUERIES_A_POOL])
    return list(found)


class Teacher:
    """The bi-encoder's view of sentences and queries; vectors are kept in ``file``."""

    def __init__(self, pools: Mapping[str, Sequence[Example]], file: Path) -> None:
        self._sentences, self._queries = sentences_of(pools), queries_of(pools)
        if not file.is_file():
            np.savez(file, sentences=encode(self._sentences), queries=encode(self._queries))
        with np.load(file) as stored:
            self._known, self._asking = (stored[name].astype(np.float32) for name in ("sentences", "queries"))
        if len(self._known) != len(self._sentences) or len(self._asking) != len(self._queries):
            raise ValueError(f"{file} holds the vectors of other pools; delete it")

    def groups(self, count: int, seed: int) -> list[tuple[Group, np.ndarray]]:
        """Return ``count`` groups without labels, each with the cosines of its four passages."""
        draw = random.Random(seed)
        asking_sentences = int(count * SENTENCE_SHARE)
        anchors = [(text, self._asking[row]) for row, text in self._drawn(draw, self._queries, count)]
        anchors = anchors[: count - asking_sentences]
        anchors += [(text, self._known[row]) for row, text in self._drawn(draw, self._sentences, asking_sentences)]
        draw.shuffle(anchors)
        found = []
        for start in range(0, len(anchors), _BLOCK):
            block = anchors[start : start + _BLOCK]
            scores = np.stack([vector for _, vector in block]) @ self._known.T
            top = np.argpartition(-scores, DEPTH, axis=1)[:, : DEPTH + 1]
            for row, (text, _) in enumerate(block):
                order = top[row][np.argsort(-scores[row, top[row]], kind="stable")]
                order = [place for place in order if self._sentences[place] != text]
                chosen = [order[draw.randrange(first, min(last, len(order)))] for first, last in RANKS]
                chosen.append(draw.randrange(len(self._sentences)))
                rows = [(text, self._sentences[place], 0) for place in chosen]
                found.append((Group(rows), scores[row, chosen]))
        return found

    @staticmethod
    def _drawn(draw: random.Random, texts: Sequence[str], count: int) -> list[tuple[int, str]]:
        rows = draw.sample(range(len(texts)), min(count, len(texts)))
        return [(row, texts[row]) for row in rows]
