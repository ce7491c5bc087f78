"""Strict mode's complaint about a missing payload index, as the setting or the call that makes it. Pure."""

from __future__ import annotations

import re

from searchkit.collection.schema import FLAGS, METADATA

_START = 'Index required but not found for "'
_COMPLAINT = re.compile(_START + r'(?P<path>.+)" of one of the following types: \[(?P<kinds>[^\]]*)\]')
_SHORT_COMPLAINT = re.compile(_START + r'(?P<path>[^"]+)"(?P<kinds>)')
"""Without types, as older servers say it."""

_OURS = ("keyword", "integer", "float", "datetime", "text")


def missing_index(said: str, collection: str | None, *, can_declare: bool = True) -> str | None:
    """Return what is missing and how it is made, as the end of a sentence; ``None`` if ``said`` is about other things.

    Args:
        said: The server's message.
        collection: Name of the collection.
        can_declare: Whether `SearchKitConfig.filter_fields` makes indexes in it.
    """
    found = _COMPLAINT.search(said) or _SHORT_COMPLAINT.search(said)
    if found is None:
        return None
    path = found["path"]
    kinds = re.findall(r"[a-z]+", found["kinds"])
    kind = next((kind for kind in kinds if kind in _OURS), kinds[0] if kinds else "keyword")
    call = f'client.create_payload_index({collection or "<collection>"!r}, {path!r}, "{kind}")'
    field = _declared(path, kind) if can_declare else None
    if field is None:
        return f"the server filters indexed fields only [{said}]; make the index: {call}"
    return (
        f"the server filters indexed fields only [{said}]; declare the field and open the collection again: "
        f"SearchKitConfig(filter_fields={field!r}), or make the index yourself: {call}"
    )


def _declared(path: str, kind: str) -> dict[str, str] | None:
    root, _, name = path.partition(".")
    if not name or root not in {METADATA, FLAGS} or kind not in _OURS:
        return None
    return {name: "bool" if root == FLAGS else kind}
