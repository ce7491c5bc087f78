"""Sample texts to measure and to calibrate with: real sentences, in the lengths of MS MARCO's queries and passages.

The sentences come from the docstrings of the standard library's sources, read without importing them: every machine
has them, nothing is downloaded, and one Python release gives the same texts everywhere.
"""

from __future__ import annotations

import ast
import hashlib
import math
import random
import re
import sysconfig
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from searchkit.errors import ConfigError

Pair = tuple[str, str]

_MODULES = re.split(
    " +",
    "_pydecimal argparse ast asyncio/base_events asyncio/events asyncio/streams calendar codecs collections/__init__"
    " configparser contextlib csv datetime difflib doctest email/message fractions ftplib functools heapq http/client"
    " http/cookiejar imaplib inspect ipaddress logging/__init__ logging/handlers mailbox optparse pathlib pickle"
    " pickletools random shutil smtplib socket statistics string subprocess tarfile tempfile textwrap threading typing"
    " unittest/case unittest/mock urllib/parse urllib/request uuid zipfile",
)
_FEWEST = 500  # of the more than 3,000 sentences that Python 3.10 to 3.14 have
_PARAGRAPH = re.compile(r"\n\s*\n")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*[,.;:!?]?")
_OPENINGS = ("how to", "what is", "why does", "when does", "which", "can i", "does", "meaning of")

# MS MARCO's passages have 56 words on average, three in four between 35 and 80; its queries 6.
_PASSAGE_WORDS = 56.0
_PASSAGE_SPREAD = 0.42  # of the logarithm
_PASSAGE_LIMITS = (12, 180)
_QUERY_WORDS = (2, 7)  # after the opening


@lru_cache(maxsize=1)
def real_sentences() -> tuple[str, ...]:
    """Return sentences of plain prose, each once, in the order of the sources.

    Raises:
        ConfigError: This Python comes without its sources.
    """
    found = dict.fromkeys(sentence for text in _docstrings() for sentence in _prose(text))
    if len(found) < _FEWEST:
        raise ConfigError(
            f"the sample texts are docstrings of Python's own sources, and {_library()} has only {len(found)} "
            "usable sentences: run this with a Python that brings its library as .py files"
        )
    return tuple(found)


def _library() -> Path:
    return Path(sysconfig.get_paths()["stdlib"])


def _docstrings() -> Iterator[str]:
    for name in _MODULES:
        path = _library() / f"{name}.py"
        path = path if path.is_file() else path.with_suffix("") / "__init__.py"  # a module that became a package
        if not path.is_file():
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield ast.get_docstring(node) or ""


def _prose(docstring: str) -> Iterator[str]:
    for paragraph in _PARAGRAPH.split(docstring):
        for sentence in _SENTENCE_END.split(" ".join(paragraph.split())):
            words = sentence.split()
            if 6 <= len(words) <= 40 and sentence[0].isupper() and sentence[-1] in ".!?" and ">>>" not in sentence:
                plain = sum(_WORD.fullmatch(word) is not None for word in words)
                if plain >= 0.85 * len(words):
                    yield sentence


class TextSource:
    """Draws queries and passages. The same seed and the same sentences give the same texts.

    Args:
        seed: Of the drawing.
        sentences: What to draw from; ``None`` takes `real_sentences`.
    """

    def __init__(self, seed: int, sentences: Sequence[str] | None = None) -> None:
        self._sentences = tuple(sentences or real_sentences())
        self._random = random.Random(seed)

    def query(self) -> str:
        """Return a query of four to nine words."""
        words = re.findall(r"[a-z']+", self._sentence().lower())
        return " ".join([self._random.choice(_OPENINGS), *words[: self._random.randint(*_QUERY_WORDS)]])

    def passage(self) -> str:
        """Return a passage whose length is drawn like MS MARCO's."""
        mean = math.log(_PASSAGE_WORDS) - _PASSAGE_SPREAD**2 / 2
        low, high = _PASSAGE_LIMITS
        return self.prose(min(max(round(self._random.lognormvariate(mean, _PASSAGE_SPREAD)), low), high))

    def prose(self, words: int) -> str:
        """Return running text of exactly so many words."""
        taken: list[str] = []
        while len(taken) < words:
            taken += self._sentence().split()
        return " ".join(taken[:words])

    def pairs(self, count: int) -> list[Pair]:
        """Return one query with ``count`` different passages."""
        query = self.query()
        passages: dict[str, None] = {}
        while len(passages) < count:
            passages[self.passage()] = None
        return [(query, passage) for passage in passages]

    def _sentence(self) -> str:
        return self._random.choice(self._sentences)


def digest(pairs: Sequence[Pair]) -> str:
    """Return what identifies texts, so that two reports can say whether they measured on the same ones."""
    joined = "\x1e".join(f"{query}\x1f{passage}" for query, passage in pairs)
    return hashlib.sha256(joined.encode()).hexdigest()[:16]
