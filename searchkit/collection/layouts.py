"""How other tools lay out a collection, and reading their passages back. Pure.

Finding out which tool wrote one is the business of `searchkit.collection.layout_detection`, writing passages that of
`searchkit.collection.layout_payloads`.

langchain     {page_content, metadata: {...}}                      LangChain for Python
langchainjs   {content, metadata: {...}}                           LangChain.js
llamaindex    {..., _node_content: "{json}", _node_type, doc_id}   LlamaIndex; the text lies inside the JSON
haystack      {id, content, blob, meta: {...}, score}              Haystack; the id lies in the payload
mcp           {document, metadata: {...}}                          mcp-server-qdrant
fastembed     {document, ...}, a dense vector named fast-...       the former QdrantClient.add
plain         {<text_field>, ...}                                  anything else, when the caller names the field
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from searchkit.errors import CollectionError, PayloadError
from searchkit.types import PassageId

Payload = Mapping[str, Any]

_DOCUMENT_KEYS = frozenset({"document_id", "doc_id", "ref_doc_id"})
_LLAMAINDEX_OWN = frozenset({"_node_content", "_node_type"}) | _DOCUMENT_KEYS
_TOP_SEGMENT = re.compile(r'"[^"]+"|[^".\[\]]+')


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a tool keeps the parts of a passage.

    Attributes:
        name: The tool.
        text_key: Payload key of the text (of the JSON that holds it, for LlamaIndex).
        metadata_root: Payload key that the metadata lies under; empty if it lies beside the text.
        own_keys: Keys that are the tool's own, neither text nor metadata.
        beside_keys: Payload keys beside a metadata object that count as metadata: those that sampled points or an
            index show. No others are shown or filtered by: looking for every key in both places would need an index
            on both.
        id_key: Payload key of the passage's id; ``None`` if that is the point's id.
        dense_names: Names that the tool gives its dense vector.
        sparse_names: Names that it gives its sparse vector, newest first.
    """

    name: str
    text_key: str
    metadata_root: str = ""
    own_keys: frozenset[str] = frozenset()
    beside_keys: frozenset[str] = frozenset()
    id_key: str | None = None
    dense_names: tuple[str, ...] = ("",)
    sparse_names: tuple[str, ...] = ()

    @property
    def hidden_keys(self) -> frozenset[str]:
        """Payload keys that are no metadata."""
        places = {self.text_key, self.metadata_root, self.id_key or ""} - {""}
        return self.own_keys | places

    def text_of(self, payload: Payload, point: PassageId) -> str | None:
        """Return the text; ``None`` where there is none.

        Raises:
            PayloadError: The payload of ``point`` is damaged.
        """
        raw = payload.get(self.text_key)
        text = _node_text(raw, point) if self.name == "llamaindex" and isinstance(raw, str) else raw
        return text if isinstance(text, str) and text.strip() else None

    def metadata_of(self, payload: Payload) -> dict[str, Any]:
        """Return the metadata without what is the tool's own.

        A key of a metadata object goes before the same key beside it, unless it has no value there (null and [] are
        none): that much a filter can tell apart.
        """
        if not self.metadata_root:
            hidden = self.hidden_keys
            shown = {key: value for key, value in payload.items() if key not in hidden}
            return {**shown, **self.covered_metadata(payload)}
        beside = {key: value for key, value in payload.items() if key in self.beside_keys}
        inside = payload.get(self.metadata_root)
        if not isinstance(inside, Mapping):
            return beside
        return {**beside, **{key: value for key, value in inside.items() if key not in beside or _has_value(value)}}

    def covered_metadata(self, payload: Payload) -> dict[str, Any]:
        """Return the metadata that only the node's JSON has: LlamaIndex writes its document's id over such keys."""
        raw = payload.get(self.text_key) if self.name == "llamaindex" else None
        # Looking for the names first saves parsing most nodes, once more for each hit.
        if not isinstance(raw, str) or not any(f'"{key}"' in raw for key in _DOCUMENT_KEYS):
            return {}
        metadata = _node(raw, "").get("metadata")
        if not isinstance(metadata, Mapping):
            return {}
        return {key: value for key, value in metadata.items() if key in _DOCUMENT_KEYS}

    def id_of(self, payload: Payload, point: PassageId) -> PassageId:
        """Return the id that the tool's users know the passage by."""
        known = None if self.id_key is None else payload.get(self.id_key)
        return known if isinstance(known, str | int) else point

    def filter_path(self, key: str) -> str:
        """Return the payload path of a metadata path such as ``author.name``."""
        return f"{self.metadata_root}.{key}" if self.metadata_root else key


