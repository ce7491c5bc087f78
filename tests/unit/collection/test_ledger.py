"""The ledger adds up whatever the order, and whatever is lost, swapped or old changes it."""

from __future__ import annotations

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from searchkit.collection.ledger import Ledger, ledger_of

points = st.integers(0, 2**128 - 1)
stores = st.dictionaries(points, st.text(max_size=4), max_size=12)


@settings(deadline=None)
@given(stores, stores, stores, st.randoms())
def test_a_ledger_depends_on_what_is_stored_alone(first, second, passing, random):
    stored: dict[int, str] = {}
    ledger = Ledger()
    for batch in (first, passing, second):
        ledger = ledger.written(batch, {point: stored[point] for point in batch if point in stored})
        stored.update(batch)
    gone = {point: stored.pop(point) for point in passing if point not in second}
    ledger = ledger.deleted(gone)
    entries = list(stored.items())
    random.shuffle(entries)
    assert ledger == ledger_of([dict(entries[:3]), dict(entries[3:])])


@settings(deadline=None)
@given(st.dictionaries(points, st.text(max_size=4), min_size=1), points, st.text(max_size=4))
def test_losing_swapping_or_changing_a_point_changes_the_ledger(stored, stranger, other):
    assume(stranger not in stored)
    point, digest = next(iter(stored.items()))
    rest = {key: value for key, value in stored.items() if key != point}
    whole = ledger_of([stored])
    assert whole != ledger_of([rest])
    assert whole != ledger_of([rest | {stranger: digest}])
    assert (whole == ledger_of([rest | {point: other}])) == (digest == other)
