"""What a collection was made with, written beside it and compared at every open.

A model changed under a collection gives silent garbage. (A store that lost points does too: see
`searchkit.collection.ledger`.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import ConfigDict, ValidationError

from searchkit.collection.windows import SPLITTER, WindowPlan
from searchkit.config import SearchKitConfig
from searchkit.errors import CollectionError, ConfigError, StoreFormatError
from searchkit.stages import Encoder, EncoderFingerprint, SparseEncoder
from searchkit.types import Frozen

SCHEMA_VERSION = 1
SPECIAL_TOKENS = 2
"""Tokens that an encoder adds around a text, [CLS] and [SEP] for most."""


class Manifest(Frozen):
    """Everything that decides what the points of a collection mean.

    Attributes:
        schema_version: Version of the payload layout.
        encoder: The bi-encoder.
        sparse_encoder: The lexical encoder with its settings.
        dense_vector: Name of the dense vector.
        sparse_vector: Name of the sparse vector.
        distance: How dense vectors are compared.
        dtype: Type of their numbers.
        is_normalised: Whether they have unit length.
        splitter: Name of the way long texts are split.
        window_tokens: Longest window in tokens.
        overlap_tokens: Tokens that neighbouring windows share.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")  # a later minor version may add fields

    schema_version: int = SCHEMA_VERSION
    encoder: EncoderFingerprint
    sparse_encoder: EncoderFingerprint
    dense_vector: str
    sparse_vector: str
    distance: Literal["cosine"] = "cosine"
    dtype: Literal["float32"] = "float32"
    is_normalised: bool = True
    splitter: str = SPLITTER
    window_tokens: int
    overlap_tokens: int

    @property
    def window_plan(self) -> WindowPlan:
        """Length and overlap of windows."""
        return WindowPlan(self.window_tokens, self.overlap_tokens)


def manifest_of(encoder: Encoder, sparse_encoder: SparseEncoder, config: SearchKitConfig) -> Manifest:
    """Return the manifest of a collection made with these parts.

    Raises:
        ConfigError: The windows do not fit the encoder, or both vectors have one name.
    """
    if config.vector_name == config.sparse_vector_name:
        raise ConfigError(f"vector_name and sparse_vector_name are both {config.vector_name!r}; name them differently")
    fingerprint = encoder.fingerprint()
    room = encoder.max_tokens - SPECIAL_TOKENS - len(encoder.token_spans(fingerprint.passage_prompt))
    wanted = config.windows.max_tokens
    if wanted is not None and wanted > room:
        raise ConfigError(
            f"windows.max_tokens={wanted} is more than the encoder {fingerprint.model!r} can read: {room} tokens "
            f"beside its special tokens and prompt; use at most {room}, or None"
        )
    window_tokens = wanted or room
    overlap = config.windows.overlap_tokens
    if "overlap_tokens" not in config.windows.model_fields_set and overlap * 2 > window_tokens:
        overlap = window_tokens // 4  # nobody asked for as much in so small a window
    if window_tokens < 1 or overlap * 2 > window_tokens:
        raise ConfigError(
            f"windows.overlap_tokens={overlap} is more than half of a window of {window_tokens} tokens; lower it"
        )
    return Manifest(
        encoder=fingerprint,
        sparse_encoder=sparse_encoder.fingerprint(),
        dense_vector=config.vector_name,
        sparse_vector=config.sparse_vector_name,
        window_tokens=window_tokens,
        overlap_tokens=overlap,
    )


def read_manifest(stored: object, location: str) -> Manifest:
    """Return a stored manifest.

    Raises:
        StoreFormatError: It was written by a version with another layout.
        CollectionError: It is damaged.
    """
    version = stored.get("schema_version") if isinstance(stored, Mapping) else None
    if version != SCHEMA_VERSION and isinstance(version, int):
        raise StoreFormatError(
            f"{location} has the layout version {version}, this searchkit reads {SCHEMA_VERSION}; use the searchkit "
            "version that wrote it, or add the passages to a new collection"
        )
    try:
        return Manifest.model_validate(stored)
    except ValidationError as error:
        raise CollectionError(
            f"the manifest of {location} is damaged ({error.error_count()} wrong fields); restore it from a backup, "
            "or add the passages to a new collection"
        ) from error


_ENCODER_FIX = "open it with the encoder it was made with, or add the passages to a new collection"
_LEXICAL_FIX = (
    'open it with the one it was made with, as in sparse_encoder=Bm25Encoder("german"), or add the passages to a '
    "new collection"
)
_CONFIG_FIX = "set SearchKitConfig to the stored value, or add the passages to a new collection"


def check_manifest(stored: Manifest, ours: Manifest, location: str) -> None:
    """Compare the manifest of a collection with that of the parts it is opened with.

    Raises:
        CollectionError: They differ; the message names both values and the fix.
    """
    for label, there, here, fix in _comparisons(stored, ours):
        if there != here:
            raise CollectionError(f"{location} was made with {label} {there!r}, but is opened with {here!r}: {fix}")


def _comparisons(stored: Manifest, ours: Manifest) -> Iterable[tuple[str, Any, Any, str]]:
    yield from _encoder_comparisons("encoder", stored.encoder, ours.encoder, _ENCODER_FIX)
    yield from _encoder_comparisons("sparse encoder", stored.sparse_encoder, ours.sparse_encoder, _LEXICAL_FIX)
    for name, label in _CONFIG_LABELS.items():
        yield label, getattr(stored, name), getattr(ours, name), _CONFIG_FIX


_CONFIG_LABELS = {
    "dense_vector": "vector_name",
    "sparse_vector": "sparse_vector_name",
    "distance": "the distance",
    "dtype": "the vector type",
    "is_normalised": "normalised vectors",
    "splitter": "the text splitter",
    "window_tokens": "windows.max_tokens",
    "overlap_tokens": "windows.overlap_tokens",
}


def _encoder_comparisons(
    role: str, stored: EncoderFingerprint, ours: EncoderFingerprint, fix: str
) -> Iterable[tuple[str, Any, Any, str]]:
    # A name may differ between two copies of one model (a folder here, a hub name there); hashes decide.
    there, here = f"{stored.model} ({stored.weight_hash[:12]})", f"{ours.model} ({ours.weight_hash[:12]})"
    yield f"{role} dimension", stored.dimension, ours.dimension, fix
    if stored.weight_hash != ours.weight_hash:
        yield f"the {role}", there, here, fix
    for name in ("kind", "tokenizer_hash", "max_tokens", "query_prompt", "passage_prompt"):
        yield f"{role} {name}", getattr(stored, name), getattr(ours, name), fix
