"""A collection built again for another encoder or other windows, beside the old one, and put in its place.

The old collection is read and searched all the while. Kits that were opened before the switch go on with it; whoever
opens the name afterwards gets the new one. The old one stays until `drop_previous`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from itertools import count

from searchkit.collection.backends.base import Backend
from searchkit.collection.backends.kept import Kept
from searchkit.collection.collection import Collection
from searchkit.collection.manifest import Manifest, check_manifest, manifest_of
from searchkit.config import SearchKitConfig
from searchkit.errors import CollectionError, ConfigError
from searchkit.evaluation import ComparisonReport, JudgedQueries, compare_searchers
from searchkit.face import KitFace
from searchkit.kit import SearchKit
from searchkit.moving.rebuilding import collection_beside, prune, stored_records
from searchkit.parts import wired
from searchkit.stages import Encoder
from searchkit.types import Frozen

_log = logging.getLogger(__name__)

_MOST_ROUNDS = 5
"""How often what was written meanwhile is brought over before the rest is left to the caller."""


class ReindexReport(Frozen):
    """What one reindexing did.

    Attributes:
        collection: The name that both are opened by.
        built: The collection that was built, by its own name.
        previous: The collection that was read; it is kept.
        passages: Passages in the new collection.
        encoded: Passages that this call encoded; the rest was there from an interrupted one.
        is_switched: Whether the name leads to the new collection now.
        comparison: Old and new on the judged queries, the old one as the baseline; ``None`` without queries.
        seconds: Wall-clock time of the call.
    """

    collection: str
    built: str
    previous: str
    passages: int
    encoded: int
    is_switched: bool
    comparison: ComparisonReport | None
    seconds: float


def reindex(
    kit: SearchKit,
    *,
    encoder: Encoder | None = None,
    config: SearchKitConfig | None = None,
    judged: JudgedQueries | None = None,
    switch: bool = True,
    on_progress: Callable[[int], None] | None = None,
) -> ReindexReport:
    """Build the collection of ``kit`` again from its stored passages, and put the new one in its place.

    Interrupted, it is finished by the same call; a call for another encoder or other windows builds beside it, with the
    next number. Passages that are added to the old collection meanwhile are brought over before the switch, as long as
    fewer come than are encoded; what is written to it afterwards stays there.

    Args:
        kit: The collection as it is; it goes on searching the old one.
        encoder: Bi-encoder of the new collection; ``None`` takes the kit's.
        config: Settings of the new collection; ``None`` takes the kit's.
        judged: Queries to measure old and new with, before the switch.
        switch: Whether the new collection takes the old one's place; if not, a later call with the same arguments
            switches.
        on_progress: Gets the number of passages finished since its last call.

    Raises:
        ConfigError: The kit is attached or scoped, or its settings are those of the new collection.
        CollectionError: The collection does not exist, or was switched since the kit was opened.
    """
    started = time.perf_counter()
    old = _own_collection(kit)
    if not old.count():
        raise CollectionError(f"{old.location} holds no passages; add some first, or delete it")
    new = _successor(old, encoder, config)
    try:
        encoded = _bring_over(old, new, on_progress)
        comparison = None if judged is None else _compared(kit, new, judged)
        if switch:
            _switch(old, new)
        return ReindexReport(
            collection=old.name,
            built=new.backend.name,
            previous=old.backend.name,
            passages=new.count(),
            encoded=encoded,
            is_switched=switch,
            comparison=comparison,
            seconds=time.perf_counter() - started,
        )
    finally:
        new.close()


def settings_as_kept(kit: SearchKit) -> Kept:
    """Return the kit's settings with filter fields and storage as the engine has them, and what no setting can say.

    For programs that open a collection without having been told how it is kept, as the command line does.

    Raises:
        ConfigError: The kit is attached or scoped.
        CollectionError: The collection does not exist, or was switched since the kit was opened.
    """
    collection = _own_collection(kit)
    return collection.backend.kept(collection.config)


def drop_previous(kit: SearchKit) -> list[str]:
    """Delete the collections whose place the kit's took, and return their names, the youngest first.

    Kits that still have one of them open fail from then on, with an error that says so.

    Raises:
        ConfigError: The kit is attached or scoped.
        CollectionError: One is open in another process, or in this one, where the engine can tell.
    """
    collection = _own_collection(kit)
    backend = collection.backend
    dropped = []
    name = backend.notes().previous
    while name:
        previous = backend.sibling(name, collection.config)
        if previous.find_manifest() is None:
            break
        older = previous.notes().previous
        previous.drop()
        dropped.append(name)
        name = older
    if dropped:
        backend.note(backend.notes().model_copy(update={"previous": ""}))
    return dropped


def _own_collection(kit: KitFace) -> Collection:
    if not isinstance(kit, SearchKit) or not isinstance(kit.parts.collection, Collection):
        raise ConfigError(f"{kit!r} is attached or scoped: only a SearchKit of a collection of its own is built again")
    collection = kit.parts.collection
    if not collection.open():
        raise CollectionError(f"{collection.location} does not exist yet; add passages first")
    current = collection.backend.leads_to()
    if current != collection.backend.name:
        raise CollectionError(
            f"{collection.name!r} leads to {current!r} since this kit was opened; open it again with a new SearchKit"
        )
    return collection


def _successor(old: Collection, encoder: Encoder | None, config: SearchKitConfig | None) -> Collection:
    """Return the collection to build: an earlier attempt at the same one, or the next free name."""
    purpose, settings = f"reindexing of {old.name!r}", config or old.config
    for number in count(2):
        name = f"{old.name}-{number}"
        backend = old.backend.sibling(name, settings)
        try:
            stored = backend.find_manifest()
        except CollectionError:  # not ours
            continue
        if name == old.backend.name:
            continue
        if stored is not None:
            if backend.notes().unfinished != purpose and backend.notes().previous != old.backend.name:
                continue
            other = _difference(stored, manifest_of(encoder or old.encoder, old.sparse_encoder, settings), backend)
            if other:  # a rejected trial, or one that another process builds at this moment: nothing tells which
                _log.info("left alone, as this reindexing makes another collection: %s", other)
                continue
        return collection_beside(old, backend, encoder, config, purpose)
    raise AssertionError("numbers do not end")


def _difference(stored: Manifest, wanted: Manifest, backend: Backend) -> str:
    """Return in words how an earlier attempt differs from what is to be made; nothing if it does not."""
    try:
        check_manifest(stored, wanted, backend.location)
    except CollectionError as error:
        return str(error).partition(": ")[0]  # what comes after says how to open it
    return ""


def _bring_over(old: Collection, new: Collection, on_progress: Callable[[int], None] | None) -> int:
    encoded = 0
    for _ in range(_MOST_ROUNDS):
        report = new.write(stored_records(old), on_progress)
        pruned = prune(new, old)
        encoded += report.added + report.updated
        if not report.added + report.updated + pruned:
            return encoded
        on_progress = None  # the later rounds find little
    _log.warning("%s is written to all the time: what came last stays in the old collection", old.location)
    return encoded


def _compared(kit: SearchKit, new: Collection, judged: JudgedQueries) -> ComparisonReport:
    face = KitFace(wired(new, new.encoder, new.sparse_encoder, kit.reranker, new.config))
    try:
        return compare_searchers({"old": kit, "new": face}, judged)[0]
    finally:
        face.parts.scheduled.close()
        face.parts.threads.shutdown()


def _switch(old: Collection, new: Collection) -> None:
    # Finished first: whatever interrupts this, the name leads to a complete collection.
    notes = new.backend.notes()
    new.backend.note(notes.model_copy(update={"unfinished": "", "previous": old.backend.name}))
    old.backend.switch_to(new.backend.name)
