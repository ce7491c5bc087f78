"""The collection: stage 1 of the search, and everything that reads and writes passages."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from searchkit.collection.backends.base import Backend
from searchkit.collection.deleting import delete_passages
from searchkit.collection.filters import IS_FIRST_WINDOW, Condition, parse_filter
from searchkit.collection.ingest import Writer
from searchkit.collection.manifest import manifest_of
from searchkit.collection.passages import Record, RecordStream, check_selection, checked_ids
from searchkit.collection.presence import Presence
from searchkit.collection.reading import read_passages
from searchkit.collection.retrieval import retrieve
from searchkit.collection.schema import first_points, key_of, point_id
from searchkit.collection.scope import EVERYTHING, Scope
from searchkit.config import SearchKitConfig
from searchkit.errors import CollectionError
from searchkit.stages import Candidate, Encoder, RetrievalRequest, SparseEncoder, TokenReader
from searchkit.types import AddReport, Passage, PassageId


class Collection:
    """Passages with their vectors in one Qdrant collection. Safe to use from several threads.

    Made by `searchkit.collection.open_collection`.

    Args:
        name: Name of the collection.
        backend: The engine that holds it.
        encoder: Encodes passages.
        sparse_encoder: Encodes them for BM25.
        config: Settings.
        token_reader: The reranker, if it can read token ids that are stored with the windows.
        purpose: What is being made of it; it is created unfinished then, and an unfinished one of this purpose opens.
    """

    def __init__(
        self,
        name: str,
        backend: Backend,
        encoder: Encoder,
        sparse_encoder: SparseEncoder,
        config: SearchKitConfig,
        token_reader: TokenReader | None = None,
        *,
        purpose: str = "",
    ) -> None:
        self._name = name
        self._backend = backend
        self._encoder = encoder
        self._sparse_encoder = sparse_encoder
        self._config = config
        self._token_reader = token_reader if config.ingest.store_tokens else None
        self._scope = EVERYTHING
        self._presence = Presence(backend, lambda: manifest_of(encoder, sparse_encoder, config), purpose)

    def __repr__(self) -> str:
        return f"<Collection {self._name!r}: {self.location}>"

    @property
    def name(self) -> str:
        """Name of the collection."""
        return self._name

    @property
    def location(self) -> str:
        """Where the collection lies, for messages."""
        return self._backend.location

    @property
    def backend(self) -> Backend:
        """The engine that holds it."""
        return self._backend

    @property
    def encoder(self) -> Encoder:
        """What encodes passages."""
        return self._encoder

    @property
    def sparse_encoder(self) -> SparseEncoder:
        """What encodes them for BM25."""
        return self._sparse_encoder

    @property
    def token_reader(self) -> TokenReader | None:
        """The reranker, if it can read token ids that are stored with the windows, and they are."""
        return self._token_reader

    @property
    def config(self) -> SearchKitConfig:
        """The settings."""
        return self._config

    @property
    def exists(self) -> bool:
        """Whether the collection has been created."""
        return self._presence.manifest is not None or self._backend.find_manifest() is not None

    @property
    def is_read_only(self) -> bool:
        """Whether writing is refused."""
        return self._config.read_only or self._backend.is_read_only

    def scoped(self, scope: Scope) -> Collection:
        """Return a view that reads and writes what lies within ``scope`` alone; it is open and closed as this is."""
        view = copy.copy(self)
        view._scope = scope
        return view

    def open(self) -> bool:
        """Open the collection if it exists, after comparing its manifest with ours; return whether it does.

        Raises:
            CollectionError: It is damaged, locked, closed, or was made with other settings.
        """
        return self._presence.open()

    def close(self) -> None:
        """Release the collection; safe to call twice. A client that was given stays open."""
        self._presence.close()

    def add(
        self,
        passages: Iterable[str | Mapping[str, Any] | Passage],
        *,
        on_progress: Callable[[int], None] | None = None,
    ) -> AddReport:
        """Write passages and report what happened to each.

        Args:
            passages: Any iterable; a sequence is checked completely before anything is written.
            on_progress: Called with the number of passages finished since its last call.

        Raises:
            PayloadError: A passage is unusable, or one id came twice with different contents.
            EncodingError: An encoder returned unusable vectors.
            CollectionError: The collection was made with other settings, or is locked, damaged, closed or read-only.
        """
        self._refuse_if_read_only("add to")
        stream = RecordStream(passages, self._config.ingest.max_passage_chars, self._scope, self._config.filter_fields)
        return self._writer().write(stream, on_progress)

    def _writer(self) -> Writer:
        self.open()
        return Writer(
            backend=self._backend,
            manifest=self._presence.ours(),
            encoder=self._encoder,
            sparse_encoder=self._sparse_encoder,
            config=self._config.ingest,
            is_there=self._is_there,
            ensure=self._create,
            scope=self._scope,
            tokens=None if self._token_reader is None else self._token_reader.token_writer(),
        )

    def write(self, records: Iterable[Record], on_progress: Callable[[int], None] | None = None) -> AddReport:
        """Write records that are checked, under the keys that they carry; see `add`."""
        return self._writer().write(records, on_progress)

    def delete(self, ids: Sequence[PassageId] | None = None, filter: Any = None) -> int:  # noqa: A002
        """Delete passages by id or by filter, exactly one of the two, and return how many there were.

        Raises:
            ConfigError: Both or neither are given, or the filter is empty or unusable.
            CollectionError: The collection does not exist.
        """
        check_selection(ids, filter)
        self._refuse_if_read_only("delete from")
        if ids is not None:
            firsts = [first for passage_id in checked_ids(ids) for first in self._firsts(passage_id)]
            self._presence.require()
            return self._presence.confirm(self.delete_passages(list(dict.fromkeys(firsts))))
        self._presence.require()
        matching = [point for page in self._backend.scan(self._native(filter)) for point in page]
        return self._presence.confirm(self.delete_passages(first_points(matching)))

    def optimize(self, *, wait: bool = True) -> bool:
        """Build the index over what was written since it was last built.

        The embedded engine does it in another process, on a copy, while this one searches and writes. A server does
        it by itself, so there is nothing to do.

        Args:
            wait: Whether to return when it is done, or at once.

        Returns:
            With ``wait``, whether anything was rebuilt; else whether that is under way.

        Raises:
            RetrievalError: It failed; the collection is as it was.
            CollectionError: The collection does not exist, is read-only, or was closed meanwhile.
        """
        self._refuse_if_read_only("optimize")
        self._presence.require()
        return self._backend.optimize(wait=wait)

    @property
    def is_optimizing(self) -> bool:
        """Whether the index is being built by this process."""
        return self._backend.is_optimizing

    def get(self, ids: Sequence[PassageId]) -> list[Passage]:
        """Return whole passages in the order asked; unknown ids are left out.

        Raises:
            CollectionError: The collection does not exist, or a passage is incomplete.
        """
        wanted = checked_ids(ids)
        self._presence.require()
        firsts = [self._firsts(passage_id) for passage_id in wanted]
        known = read_passages(self._backend, list(chain.from_iterable(firsts)), self._scope, self.location)
        found = (next((known[first] for first in places if first in known), None) for places in firsts)
        return self._presence.confirm([passage for passage in found if passage is not None])

    def whole_texts(self, candidates: Sequence[Candidate]) -> dict[PassageId, str]:
        """Return the texts of the passages that candidates are windows of, by `Candidate.passage`.

        A passage that was deleted since is left out.

        Raises:
            CollectionError: The collection does not exist, or a passage is incomplete.
        """
        self._presence.require()
        firsts = {candidate.passage: point_id(candidate.key) for candidate in candidates if candidate.key is not None}
        known = read_passages(self._backend, list(firsts.values()), self._scope, self.location)
        return {passage: known[first].text for passage, first in firsts.items() if first in known}

    def count(self, filter: Any = None) -> int:  # noqa: A002
        """Return the number of passages, or of those that match ``filter``.

        Raises:
            CollectionError: The collection does not exist.
        """
        self._presence.require()
        if filter is None or isinstance(filter, Mapping):
            return self._presence.confirm(self._backend.count(self._native(filter, IS_FIRST_WINDOW)))
        keys = {key_of(point) for page in self._backend.scan(self._native(filter)) for point in page}
        return len(self._presence.confirm(keys))

    def retrieve(self, requests: Sequence[RetrievalRequest]) -> list[list[Candidate]]:
        """Return each request's candidates, best first: at most ``depth`` passages, each with its best windows.

        The windows of a passage follow each other and share its evidence. Equal scores are ordered by the best rank
        in a leg, then by id.

        Raises:
            CollectionError: The collection does not exist.
            ConfigError: A filter or a depth is unusable.
            EncodingError: A query vector is unusable.
        """
        manifest = self._presence.require()
        pairs = [(request, self._native(request.filter)) for request in requests]
        found = retrieve(self._backend, manifest, self._config, pairs, self._scope)
        self._presence.confirm(all(found))
        return found

    def _native(self, raw: Any, *conditions: Condition) -> Any:
        """Return the engine's filter for the scope, ``conditions`` and a filter of the caller's together."""
        # The scope comes first: engines that stop at the first part that fails never look at what lies outside it.
        ours = [one for one in (self._scope.condition, *conditions) if one is not None]
        if isinstance(raw, Mapping) and raw:
            ours.append(parse_filter(raw))
        parts = [self._backend.render(one) for one in ours]
        if raw is not None and not isinstance(raw, Mapping):
            parts.append(self._backend.accept(raw))
        if len(parts) < 2:
            return parts[0] if parts else None
        return self._backend.all_of(parts)

    def _firsts(self, passage_id: PassageId) -> list[int]:
        """Return the first points where a passage of this id may lie, the most likely one first."""
        return [point_id(key) for key in (self._scope.key(passage_id), *self._scope.other_keys(passage_id))]

    def _is_there(self) -> bool:
        """Whether the collection exists; if so, it is open and ready to be written through the scope."""
        is_there = self.open()
        if is_there:
            self._backend.refuse_if_dropped()
            self._backend.index(self._scope.index_kinds)
        return is_there

    def _refuse_if_read_only(self, what: str) -> None:
        if self.is_read_only:
            raise CollectionError(
                f"cannot {what} {self.location}: it was opened read-only; open it with SearchKitConfig(read_only=False)"
            )

    def _create(self) -> None:
        self._presence.create()
        self._backend.index(self._scope.index_kinds)

    def delete_passages(self, firsts: Sequence[int]) -> int:
        """Delete the passages with these first points, whole, and return how many there were."""
        return delete_passages(self._backend, self._scope, firsts)
