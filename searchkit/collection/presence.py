"""Whether a collection is there: finds, creates, opens and closes it once for all views of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from searchkit.collection.backends.base import Backend
from searchkit.collection.manifest import Manifest, check_manifest
from searchkit.collection.notes import check_finished
from searchkit.errors import CollectionError

T = TypeVar("T")


class Presence:
    """The life of one collection in its backend. Safe to use from several threads.

    Args:
        backend: The engine that holds it.
        make_manifest: Returns what the parts given would make; called once, when it is first needed.
        purpose: What is being made of it; it is created unfinished then, and an unfinished one of this purpose opens.

    Attributes:
        manifest: What the collection was made with, once it is open.
    """

    def __init__(self, backend: Backend, make_manifest: Callable[[], Manifest], purpose: str) -> None:
        self.manifest: Manifest | None = None
        self._backend = backend
        self._make_manifest = make_manifest
        self._purpose = purpose
        self._lock = threading.RLock()
        self._ours: Manifest | None = None
        self._is_closed = False

    def open(self) -> bool:
        """Open the collection if it exists, after comparing its manifest with ours; return whether it does.

        Raises:
            CollectionError: It is damaged, locked, closed, or was made with other settings.
        """
        if self.manifest is not None and not self._is_closed:
            return True
        with self._lock:
            if self._is_closed:
                raise CollectionError(f"{self._backend.location} is closed; open it again with a new SearchKit")
            stored = self._backend.find_manifest()
            if stored is None:
                return False
            self._attach(stored)
            return True

    def close(self) -> None:
        """Release the collection; safe to call twice."""
        with self._lock:
            self._is_closed = True
            self._backend.close()

    def create(self) -> None:
        """Create the collection unless it is open already."""
        with self._lock:
            if self.manifest is None:
                self._attach(self._backend.create(self.ours(), self._purpose))

    def require(self) -> Manifest:
        """Return the manifest of the open collection.

        Raises:
            CollectionError: It does not exist.
        """
        if not self.open() or self.manifest is None:
            raise CollectionError(
                f"{self._backend.location} does not exist yet; add passages first, or check its name and place"
            )
        return self.manifest

    def confirm(self, answer: T) -> T:
        """Return an answer of the open collection; an empty one only after asking whether it was dropped since.

        Raises:
            CollectionError: It was: what is left of it answers nothing and leads to another collection.
        """
        if not answer:
            self._backend.refuse_if_dropped()
        return answer

    def ours(self) -> Manifest:
        """Return what the parts given would make."""
        with self._lock:
            if self._ours is None:
                self._ours = self._make_manifest()
            return self._ours

    def _attach(self, stored: Manifest) -> None:
        check_finished(self._backend.notes(), self._purpose, self._backend.location)
        check_manifest(stored, self.ours(), self._backend.location)
        self._backend.open()
        self.manifest = stored
