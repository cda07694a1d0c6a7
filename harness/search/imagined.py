"""A run before it is done: the trials that it wants when each result is better than those before.

Then no configuration is given up, so a search has as many trials as it can have.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from harness.design.cells import Run
from harness.search.confirmation import Confirming
from harness.search.searching import Searching
from harness.search.tuning import Tuning
from harness.store.known import Known
from harness.trial.spec import TrialSpec

#: trials that a search may start at once
ROOM = 10**9
#: what a result is better than the one before
GAIN = 1e-6


def phases(run: Run, known: Known) -> Iterator[list[tuple[TrialSpec, bool]]]:
    """The trials that the store lacks, with whether each is scored on test; those of a phase wait for the one before.

    The first has the trials of the design and those of a search, the second those that confirm what was chosen.
    """
    searching: Searching | Confirming | Tuning
    if run.search is not None:
        searching = Searching(run, known, set())
    else:
        searching = (Tuning if run.tune else Confirming)(run, known.values(), set())
    better = (GAIN * number for number in count(1))
    values = known.values()
    first = [(spec, key not in run.unscored) for spec in run.specs if (key := spec.key()) not in values]
    for spec, _ in first:
        searching.record(spec.key(), next(better))
    confirming: list[tuple[TrialSpec, bool]] = []
    while specs := searching.more(ROOM):
        for spec in specs:
            key = spec.key()
            is_last = searching.attributes[key]["role"] == "confirm"
            (confirming if is_last else first).append((spec, key not in searching.unscored))
            searching.record(key, next(better))
    yield first
    yield confirming
