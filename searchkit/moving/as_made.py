"""A kit opened with what its collection was made with, read off the manifest."""

from __future__ import annotations

from pathlib import Path

from searchkit.config import SearchKitConfig, WindowConfig
from searchkit.encoding import Bm25Encoder, FastEmbedEncoder, SentenceEncoder
from searchkit.errors import CollectionError, ConfigError, EncodingError
from searchkit.kit import SearchKit
from searchkit.moving.places import Location, stored_manifest
from searchkit.stages import Encoder, EncoderFingerprint, Reranker, SparseEncoder


def open_as_made(place: Location, *, encoder_folder: str | None = None, reranker: Reranker | None = None) -> SearchKit:
    """Return a kit with the windows and the encoders that the collection was made with; the defaults for a new one.

    For programs that are told a collection and nothing else, as the command line is. An encoder is found by the name
    that the manifest has, BM25 by its language; the manifest's hash then says whether it is the same one.

    Args:
        place: Where the collection is, or will be.
        encoder_folder: Folder of the encoder, for one that is not found by its name; of a new collection, the folder of
            a sentence-transformers model to make it with.
        reranker: The second stage, which no manifest knows of; ``None`` is the default one.

    Raises:
        CollectionError: The encoder is not found by its name, or is of a kind that has none.
    """
    manifest = stored_manifest(place, SearchKitConfig())
    if manifest is None:
        encoder = None if encoder_folder is None else SentenceEncoder(Path(encoder_folder))
        return _open(place, encoder, None, reranker, None)
    windows = WindowConfig(max_tokens=manifest.window_tokens, overlap_tokens=manifest.overlap_tokens)
    config = SearchKitConfig(
        windows=windows, vector_name=manifest.dense_vector, sparse_vector_name=manifest.sparse_vector
    )
    made_with = _encoder_of(manifest.encoder, place.collection, encoder_folder)
    return _open(place, made_with, _sparse_encoder_of(manifest.sparse_encoder, place.collection), reranker, config)


def _open(
    place: Location,
    encoder: Encoder | None,
    sparse_encoder: SparseEncoder | None,
    reranker: Reranker | None,
    config: SearchKitConfig | None,
) -> SearchKit:
    return SearchKit(
        place.collection,
        path=place.path,
        url=place.url,
        client=place.client,
        api_key=place.api_key,
        encoder=encoder,
        sparse_encoder=sparse_encoder,
        reranker=reranker,
        config=config,
    )


def _encoder_of(made_with: EncoderFingerprint, collection: str, folder: str | None) -> Encoder:
    encoder = _named_encoder(made_with, collection, made_with.model if folder is None else Path(folder))
    if folder is None:
        try:
            encoder.fingerprint()  # which opening compares: nothing is looked up twice
        except (EncodingError, ConfigError) as error:
            raise CollectionError(
                f"{collection!r} was made with the encoder {made_with.model!r}, and no model of that name can be "
                "opened here; say where its folder is: --encoder-folder, or in Python "
                f"SearchKit(..., encoder=SentenceEncoder(folder)) [{error}]"
            ) from error
    return encoder


def _named_encoder(made_with: EncoderFingerprint, collection: str, model: str | Path) -> Encoder:
    query_prompt, passage_prompt = made_with.query_prompt, made_with.passage_prompt
    if made_with.kind == "sentence-transformers":
        return SentenceEncoder(model, query_prompt=query_prompt, passage_prompt=passage_prompt)
    if made_with.kind == "fastembed":
        return FastEmbedEncoder(model, query_prompt=query_prompt, passage_prompt=passage_prompt)
    raise CollectionError(
        f"{collection!r} was made with {made_with.model!r}, an encoder of the kind {made_with.kind!r}, which cannot be "
        "found by its name; open it in Python with SearchKit(..., encoder=...)"
    )


def _sparse_encoder_of(made_with: EncoderFingerprint, collection: str) -> SparseEncoder:
    try:
        if made_with.kind == "bm25":
            return Bm25Encoder(made_with.model.removeprefix("bm25-"))
    except ConfigError as error:
        raise _unknown_sparse_encoder(made_with, collection) from error
    raise _unknown_sparse_encoder(made_with, collection)


def _unknown_sparse_encoder(made_with: EncoderFingerprint, collection: str) -> CollectionError:
    return CollectionError(
        f"{collection!r} was made with {made_with.model!r}, a sparse encoder of the kind {made_with.kind!r}, which "
        "cannot be found by its name; open it in Python with SearchKit(..., sparse_encoder=...)"
    )
