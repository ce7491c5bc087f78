"""Examining and repairing the folder of an embedded collection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from searchkit.collection.backends.folder import CollectionFolder, StoreRecord, collection_folder
from searchkit.collection.backends.folder_chart import (
    Chart,
    compare,
    index_finding,
    look_at_files,
    look_at_journal,
    look_at_leftovers,
    look_at_record,
)
from searchkit.collection.backends.folder_notes import NOTES_NAME, read_folder_notes
from searchkit.collection.backends.owner import find_owner
from searchkit.collection.backends.salvage import DAMAGED, Evidence, agrees_with, prove, rebuild, take_over, tidy
from searchkit.collection.diagnosis import (
    Diagnosis,
    Finding,
    State,
    lost_ids,
    made_with,
    other_format,
    proof_findings,
    state_of,
)
from searchkit.collection.manifest import Manifest, manifest_of
from searchkit.config import SearchKitConfig
from searchkit.errors import CollectionError, RetrievalError, SearchkitError, StoreFormatError
from searchkit.stages import Encoder, SparseEncoder, TokenWriter
from searchkit.types import PassageId

Encoders = Callable[[], tuple[Encoder, SparseEncoder]]


class FolderDoctor:
    """Examines one collection.

    Args:
        name: Its name.
        root: The folder that its own lies in.
        config: Settings, as far as a repair needs them.
        encoders: Makes the encoders, if a repair needs them.
        tokens: Tells stored token ids of another tokenizer.
    """

    def __init__(
        self,
        name: str,
        root: str | Path,
        config: SearchKitConfig,
        encoders: Encoders | None,
        tokens: TokenWriter | None,
    ) -> None:
        self._name = name
        self._root = Path(root)
        self._config = config
        self._make_encoders = encoders
        self._made: tuple[Encoder, SparseEncoder] | None = None
        self._tokens = tokens

    def examine(self, *, repair: bool) -> Diagnosis:
        """Say what is wrong, after repairing it if asked to."""
        folder, notes = self._follow(self._folder())
        if not folder.path.is_dir() or not any(folder.path.iterdir()):
            return self._diagnosis(folder, Chart(), state="missing")
        owner = find_owner(folder.lock_file)
        try:
            lock = folder.lock()
        except CollectionError as error:
            finding = Finding(
                subject="owner", severity="note", text=str(error), remedy="examine it again when it is closed"
            )
            return self._diagnosis(folder, Chart([*notes, finding]), state="in use")
        with lock, folder.mapped_os_errors():
            refusal = _refusal(folder)
            if refusal is not None:
                return self._diagnosis(folder, Chart([*notes, other_format(refusal)]), state="other format")
            chart = self._look(folder)
            if owner is not None:
                chart.tell(Finding(subject="owner", severity="fine", text=f"nobody; the last one was {owner}"))
            lost, missing = self._lost(chart)
            repaired = self._repair(folder, chart) if repair else ()
            if repaired:
                chart = self._look(folder)
        chart.findings[:0] = notes
        return self._diagnosis(folder, chart, lost=lost, lost_count=missing, repaired=repaired)

    def _folder(self) -> CollectionFolder:
        try:
            return collection_folder(self._root, self._name)
        except CollectionError:
            folder = CollectionFolder(self._root.expanduser() / self._name)
            if not folder.looks_like_ours:
                raise
            return folder

    def _follow(self, folder: CollectionFolder) -> tuple[CollectionFolder, list[Finding]]:
        """Return the folder that the name leads to, after the collection was built anew in another one."""
        try:
            notes = read_folder_notes(folder.path)
        except CollectionError as error:
            remedy = f"delete {folder.path / NOTES_NAME} if the name never led to another collection"
            return folder, [Finding(subject="notes", severity="problem", text=str(error), remedy=remedy)]
        found = []
        if notes.unfinished:
            text = f"it is unfinished: the {notes.unfinished} was interrupted, or still runs"
            found.append(Finding(subject="notes", severity="note", text=text, remedy="run the same command again"))
        if not notes.successor:
            return folder, found
        text = f"the name leads to the collection {notes.successor!r}, which took the place of this one"
        found.append(Finding(subject="notes", severity="note", text=text))
        return collection_folder(self._root, notes.successor), found

    def _look(self, folder: CollectionFolder) -> Chart:
        chart = Chart()
        look_at_record(folder, chart)
        self._look_at_manifest(folder, chart)
        look_at_journal(folder, chart)
        look_at_files(folder, chart)
        look_at_leftovers(folder, chart)
        if chart.manifest is not None and chart.engine is not None:
            self._look_inside(folder, chart, chart.manifest, chart.engine)
        return chart

    def _look_at_manifest(self, folder: CollectionFolder, chart: Chart) -> None:
        try:
            chart.manifest = folder.read_manifest()
        except (SearchkitError, OSError) as error:
            why = str(error) if isinstance(error, SearchkitError) else f"searchkit.json cannot be read: {error}"
            chart.manifest = self._manifest_again(folder, chart.engine)
            chart.is_manifest_new = chart.manifest is not None
            chart.problem(
                "manifest",
                why,
                "a repair writes it anew: the encoder at hand makes the vectors that are stored"
                if chart.is_manifest_new
                else "restore searchkit.json from a backup, or repair where the encoder is at hand",
                is_repairable=chart.is_manifest_new,
            )
        else:
            chart.tell(made_with(chart.manifest))

    def _manifest_again(self, folder: CollectionFolder, engine: str | None) -> Manifest | None:
        """Return a manifest for the encoder at hand, if the stored vectors are its own."""
        encoders = self._encoders()
        if encoders is None or engine is None:
            return None
        manifest = manifest_of(*encoders, self._config)
        try:
            return manifest if agrees_with(folder, engine, manifest, *encoders) else None
        except RetrievalError:
            return None

    def _look_inside(self, folder: CollectionFolder, chart: Chart, manifest: Manifest, engine: str) -> None:
        try:
            chart.evidence = evidence = prove(folder, engine, manifest, chart.doubt, None)
        except RetrievalError as error:
            chart.problem(
                "store", str(error), "restore it from a backup, or delete it and add again", is_repairable=False
            )
            return
        compare(chart, evidence)
        chart.findings += proof_findings(evidence.proof, self._tokens)
        if evidence.bad_vectors or chart.doubt.dense or chart.doubt.sparse:
            chart.problem(
                "vectors",
                f"vectors are damaged or in doubt ({len(evidence.bad_vectors)} cannot be right)",
                "a repair encodes the texts again, where the encoder is at hand",
                is_repairable=self._make_encoders is not None,
            )
        chart.tell(index_finding(chart, evidence))

    def _repair(self, folder: CollectionFolder, chart: Chart) -> tuple[str, ...]:
        """Repair what can be and say what was done; nothing is changed if the store cannot be read."""
        if chart.manifest is None or chart.engine is None or chart.evidence is None:
            return ()
        if state_of(tuple(chart.findings)) == "healthy":
            leftovers = folder.leftovers(StoreRecord(chart.evidence.found, chart.engine))
            tidy(folder, StoreRecord(chart.evidence.found, chart.engine))
            return tuple(f"removed {path.name}" for path in leftovers)
        try:
            done = list(self._store_repaired(folder, chart, chart.manifest, chart.engine, chart.evidence))
        except SearchkitError as error:
            chart.problem("repair", f"not possible: {error}", "nothing was changed", is_repairable=False)
            return ()
        if chart.is_manifest_new:
            folder.replace_manifest(chart.manifest)
            done.append("wrote searchkit.json anew")
        return tuple(done)

    def _store_repaired(
        self, folder: CollectionFolder, chart: Chart, manifest: Manifest, engine: str, evidence: Evidence
    ) -> Iterator[str]:
        doubt = chart.doubt
        needs_vectors = bool(doubt.dense or doubt.sparse or evidence.bad_vectors)
        if chart.damage or needs_vectors or evidence.kept != evidence.found:
            encoders = self._encoders() if needs_vectors else None
            kept = rebuild(folder, engine, manifest, doubt, self._config, encoders)
            yield f"wrote {kept.proof.passages} proven passages into a new store, which is without an index so far"
            if needs_vectors:
                yield "encoded their texts again" if doubt.dense or doubt.sparse else "encoded again what was damaged"
            if kept.kept != kept.found:
                yield f"kept the old store under the name {DAMAGED}-..., in case more can be found in it"
        else:
            take_over(folder, StoreRecord(evidence.found, engine, evidence.found.points))
            yield "counted and proved the store, and wrote ledger and seal anew"

    def _encoders(self) -> tuple[Encoder, SparseEncoder] | None:
        if self._made is None and self._make_encoders is not None:
            self._made = self._make_encoders()
        return self._made

    @staticmethod
    def _lost(chart: Chart) -> tuple[tuple[PassageId, ...], int]:
        return (() if chart.evidence is None else lost_ids(chart.evidence.proof)), chart.missing

    def _diagnosis(
        self,
        folder: CollectionFolder,
        chart: Chart,
        *,
        state: State | None = None,
        lost: tuple[PassageId, ...] = (),
        lost_count: int = 0,
        repaired: tuple[str, ...] = (),
    ) -> Diagnosis:
        findings = tuple(chart.findings)
        return Diagnosis(
            collection=self._name,
            location=str(folder.path),
            state=state or state_of(findings),
            findings=findings,
            passages=None if chart.evidence is None else chart.evidence.proof.passages,
            points=None if chart.evidence is None else chart.evidence.proof.points,
            lost=lost,
            lost_count=lost_count,
            repaired=repaired,
        )


def _refusal(folder: CollectionFolder) -> StoreFormatError | None:
    """Return why a folder is nothing that this searchkit can judge, if it is not."""
    found = [error for error in (_format_error(folder.read_manifest), _format_error(folder.read_record)) if error]
    return next((error for error in found if not error.is_upgradable), None)


def _format_error(read: Callable[[], object]) -> StoreFormatError | None:
    try:
        read()
    except StoreFormatError as error:
        return error
    except (SearchkitError, OSError):  # damage, of which the examination will speak
        return None
    return None