def top_segment(path: str) -> str:
    """Return the first segment of a payload path such as ``author.name``, ``tags[].name`` or ``"a.b".c``."""
    match = _TOP_SEGMENT.match(path)
    return match[0] if match else path


LANGCHAIN = Layout("langchain", "page_content", "metadata", sparse_names=("langchain-sparse",))
LANGCHAINJS = Layout("langchainjs", "content", "metadata", sparse_names=("langchain-sparse",))
LLAMAINDEX = Layout(
    "llamaindex",
    "_node_content",
    own_keys=_LLAMAINDEX_OWN,
    dense_names=("text-dense", ""),
    sparse_names=("text-sparse-new", "text-sparse"),
)
HAYSTACK = Layout(
    "haystack",
    "content",
    "meta",
    own_keys=frozenset({"blob", "score", "embedding", "sparse_embedding"}),
    id_key="id",
    dense_names=("text-dense", ""),
    sparse_names=("text-sparse",),
)
MCP = Layout("mcp", "document", "metadata")
FASTEMBED = Layout("fastembed", "document", sparse_names=("fast-sparse-bm25",))

TEXT_KEYS_OF_TOOLS = frozenset(
    layout.text_key for layout in (LANGCHAIN, LANGCHAINJS, LLAMAINDEX, HAYSTACK, MCP, FASTEMBED)
)
"""Where any of these tools keeps its text."""


@dataclass(frozen=True, slots=True)
class DenseVector:
    """A dense vector that a collection has.

    Attributes:
        name: Its name, empty for the unnamed one.
        size: Its length.
        distance: How it is compared, in Qdrant's words.
    """

    name: str
    size: int
    distance: str


def choose_dense(
    layout: Layout, vectors: Sequence[DenseVector], dimension: int, wanted: str | None = None
) -> DenseVector:
    """Return the dense vector to search in.

    Args:
        layout: Whose conventional names decide among several.
        vectors: What the collection has.
        dimension: Length of the encoder's vectors.
        wanted: The caller's choice.

    Raises:
        CollectionError: There is none, several without a reason to prefer one, or one of another length.
    """
    listed = ", ".join(f"{vector.name!r} ({vector.size}, {vector.distance})" for vector in vectors) or "none"
    if wanted is not None:
        chosen = [vector for vector in vectors if vector.name == wanted]
    elif len(vectors) == 1:
        chosen = list(vectors)
    else:
        chosen = [vector for vector in vectors if _is_conventional(layout, vector.name)]
    if len(chosen) != 1:
        what = f"has no dense vector {wanted!r}" if wanted is not None else "leaves open which dense vector to search"
        raise CollectionError(f"the collection {what}; found {listed}. Pass vector= with one of these names")
    if chosen[0].size != dimension:
        raise CollectionError(
            f"the dense vector {chosen[0].name!r} has {chosen[0].size} dimensions and the encoder makes {dimension}; "
            f"found {listed}. Pass encoder= with the model that wrote it, or vector= with another name"
        )
    return chosen[0]


def choose_sparse(layout: Layout, names: Sequence[str]) -> str | None:
    """Return the sparse vector to search in, ``None`` if there is none or no reason to prefer one of several."""
    for name in layout.sparse_names:
        if name in names:
            return name
    return names[0] if len(names) == 1 else None


def _is_conventional(layout: Layout, name: str) -> bool:
    return name.startswith("fast-") if layout.name in {"fastembed", "mcp"} else name in layout.dense_names


def _has_value(value: object) -> bool:
    return value is not None and value != []


def _node_text(raw: str, point: PassageId) -> str | None:
    node = _node(raw, point)
    resource = node.get("text_resource")
    text = node.get("text") if node.get("text") is not None else (resource or {}).get("text")
    return text if isinstance(text, str) else None


def _node(raw: str, point: PassageId) -> dict[str, Any]:
    try:
        node = json.loads(raw)
    except ValueError as error:
        raise PayloadError(f"point {point!r}: its _node_content is no JSON ({error}); index this node again") from error
    if not isinstance(node, dict):
        raise PayloadError(f"point {point!r}: its _node_content is no JSON object; index this node again")
    return node
