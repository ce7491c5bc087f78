"""What is known of a folder that is examined, and how it is found out from the files."""

from __future__ import annotations

from dataclasses import dataclass, field

from searchkit.collection.backends.folder import ENGINE, CollectionFolder, StoreRecord, is_engine_name
from searchkit.collection.backends.journal import Expectation
from searchkit.collection.backends.salvage import Evidence, Suspicion, suspicion
from searchkit.collection.backends.seal import Damage, find_damage
from searchkit.collection.backends.store_format import OldRecord
from searchkit.collection.diagnosis import Finding, other_format
from searchkit.collection.manifest import Manifest
from searchkit.errors import CollectionError, StoreFormatError

_SHOWN_FILES = 5
_AGAIN = "add all passages again, those that are there are skipped"


@dataclass(slots=True)
class Chart:
    """What is known of a folder.

    Attributes:
        findings: What to tell.
        manifest: The manifest, or one made anew if the stored one is damaged.
        is_manifest_new: Whether it was made anew.
        record: What the folder says about its store; ``None`` if that cannot be read.
        engine: Name of the engine's folder.
        old_record: The same in the oldest format, which is brought up to date by a repair.
        expectation: What the store may hold; ``None`` if nobody knows.
        damage: Files that are not as they were when the store was closed.
        evidence: What is in the store; ``None`` if it cannot be read.
    """

    findings: list[Finding] = field(default_factory=list)
    manifest: Manifest | None = None
    is_manifest_new: bool = False
    record: StoreRecord | None = None
    engine: str | None = None
    old_record: OldRecord | None = None
    expectation: Expectation | None = None
    damage: list[Damage] = field(default_factory=list)
    evidence: Evidence | None = None

    @property
    def doubt(self) -> Suspicion:
        """What the damaged files put in doubt."""
        return Suspicion() if self.manifest is None else suspicion(self.damage, self.manifest)

    @property
    def missing(self) -> int:
        """Points that were written and are not there at all."""
        written = []
        if self.old_record is not None:
            written = [self.old_record.points]
        elif self.expectation is not None and self.expectation.ledgers is not None:
            written = [ledger.points for ledger in self.expectation.ledgers]
        return 0 if self.evidence is None or not written else max(0, min(written) - self.evidence.found.points)

    def tell(self, finding: Finding) -> None:
        """Enter a finding."""
        self.findings.append(finding)

    def problem(self, subject: str, text: str, remedy: str, *, is_repairable: bool = True) -> None:
        """Enter a problem."""
        self.tell(Finding(subject=subject, severity="problem", text=text, remedy=remedy, is_repairable=is_repairable))


def look_at_record(folder: CollectionFolder, chart: Chart) -> None:
    """Read the ledger, and find the engine's folder even without it."""
    remedy = "a repair counts and proves the store, and writes it anew"
    try:
        chart.record = folder.read_record()
    except StoreFormatError as error:
        chart.tell(other_format(error))
        if not folder.journal.exists():  # it said that a writer was interrupted, and not what may be there
            chart.old_record = folder.read_old_record()
    except CollectionError as error:
        chart.problem("ledger", str(error), remedy)
    if chart.record is not None:
        chart.engine = chart.record.engine
        text = f"{chart.record.ledger.points} points, store in {chart.record.engine}/"
        chart.tell(Finding(subject="ledger", severity="fine", text=text))
    else:
        present = sorted(path.name for path in folder.path.iterdir() if is_engine_name(path.name) and path.is_dir())
        chart.engine = ENGINE if ENGINE in present else (present[-1] if present else None)
        if not chart.findings:
            chart.problem("ledger", "ledger.json is missing", remedy)
    if chart.engine is None or not (folder.path / chart.engine).is_dir():
        remedy = "restore it from a backup, or delete the collection and add the passages again"
        chart.problem("store", "the engine's folder is missing", remedy, is_repairable=False)
        chart.engine = None


def look_at_journal(folder: CollectionFolder, chart: Chart) -> None:
    """Read what the last writer was doing."""
    if chart.record is not None:
        try:
            chart.expectation = folder.read_expectation(chart.record)
        except CollectionError as error:
            chart.problem("journal", str(error), "a repair counts and proves the store instead")
    if folder.journal.exists():
        text = "the last writer was interrupted; what it had written by then counts"
        chart.tell(Finding(subject="journal", severity="note", text=text, remedy="add again what it was adding"))


def look_at_files(folder: CollectionFolder, chart: Chart) -> None:
    """Compare the engine's files with their seal."""
    try:
        seal = folder.read_seal()
    except CollectionError as error:
        chart.problem("files", str(error), "a repair proves the store and seals it")
        return
    if seal is None or folder.journal.exists():
        text = "not sealed, since the last process did not close the collection: vectors cannot be proven"
        chart.tell(Finding(subject="files", severity="note", text=text, remedy="opening and closing it seals it"))
        return
    chart.damage = find_damage(folder.path / chart.engine, seal) if chart.engine is not None else []
    if not chart.damage:
        chart.tell(Finding(subject="files", severity="fine", text=f"{len(seal)} files are as they were closed"))
        return
    shown = ", ".join(str(one) for one in chart.damage[:_SHOWN_FILES])
    more = f" and {len(chart.damage) - _SHOWN_FILES} more" if len(chart.damage) > _SHOWN_FILES else ""
    chart.problem("files", f"{shown}{more}", "a repair proves what can be read and writes it into a new store")


def look_at_leftovers(folder: CollectionFolder, chart: Chart) -> None:
    """Look for what was interrupted."""
    if chart.record is not None:
        for path in folder.leftovers(chart.record):
            text = f"{path.name} was left by an optimization or a reader that was interrupted"
            chart.tell(Finding(subject="leftovers", severity="note", text=text, remedy="the next writer removes it"))


def compare(chart: Chart, evidence: Evidence) -> None:
    """Compare what is in the store with what should be."""
    found = evidence.found
    old = chart.old_record
    if old is not None and (old.points, old.checksum) != (found.points, found.checksum):
        text = f"{found.points} points where {old.points} were written, or other ones"
        chart.problem("contents", text, f"a repair keeps what is there; {_AGAIN}")
    if chart.expectation is None:
        return
    if chart.expectation.allows(found):
        text = f"{found.points} points, with the checksums of ids and contents that were written"
        chart.tell(Finding(subject="contents", severity="fine", text=text))
        return
    expected = chart.expectation.ledgers[-1].points if chart.expectation.ledgers else 0
    text = f"{found.points} points where {expected} were written"
    if found.points == expected:
        text = f"{found.points} points as written, but some are other or older ones"
    chart.problem("contents", text, f"a repair keeps what is there; {_AGAIN}")


def index_finding(chart: Chart, evidence: Evidence) -> Finding:
    """Return what is known of the indexes."""
    unindexed = chart.record.unindexed if chart.record is not None else evidence.found.points
    fields = f", filter indexes on {', '.join(evidence.indexes)}" if evidence.indexes else ""
    return Finding(
        subject="index",
        severity="fine",
        text=f"{evidence.segments} segments, about {min(unindexed, evidence.found.points)} points written since the "
        f"index was built{fields}",
    )
