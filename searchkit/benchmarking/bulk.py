"""Texts of given lengths in tokens, for workloads of a hundred thousand pairs."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from searchkit.benchmarking.workloads import Load, PairLengths, Workload
from searchkit.models.sample_texts import Pair, TextSource
from searchkit.models.tokenizer import load_tokenizer

_MEAN = 100  # tokens of a passage
_SPREAD = 0.35  # of the logarithm
_LIMITS = (16, 400)


class TokenTexts:
    """Draws queries of exactly so many tokens and passages of 100 on average, by the model's own tokenizer.

    Args:
        folder: The model.
        source: Where words come from.
        distinct: Passages to draw from.
        seed: Of the drawing.
    """

    def __init__(self, folder: Path, source: TextSource, distinct: int, *, seed: int = 0) -> None:
        self._tokenizer, self._source = load_tokenizer(folder), source
        self._random = random.Random(seed)
        mean, (low, high) = math.log(_MEAN) - _SPREAD**2 / 2, _LIMITS
        drawn = (round(self._random.lognormvariate(mean, _SPREAD)) for _ in range(distinct))
        self._passages = list(dict.fromkeys(self._cut([min(max(length, low), high) for length in drawn])))

    def workload(
        self, calls: int, candidates: int, *, query_tokens: int, lengths: PairLengths, per_query: int = 100
    ) -> Workload:
        """Return calls of so many pairs, with a new query after every ``per_query`` of them."""
        queries = iter(self._cut([query_tokens] * (calls * math.ceil(candidates / per_query))))
        made = tuple(self._call(queries, candidates, per_query) for _ in range(calls))
        return Workload(Load(candidates, calls), made, tuple(lengths([pair for call in made for pair in call])))

    def _call(self, queries: Iterator[str], candidates: int, per_query: int) -> tuple[Pair, ...]:
        pairs: list[Pair] = []
        while len(pairs) < candidates:
            query, count = next(queries), min(per_query, candidates - len(pairs))
            pairs += [(query, passage) for passage in self._random.sample(self._passages, count)]
        return tuple(pairs)

    def _cut(self, lengths: Sequence[int]) -> list[str]:
        """Return texts of so many tokens each; where a word is cut, the tokenizer may see one more or less."""
        texts = [self._source.prose(length) for length in lengths]  # a word is a token at least
        encodings = self._tokenizer.encode_batch(texts, add_special_tokens=False)
        ends = [encoding.offsets[length - 1][1] for encoding, length in zip(encodings, lengths, strict=True)]
        return [text[:end] for text, end in zip(texts, ends, strict=True)]
