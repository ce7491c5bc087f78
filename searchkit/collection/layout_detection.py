"""Finding out which tool laid out a collection, from payloads of some of its points. Pure, but for a warning."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from searchkit.collection.layouts import (
    FASTEMBED,
    HAYSTACK,
    LANGCHAIN,
    LANGCHAINJS,
    LLAMAINDEX,
    MCP,
    Layout,
    Payload,
    top_segment,
)
from searchkit.errors import CollectionError

logger = logging.getLogger(__name__)

_SHOWN_FIELDS = 12


def detect_layout(
    payloads: Sequence[Payload],
    dense_names: Sequence[str],
    text_field: str | None = None,
    indexed_paths: Iterable[str] = (),
) -> Layout:
    """Return the layout that every sampled payload has; with ``text_field``, that most of those with this field have.

    Args:
        payloads: Payloads of some of the points.
        dense_names: Names of the collection's dense vectors.
        text_field: Payload key of the text, where detection cannot know it.
        indexed_paths: Payload paths that have an index.

    Raises:
        CollectionError: The layout is unknown or ambiguous, or ``text_field`` holds no text; the message lists
            what was found and the argument that settles it.
    """
    if not payloads:
        if text_field is not None:
            return Layout("plain", text_field)
        raise CollectionError(
            "the collection has no points, so its layout cannot be seen; pass text_field=, or add first"
        )
    layout = _detected(payloads, dense_names, text_field)
    if not layout.metadata_root:
        return layout
    keys = {key for payload in payloads for key in payload} | {top_segment(path).strip('"') for path in indexed_paths}
    return replace(layout, beside_keys=frozenset(keys - layout.hidden_keys))


def _detected(payloads: Sequence[Payload], dense_names: Sequence[str], text_field: str | None) -> Layout:
    counts = _counts(payloads, dense_names)
    if text_field is not None:
        return _named(payloads, counts, text_field)
    found = [layout for layout, count in counts.items() if count == len(payloads)]
    if len(found) == 1:
        return found[0]
    what = f"fits {' and '.join(layout.name for layout in found)}" if found else "is none that searchkit knows"
    raise CollectionError(
        f"the layout of the collection {what}; found {_fields(payloads)}. "
        f"Pass text_field= with the field that holds the text{_suggestion(payloads)}"
    )


def _counts(payloads: Sequence[Payload], dense_names: Sequence[str]) -> dict[Layout, int]:
    """Return how many of the payloads each tool could have written."""
    has_fast_vector = any(name.startswith("fast-") for name in dense_names)

    def is_fastembed(payload: Payload) -> bool:
        return has_fast_vector and isinstance(payload.get("document"), str) and not _is_nested(MCP, payload)

    rules: list[tuple[Layout, Callable[[Payload], bool]]] = [
        (LLAMAINDEX, lambda payload: isinstance(payload.get("_node_content"), str)),
        (LANGCHAIN, lambda payload: _is_nested(LANGCHAIN, payload)),
        (LANGCHAINJS, lambda payload: _is_nested(LANGCHAINJS, payload)),
        (HAYSTACK, lambda payload: isinstance(payload.get("id"), str) and _is_nested(HAYSTACK, payload)),
        (MCP, lambda payload: _is_nested(MCP, payload)),
        (FASTEMBED, is_fastembed),
    ]
    counts = {layout: sum(map(fits, payloads)) for layout, fits in rules}
    # LlamaIndex lays its users' keys beside its own, so that theirs can look like anything.
    return {LLAMAINDEX: len(payloads)} if counts[LLAMAINDEX] == len(payloads) else counts


def _is_nested(layout: Layout, payload: Payload) -> bool:
    if layout.text_key not in payload or layout.metadata_root not in payload:
        return False
    text, metadata = payload[layout.text_key], payload[layout.metadata_root]
    # A binary document of Haystack has no text, and LangChain writes null for no metadata.
    is_text = isinstance(text, str) or (text is None and layout is HAYSTACK)
    return is_text and (metadata is None or isinstance(metadata, Mapping))


def _named(payloads: Sequence[Payload], counts: Mapping[Layout, int], text_field: str) -> Layout:
    fitting = {layout: count for layout, count in counts.items() if layout.text_key == text_field and count}
    most = max(fitting.values(), default=0)
    best = [layout for layout, count in fitting.items() if count == most]
    # Who adds points without metadata may leave its key out: that makes the others no less the tool's.
    if len(best) == 1 and 2 * most > sum(text_field in payload for payload in payloads):
        return best[0]
    if not any(isinstance(payload.get(text_field), str) for payload in payloads):
        raise CollectionError(
            f"text_field={text_field!r} holds no text in {len(payloads)} sampled points; found {_fields(payloads)}. "
            f"Pass text_field= with the field that holds the text{_suggestion(payloads)}"
        )
    for layout in best:
        if layout.metadata_root:
            logger.warning(
                "text_field=%r is read as a plain layout, though %d of %d sampled points are laid out as %s does; "
                "filters name their metadata '%s.KEY'",
                text_field,
                most,
                len(payloads),
                layout.name,
                layout.metadata_root,
            )
    return Layout("plain", text_field)


def _fields(payloads: Sequence[Payload]) -> str:
    kinds: dict[str, Counter[str]] = {}
    for payload in payloads:
        for key, value in payload.items():
            kinds.setdefault(key, Counter())[type(value).__name__] += 1
    if not kinds:
        return "no payload fields"
    shown = [
        f"{key!r} ({', '.join(f'{kind} in {count}' for kind, count in counts.most_common(2))})"
        for key, counts in list(kinds.items())[:_SHOWN_FIELDS]
    ]
    more = f" and {len(kinds) - _SHOWN_FIELDS} more" if len(kinds) > _SHOWN_FIELDS else ""
    return f"in {len(payloads)} sampled points the fields {', '.join(shown)}{more}"


def _suggestion(payloads: Sequence[Payload]) -> str:
    """Return a hint at the field with the longest texts."""
    lengths: Counter[str] = Counter()
    for payload in payloads:
        for key, value in payload.items():
            if isinstance(value, str):
                lengths[key] += len(value)
    return f", for instance text_field={lengths.most_common(1)[0][0]!r}" if lengths else ""
