"""Which collection a name leads to, what is noted on it, and the calls that reach it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

from qdrant_client import QdrantClient, models

from searchkit.collection.backends.client_calls import ClientCalls
from searchkit.collection.backends.client_connection import checked_client, is_local, lock_of, server_of
from searchkit.collection.backends.client_errors import MissingCollectionError
from searchkit.collection.backends.client_kept import kept_by
from searchkit.collection.backends.kept import Kept
from searchkit.collection.manifest import Manifest, read_manifest
from searchkit.collection.notes import Notes, read_notes
from searchkit.config import SearchKitConfig
from searchkit.errors import CollectionError, RetrievalTimeoutError

T = TypeVar("T")

MANIFEST_KEY = "searchkit"
"""Where the manifest lies in the collection's metadata."""
NOTES_KEY = "searchkit_notes"
"""Where the notes lie."""


class ForeignCollectionError(CollectionError):
    """The collection is there and has no manifest of ours."""


class ClientHome(ABC):
    """A name that a ``QdrantClient`` knows, and the collection behind it.

    The name is a collection's own, one whose notes lead to its successor, or an alias. It is followed once, when the
    manifest is found: an alias may be switched while this object lives, and what was opened stays what is searched.

    Args:
        client: The client.
        name: The name.
        config: Times, retries and the circuit breaker.
        place: Where it is, for messages.

    Raises:
        ConfigError: ``client`` is no ``QdrantClient``.
    """

    def __init__(self, client: QdrantClient, name: str, config: SearchKitConfig, *, place: str) -> None:
        self._client = checked_client(client)
        self._given_name = self._name = name
        self._follows = True
        self._notes = Notes()
        self._config = config
        self._place = place
        self._is_closed = False
        self._is_local = is_local(client)
        self._calls = self._calls_of(name)

    @property
    def location(self) -> str:
        """Name and place, for messages."""
        return f"the collection {self._name!r} at {self._place}"

    @property
    def name(self) -> str:
        """Name of the collection that is used."""
        return self._name

    @property
    def address(self) -> tuple[object, str]:
        """The server, or the client that holds the collection itself, and the name."""
        return server_of(self._client), self._name

    def find_manifest(self) -> Manifest | None:
        """Read the manifest from the collection's metadata."""
        try:
            info = self._call("open", lambda: self._client.get_collection(self._name))
        except MissingCollectionError:
            return None
        metadata = info.config.metadata or {}
        if MANIFEST_KEY not in metadata:
            raise ForeignCollectionError(
                f"{self.location} was not made by searchkit (its metadata has no {MANIFEST_KEY!r}); search it with "
                "SearchKit.attach, or choose another collection name (nothing was changed)"
            )
        manifest = read_manifest(metadata[MANIFEST_KEY], self.location)
        self._notes = read_notes(metadata.get(NOTES_KEY), self.location)
        return self._followed(self._notes) or manifest

    def _followed(self, notes: Notes) -> Manifest | None:
        """Use the collection that took this one's place, or that the name is an alias of, and return its manifest."""
        if not self._follows:
            return None
        target = notes.successor
        if not target and notes.name not in {"", self._name}:
            target = self._aliases().get(self._name, "")
        if not target:
            return None
        before = self.location
        self._use(target, follows=not notes.successor)
        manifest = self.find_manifest()
        if manifest is None:
            raise CollectionError(f"{before} leads to {target!r}, which is not there; restore it from a backup")
        return manifest

    def _use(self, name: str, *, follows: bool) -> None:
        self._name, self._follows = name, follows
        self._calls = self._calls_of(name)

    def _calls_of(self, name: str) -> ClientCalls:
        return ClientCalls(name, self.location, self._config, lock_of(self._client) if self._is_local else None)

    def _aliases(self) -> dict[str, str]:
        found = self._call("read the aliases of", self._client.get_aliases).aliases
        return {one.alias_name: one.collection_name for one in found}

    def notes(self) -> Notes:
        """Return the notes in the collection's metadata, as last read or written."""
        return self._notes

    def note(self, notes: Notes) -> None:
        """Write the notes into the collection's metadata, in one request."""
        self._call(
            "write to", lambda: self._client.update_collection(self._name, metadata={NOTES_KEY: notes.model_dump()})
        )
        self._notes = notes

    def leads_to(self) -> str:
        """Ask for the alias, or for the successor where the name is the collection's own."""
        aliased = self._aliases().get(self._given_name)
        return aliased or self._root().notes().successor or self._given_name

    def _root(self) -> ClientHome:
        root = self.sibling(self._given_name, self._config)
        if root.find_manifest() is None:
            raise CollectionError(f"{root.location} is gone; open what took its place by its own name")
        return root

    def kept(self, config: SearchKitConfig) -> Kept:
        """Ask the server; the in-memory mode keeps nothing but points."""
        if self._is_local:
            return Kept(config)
        return kept_by(self._call("read the settings of", lambda: self._client.get_collection(self._name)), config)

    def switch_to(self, successor: str) -> None:
        """Switch the alias, or note the successor where the name is the collection's own: one request either way."""
        if self._given_name not in self._aliases():
            root = self._root()
            root.note(root.notes().model_copy(update={"successor": successor}))
            return
        switch: list[Any] = [
            models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=self._given_name)),
            models.CreateAliasOperation(
                create_alias=models.CreateAlias(collection_name=successor, alias_name=self._given_name)
            ),
        ]
        self._call("switch", lambda: self._client.update_collection_aliases(switch))

    @abstractmethod
    def sibling(self, name: str, config: SearchKitConfig) -> ClientHome:
        """Return the collection of exactly this name that the same client reaches."""

    def drop(self) -> None:
        """Delete the collection; of one that leads to another, the points alone."""
        if self.notes().successor:
            # Noted first: a kit that still has it open must never take an emptied collection for one without hits.
            self.note(self.notes().model_copy(update={"is_dropped": True}))
            everything = models.FilterSelector(filter=models.Filter())
            self._write("delete from", lambda: self._client.delete(self._name, everything, wait=True))
        else:
            self._call("delete", lambda: self._client.delete_collection(self._name))

    def refuse_if_dropped(self) -> None:
        """Read the notes again: no server and no client tells who else has a collection open."""
        try:
            info = self._call("read the notes of", lambda: self._client.get_collection(self._name))
        except MissingCollectionError as error:
            raise CollectionError(
                f"{self.location} was deleted since it was opened; open {self._given_name!r} again with a new SearchKit"
            ) from error
        notes = read_notes((info.config.metadata or {}).get(NOTES_KEY), self.location)
        if notes.is_dropped:
            raise CollectionError(
                f"{self.location} was dropped after {notes.successor!r} took its place, and only leads there now; open "
                f"{self._given_name!r} again with a new SearchKit and what {notes.successor!r} was made with"
            )

    def _call(self, action: str, call: Callable[[], T]) -> T:
        if self._is_closed:
            raise CollectionError(f"{self.location} is closed; open it again with a new SearchKit")
        return self._calls.run(action, call)

    def _write(self, action: str, call: Callable[[], models.UpdateResult]) -> None:
        """Write, and do not return before the server says that it is done."""
        result = self._call(action, call)
        if result.status != models.UpdateStatus.COMPLETED:
            raise RetrievalTimeoutError(
                f"cannot {action} {self.location}: the server has taken the request but not carried it out (status "
                f"{result.status.value!r}); repeat the call, which writes nothing twice"
            )
