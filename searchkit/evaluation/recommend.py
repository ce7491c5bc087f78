"""From measured systems to one to use, with the reasons in words. Not to rerank is a possible answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from searchkit.evaluation.report import Difference, Recommendation, SystemReport

TOLERANCE = 0.005
"""A system this close to the best on the primary measure is as good, so the faster of the two is taken."""

SIGNIFICANT = 0.05


def recommend(
    systems: Sequence[SystemReport], baseline: str, primary: str, latency_budget_ms: float | None = None
) -> Recommendation:
    """Return the system to use.

    Of the systems within the latency budget that are better than the baseline beyond luck, the best, or a faster one
    within `TOLERANCE` of it; the baseline where it comes that close, or where none is; where luck may hide a gain, the
    words say that. If the baseline breaks the budget and nothing beats it beyond luck, it is the best first stage that
    keeps the budget, or the best of all that do; if nothing keeps it, the fastest.

    Args:
        systems: All that were measured, the baseline among them.
        baseline: Name of the one to beat.
        primary: The measure that decides.
        latency_budget_ms: Bound on the 95th percentile; systems without timings are within any budget.
    """
    base = next(system for system in systems if system.name == baseline)
    within = [system for system in systems if _is_within(system, latency_budget_ms)] or [min(systems, key=_p95)]
    best = max(within, key=_by(primary))
    winner = _winner(within, base, primary)
    is_choice = any(system.configuration is not None and system.configuration.rerank for system in systems)
    is_undecided = not _is_proven(winner) and _is_open(best, winner)
    first = _undecided(winner, primary) if is_undecided else _choice(winner, base, primary, is_choice=is_choice)
    sentences = [first, *_reasons(winner, best, base, primary)]
    if latency_budget_ms is not None:
        sentences.append(_budget(systems, latency_budget_ms))
    configuration = winner.configuration
    return Recommendation(
        system=winner.name,
        is_reranking=None if configuration is None else configuration.rerank,
        sentences=tuple(sentences),
    )


def _winner(within: Sequence[SystemReport], base: SystemReport, primary: str) -> SystemReport:
    proven = [system for system in within if _is_proven(system)]
    if base in within:
        proven.append(base)
    if not proven:
        return max([system for system in within if _is_first_stage(system)] or within, key=_by(primary))
    leader = max(proven, key=_by(primary))
    close = [system for system in proven if system.measures[primary] >= leader.measures[primary] - TOLERANCE]
    timed = [system for system in close if system.latency is not None]
    return min(timed, key=_p95) if timed else leader


def _is_within(system: SystemReport, budget_ms: float | None) -> bool:
    return budget_ms is None or system.latency is None or system.latency.p95_ms <= budget_ms


def _is_first_stage(system: SystemReport) -> bool:
    return system.configuration is not None and not system.configuration.rerank


def _by(primary: str) -> Callable[[SystemReport], float]:
    return lambda system: system.measures[primary]


def _p95(system: SystemReport) -> float:
    return system.latency.p95_ms if system.latency is not None else float("inf")


def _is_proven(system: SystemReport) -> bool:
    """Whether it is better than the baseline beyond luck."""
    difference = system.difference
    return difference is not None and difference.mean > 0 and difference.p_corrected < SIGNIFICANT


def _is_open(best: SystemReport, winner: SystemReport) -> bool:
    """Whether the best is ahead by more than nothing, but more queries are needed to know."""
    lead = best.difference
    return best.name != winner.name and lead is not None and lead.mean > TOLERANCE and not _is_proven(best)


def _undecided(winner: SystemReport, primary: str) -> str:
    value = f"{primary} {winner.measures[primary]:.3f}"
    return f"Not enough queries to tell; until then {winner.name} ({value}{_times(winner)})."


def _choice(winner: SystemReport, base: SystemReport, primary: str, *, is_choice: bool) -> str:
    value = f"{primary} {winner.measures[primary]:.3f}"
    if _is_first_stage(winner) and is_choice:
        return f"Do not rerank: use {winner.name} ({value}{_times(winner)})."
    if winner.name == base.name:
        return f"Use {winner.name} ({value}{_times(winner)}): nothing is better beyond luck."
    if not _is_proven(winner):
        return f"Use {winner.name} ({value}{_times(winner)}), for the time that it takes."
    return f"Use {winner.name} ({value}{_times(winner)}): {_gain(winner.difference)} over {base.name}{_times(base)}."


def _reasons(winner: SystemReport, best: SystemReport, base: SystemReport, primary: str) -> list[str]:
    if winner.name == best.name:
        return []
    if winner.name != base.name:
        lead = best.measures[primary] - winner.measures[primary]
        if lead <= TOLERANCE or _is_proven(best):
            return [f"{best.name} is {lead:.3f} better, too little to pay for it{_times(best)}."]
        return [f"{best.name} scores {lead:.3f} more, which may be luck: judge more queries to tell."]
    if best.difference is None or best.difference.mean <= 0:
        return []
    return [
        f"{best.name} is ahead by {_gain(best.difference)}, too little to pay for it{_times(best)}."
        if _is_proven(best)
        else f"{best.name} is ahead by {_gain(best.difference)}, which may be luck: judge more queries to tell."
    ]


def _gain(difference: Difference | None) -> str:
    if difference is None:
        return "nothing"
    probability = f"p = {difference.shown_p}".replace("= <", "< ")
    return f"{difference.mean:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}] ({probability})"


def _times(system: SystemReport) -> str:
    if system.latency is None:
        return ""
    return f", p50 {system.latency.p50_ms:.0f} ms, p95 {system.latency.p95_ms:.0f} ms"


def _budget(systems: Sequence[SystemReport], budget_ms: float) -> str:
    timed = [system for system in systems if system.latency is not None]
    count = sum(_is_within(system, budget_ms) for system in timed)
    if not timed:
        return f"Nothing was timed, so nothing is known of the budget of {budget_ms:g} ms."
    if count == 0:
        fastest = min(timed, key=_p95)
        return f"Nothing stays within {budget_ms:g} ms at the 95th percentile; {fastest.name} is the fastest."
    return f"{count} of {len(timed)} systems stay within {budget_ms:g} ms at the 95th percentile."
