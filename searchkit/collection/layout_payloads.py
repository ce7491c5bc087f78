"""Writing a passage the way another tool lays it out, so that the tool reads it back as its own. Pure.

A passage that is there already keeps what searchkit does not show of it: a node's relationships and templates, and
keys that lie beside a metadata object.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from typing import Any

from searchkit.collection.layouts import Layout, Payload
from searchkit.errors import PayloadError
from searchkit.types import PassageId

_HAYSTACK_NAMESPACE = uuid.UUID("3896d314-1e95-4a3a-b45a-945f9f0b541d")
"""Haystack's own: its points are numbered by a UUIDv5 of the document's id."""
_HAYSTACK_FRAME = {"blob": None, "score": None}
_VECTOR_COPIES = frozenset({"embedding", "sparse_embedding"})
"""Own keys that would contradict a new vector."""

_NODE_FRAME: Mapping[str, Any] = {
    "id_": "",
    "embedding": None,
    "metadata": {},
    "excluded_embed_metadata_keys": [],
    "excluded_llm_metadata_keys": [],
    "relationships": {},
    "metadata_template": "{key}: {value}",
    "metadata_separator": "\n",
    "text": "",
    "mimetype": "text/plain",
    "start_char_idx": None,
    "end_char_idx": None,
    "text_template": "{metadata_str}\n\n{content}",
    "class_name": "TextNode",
}
"""A ``TextNode`` without anything special, as LlamaIndex dumps it."""
_NODE_ROOT = {"_node_type": "TextNode", "document_id": "None", "doc_id": "None", "ref_doc_id": "None"}
_FIELD = re.compile(r"\{(\w+)\}")


def point_for(layout: Layout, passage: PassageId) -> int | str:
    """Return the point id that the tool gives a passage, as Qdrant prints it.

    Raises:
        PayloadError: The tool cannot call a passage that.
    """
    if layout.name == "haystack":
        if isinstance(passage, int):
            raise PayloadError(f"the id {passage} is an integer, and Haystack's are strings; pass str(id)")
        return str(uuid.uuid5(_HAYSTACK_NAMESPACE, passage))
    if isinstance(passage, int):
        if layout.name == "llamaindex":
            raise PayloadError(f"the id {passage} is an integer, and LlamaIndex writes UUIDs only; pass a UUID")
        return passage
    try:
        return str(uuid.UUID(passage))
    except ValueError:
        raise PayloadError(
            f"the id {passage!r} cannot be a point of Qdrant, whose id is the passage's in a {layout.name} layout; "
            f"pass a UUID such as str(uuid.uuid5(uuid.NAMESPACE_URL, {passage!r})), a whole number, or no id"
        ) from None


def payload_for(
    layout: Layout, passage: PassageId, text: str, metadata: Mapping[str, Any], stored: Payload | None = None
) -> dict[str, Any]:
    """Return the payload of a passage.

    Args:
        layout: The tool's.
        passage: The passage's id; for a layout without ids in the payload the point's.
        text: Its text.
        metadata: Its metadata, JSON values.
        stored: The payload that it replaces.

    Raises:
        PayloadError: A metadata key is the place of something else in this layout.
    """
    before = stored or {}
    if layout.name == "llamaindex":
        return _node_payload(layout, passage, text, metadata, before)
    own = {key: before[key] for key in before if key in layout.own_keys - _VECTOR_COPIES}
    frame: dict[str, Any] = _HAYSTACK_FRAME if layout.name == "haystack" else {}
    payload = {**frame, **own, layout.text_key: text}
    if layout.id_key is not None:
        payload[layout.id_key] = passage
    if not layout.metadata_root:
        _check_keys(layout, metadata)
        return {**metadata, **payload}
    beside = {key: metadata.get(key, before[key]) for key in before if key not in layout.hidden_keys}
    stored_object = before.get(layout.metadata_root)
    held = stored_object if isinstance(stored_object, Mapping) else {}
    # What lies beside alone stays there alone; what lies in both places, as a copy for an index, is renewed in both.
    # A key beside that attaching did not see is not looked for there, so that it must be in the object.
    only_beside = {key for key in beside if key in layout.beside_keys and key not in held}
    inside = {key: value for key, value in metadata.items() if key not in only_beside}
    return {**beside, **payload, layout.metadata_root: inside}


def encoded_text(layout: Layout, payload: Payload) -> str:
    """Return what the tool encodes of a passage: its text, and for LlamaIndex the metadata above it.

    Args:
        layout: The tool's.
        payload: A payload of it, with a text.
    """
    if layout.name != "llamaindex":
        return str(payload[layout.text_key])
    node = {**_NODE_FRAME, **json.loads(payload[layout.text_key])}
    text = layout.text_of(payload, "") or ""
    excluded = set(node["excluded_embed_metadata_keys"] or ())
    lines = [
        _filled(node["metadata_template"], {"key": key, "value": str(value)})
        for key, value in (node["metadata"] or {}).items()
        if key not in excluded
    ]
    above = str(node["metadata_separator"]).join(lines).strip()
    return _filled(node["text_template"], {"metadata_str": above, "content": text}).strip() if above else text


def _node_payload(
    layout: Layout, passage: PassageId, text: str, metadata: Mapping[str, Any], before: Payload
) -> dict[str, Any]:
    covered = layout.covered_metadata(before)
    visible = {key: value for key, value in metadata.items() if key not in covered}
    _check_keys(layout, visible)
    node = json.loads(before[layout.text_key]) if before else dict(_NODE_FRAME)
    if layout.text_of(before, passage) != text:
        # Offsets into the source document are those of the old text.
        node.update({key: None for key in ("start_char_idx", "end_char_idx") if key in node})
    if "text_resource" in node and node.get("text") is None:
        node["text_resource"] = {**(node["text_resource"] or {}), "text": text}
    else:
        node["text"] = text
    node.update(id_=passage, metadata={**covered, **metadata})
    root = {**_NODE_ROOT, **{key: before[key] for key in before if key in layout.own_keys}}
    return {**visible, **root, layout.text_key: json.dumps(node, ensure_ascii=False)}


def _check_keys(layout: Layout, metadata: Mapping[str, Any]) -> None:
    taken = sorted(layout.hidden_keys.intersection(metadata))
    if taken:
        raise PayloadError(
            f"the metadata key {taken[0]!r} cannot be written: a {layout.name} layout keeps its own there; rename it"
        )


def _filled(template: object, values: Mapping[str, str]) -> str:
    # Not str.format: the template is stored data, and could ask for more than these fields.
    return _FIELD.sub(lambda match: values.get(match[1], match[0]), str(template))
