"""Stage 2 alone, for candidates that somebody else's retriever found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import index
from threading import Lock

from searchkit.errors import ConfigError
from searchkit.face import KitFace
from searchkit.kit import SearchKit
from searchkit.reranking import CrossEncoderReranker
from searchkit.stages import Reranker
from searchkit.types import Hit, Passage

# Stage 2 stores nothing, and a kit creates nothing before its first add: the name never reaches a disk.
_NAME = "second-stage-alone"
_CREATION = Lock()


@dataclass(frozen=True, slots=True)
class Placed:
    """One candidate in its new place.

    Attributes:
        index: Its position in the list that was given.
        hit: What stage 2 said of it; ``None`` for a blank text, which no model can judge.
    """

    index: int
    hit: Hit | None


def checked_kit(kit: object) -> KitFace:
    """Return ``kit`` if it is one.

    Raises:
        ConfigError: It is something else.
    """
    if not isinstance(kit, KitFace):
        raise ConfigError(f'kit={kit!r:.80} is no SearchKit: pass an object such as SearchKit("handbook")')
    return kit


def checked_count(name: str, value: object) -> int:
    """Return ``value`` if it can be a number of passages.

    Args:
        name: What the framework's user calls it.
        value: What was given.

    Raises:
        ConfigError: It is no whole number of 1 or more.
    """
    try:
        count = 0 if isinstance(value, bool) else index(value)  # type: ignore[arg-type]
    except TypeError:
        count = 0
    if count < 1:
        raise ConfigError(f"{name}={value!r:.80} cannot be used: pass a whole number of 1 or more")
    return count


def kit_for(kit: KitFace | None, reranker: Reranker | None, model: str | None = None) -> KitFace:
    """Return the kit whose stage 2 is used.

    Adapters that name the same model share one kit, so that its weights are loaded once a process.

    Args:
        kit: A kit of the caller's.
        reranker: A cross-encoder of the caller's.
        model: Name or folder of a cross-encoder; ``None`` means the shipped one.

    Raises:
        ConfigError: More than one of them was given.
    """
    pairs = (("kit", kit), ("reranker", reranker), ("model", model))
    given = [name for name, value in pairs if value is not None]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} were given: each of them says what reranks; pass one of them")
    if kit is not None:
        return checked_kit(kit)
    if reranker is not None:
        return SearchKit(_NAME, reranker=reranker)
    with _CREATION:
        return _kit_of_model(model)


@lru_cache(maxsize=8)
def _kit_of_model(model: str | None) -> SearchKit:
    return SearchKit(_NAME, reranker=None if model is None else CrossEncoderReranker(model))


def reranked(
    kit: KitFace,
    query: str,
    texts: Sequence[str],
    *,
    top_k: int,
    criteria: str | None = None,
    deadline_s: float | None = None,
) -> list[Placed]:
    """Return at most ``top_k`` of the texts, best first; blank ones last, in their order.

    Args:
        kit: Whose stage 2 is used.
        query: What the cross-encoder reads.
        texts: The candidates in first-stage order, which breaks ties. Equal texts stay apart.
        top_k: How many to return at most.
        criteria: What makes a text relevant, in words.
        deadline_s: Seconds that stage 2 may take.
    """
    readable = [_readable(text) for text in texts]
    worded = [index for index, text in enumerate(readable) if text.strip()]
    if not worded:
        return [Placed(index, None) for index in range(len(texts))][:top_k]
    result = kit.rerank(
        query,
        [Passage(id=index, text=readable[index]) for index in worded],
        top_k=min(top_k, len(worded)),
        criteria=criteria,
        deadline_s=deadline_s,
    )
    placed = [Placed(int(hit.id), hit) for hit in result]
    blank = sorted(set(range(len(texts))).difference(worded))
    return (placed + [Placed(index, None) for index in blank])[:top_k]


def _readable(text: str) -> str:
    """Return what the model reads: NULs and lone surrogates, which parsers of PDFs leave behind, are replaced."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")
