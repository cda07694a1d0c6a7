"""Where a study that is decided by looks stands: which of its comparisons are decided, futile or open."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from harness.reporting.data.frames import where
from harness.reporting.data.results import UNDECIDED
from harness.stats.sequential import FUTILE


@dataclass(frozen=True)
class Standing:
    """Numbers of comparisons of test MRR: decided, futile (more seeds would hardly decide them), and open."""

    decided: int
    futile: int
    open: int

    @classmethod
    def of(cls, paired: pd.DataFrame) -> Standing:
        """That of paired comparisons (`harness.reporting.data.results.paired`)."""
        mrr = where(paired, metric="mrr")
        undecided = mrr["verdict"] == UNDECIDED
        futile = undecided & (mrr["chance"] < FUTILE)
        return cls(int((~undecided).sum()), int(futile.sum()), int((undecided & ~futile).sum()))

    def __str__(self) -> str:
        """For people: "7 of 10 comparisons decided, 1 futile, 2 open"."""
        total = self.decided + self.futile + self.open
        rest = "".join(f", {n} {word}" for n, word in ((self.futile, "futile"), (self.open, "open")) if n)
        return f"{self.decided} of {total} comparisons decided{rest}"
