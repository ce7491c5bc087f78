"""What the form of a filter alone says of it, whatever a passage's metadata are."""

from __future__ import annotations

from searchkit.collection.filters import All, AnyOf, Condition, Not, Some


def holds_for_all(condition: Condition) -> bool:
    """Whether a condition holds whatever a passage's metadata are, by its form alone."""
    if isinstance(condition, Not):
        return holds_for_none(condition.condition)
    if isinstance(condition, All):
        return all(map(holds_for_all, condition.conditions))
    return isinstance(condition, Some) and any(map(holds_for_all, condition.conditions))


def holds_for_none(condition: Condition) -> bool:
    """Whether a condition never holds, by its form alone: a value among none."""
    if isinstance(condition, Not):
        return holds_for_all(condition.condition)
    if isinstance(condition, All):
        return any(map(holds_for_none, condition.conditions))
    if isinstance(condition, Some):
        return all(map(holds_for_none, condition.conditions))
    return isinstance(condition, AnyOf) and not condition.values
