"""What an examination of a collection found, in a form to print or to read by a script."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from searchkit.collection.manifest import Manifest
from searchkit.collection.proof import Proof
from searchkit.errors import StoreFormatError
from searchkit.stages import TokenWriter
from searchkit.types import Frozen, PassageId

Severity = Literal["fine", "note", "problem"]
State = Literal["missing", "healthy", "in use", "other format", "repairable", "damaged"]


class Finding(Frozen):
    """One thing that was looked at.

    Attributes:
        subject: What was looked at, in a word or two.
        severity: "fine", "note" (worth knowing) or "problem" (something is lost, wrong, or will not open).
        text: What was found.
        remedy: What to do about it; empty where there is nothing to do.
        is_repairable: Whether a repair does it.
    """

    subject: str
    severity: Severity
    text: str
    remedy: str = ""
    is_repairable: bool = False


class Diagnosis(Frozen):
    """The state of a collection.

    Attributes:
        collection: Its name.
        location: Where it is.
        state: "missing"; "healthy"; "in use" (by another process, so it was not looked into); "other format"
            (another version of searchkit wrote it, and only that one reads it); "repairable" (all problems can be
            repaired); "damaged" (some cannot).
        findings: Everything that was looked at, in order.
        passages: Passages that were proven to be what was written; ``None`` if they were not read.
        points: Points that were read.
        lost: Ids of passages that are not whole: add them again.
        lost_count: Passages or windows beyond those that are missing altogether, whose ids nobody knows any more.
        repaired: What a repair has done.
    """

    collection: str
    location: str
    state: State
    findings: tuple[Finding, ...] = ()
    passages: int | None = None
    points: int | None = None
    lost: tuple[PassageId, ...] = ()
    lost_count: int = 0
    repaired: tuple[str, ...] = ()


def state_of(findings: tuple[Finding, ...]) -> State:
    """Return the state that the findings add up to."""
    problems = [finding for finding in findings if finding.severity == "problem"]
    if not problems:
        return "healthy"
    return "repairable" if all(finding.is_repairable for finding in problems) else "damaged"


def other_format(error: StoreFormatError) -> Finding:
    """Return what is known of a collection that another version of searchkit wrote."""
    return Finding(subject="format", severity="problem", text=str(error), is_repairable=error.is_upgradable)


def made_with(manifest: Manifest) -> Finding:
    """Return what a collection was made with."""
    encoder = manifest.encoder
    return Finding(
        subject="manifest",
        severity="fine",
        text=f"layout version {manifest.schema_version}, encoder {encoder.model} ({encoder.dimension} dimensions, "
        f"weights {encoder.weight_hash[:12]}), windows of {manifest.window_tokens} tokens, vectors "
        f"{manifest.dense_vector!r} and {manifest.sparse_vector!r}",
    )


def proof_findings(proof: Proof, tokens: TokenWriter | None) -> Iterator[Finding]:
    """Return what reading all passages says."""
    yield Finding(
        subject="passages",
        severity="fine",
        text=f"{proof.passages} passages in {proof.points} points are whole and are what was written",
    )
    if proof.torn:
        yield Finding(
            subject="passages",
            severity="problem",
            text=f"{len(proof.torn)} passages are incomplete, because their writer was interrupted",
            remedy="add them again; a repair removes what is left of them",
            is_repairable=True,
        )
    if proof.changed:
        yield Finding(
            subject="passages",
            severity="problem",
            text=f"{len(proof.changed)} passages are not what was written: text or metadata differ from their digest",
            remedy="add them again; a repair removes them",
            is_repairable=True,
        )
    if proof.orphans:
        yield Finding(
            subject="windows",
            severity="problem",
            text=f"{len(proof.orphans)} windows belong to no passage, because its writer was interrupted",
            remedy="a repair removes them",
            is_repairable=True,
        )
    yield _token_finding(proof, tokens)


def _token_finding(proof: Proof, tokens: TokenWriter | None) -> Finding:
    count = sum(number for number, _ in proof.tokens.values())
    text = f"{count} windows have token ids for the second stage"
    stale = 0
    if tokens is not None:
        stale = sum(number for number, sample in proof.tokens.values() if not tokens.is_current(sample))
    elif len(proof.tokens) > 1:
        text += f", of {len(proof.tokens)} tokenizers"
    if not stale:
        return Finding(subject="tokens", severity="fine", text=text)
    return Finding(
        subject="tokens",
        severity="note",
        text=f"{text}; {stale} of them are of another tokenizer and not used",
        remedy="add the same passages again: they count as unchanged, and only their tokens are made anew",
    )


def lost_ids(proof: Proof) -> tuple[int | str, ...]:
    """Return the ids of passages that must be added again."""
    return tuple(one for one in (*proof.torn, *proof.changed) if one is not None)
