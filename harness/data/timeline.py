"""Times as a model reads them: classes (intervals of the time line) or calendar tokens (digits)."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.data.dates import STEP_DIGITS
from harness.data.graph import UNKNOWN, Granularity, Ints, TemporalGraph


@dataclass(frozen=True, eq=False)
class Timeline:
    """The classes of a data set, learnt from its training split alone.

    Class 0 is the unknown time. Class k >= 1 holds the times t with ``last[k-2] < t <= last[k-1]``; times before the
    first and after the last boundary fall into the first and the last class, so no time is ever out of range.

    Models read the times that ``Facts.time_points`` returns: there a missing end is its fact's start, a missing start
    its end, and only a fact without any known time has the unknown time, at both ends. A date that is not fully known
    counts as missing (``dates.parse``).
    """

    granularity: Granularity
    last: Ints

    @classmethod
    def build(
        cls, graph: TemporalGraph, classes: Literal["frequency", "width"] = "frequency", size: int = 600
    ) -> Timeline:
        """Cut the time line.

        Args:
            graph: its training facts decide.
            classes: ``frequency``: a class closes once it holds more than ``size`` known starts and ends of training
                facts (HyTE's rule, Dasgupta et al., 2018); ``width``: each class spans ``size`` years or days.
            size: see ``classes``.

        Raises:
            ValueError: if ``size`` is not positive or ``classes`` neither of the two.
        """
        if size < 1 or classes not in ("frequency", "width"):
            raise ValueError(f"cannot cut the time line by {classes} {size}")
        times = np.concatenate([graph.train.start, graph.train.end])
        times = times[times != UNKNOWN]
        if len(times) == 0:
            return cls(graph.granularity, np.zeros(0, np.int64))
        if classes == "width":
            return cls(graph.granularity, np.arange(times.min() + size - 1, times.max() + size, size, dtype=np.int64))
        distinct, counts = np.unique(times, return_counts=True)
        last, held = [], 0
        for time, count in zip(distinct.tolist(), counts.tolist(), strict=True):
            held += count
            if held > size:
                last.append(time)
                held = 0
        if held:
            last.append(int(distinct[-1]))
        return cls(graph.granularity, np.array(last, np.int64))

    @property
    def n_classes(self) -> int:
        """Number of classes, the unknown one included."""
        return len(self.last) + 1

    @property
    def n_tokens(self) -> int:
        """Size of the alphabet of calendar tokens, the unknown token included."""
        digits = STEP_DIGITS if self.granularity == "step" else 4
        return 1 + 2 + 10 * digits + (12 + 31 if self.granularity == "day" else 0)

    def classes(self, times: Ints) -> Ints:
        """Classes int64 [N] of times [N]."""
        if len(self.last) == 0:
            return np.zeros(len(times), np.int64)
        number = 1 + np.minimum(np.searchsorted(self.last, times, side="left"), len(self.last) - 1)
        return np.where(times == UNKNOWN, 0, number).astype(np.int64)

    def tokens(self, times: Ints) -> Ints:
        """Calendar tokens int64 [N, L] of times [N]: sign, digits of the year or step and, for days, month and day.

        All tokens of an unknown time are 0.
        """
        distinct, where = np.unique(times, return_inverse=True)
        length = {"year": 5, "day": 7, "step": 1 + STEP_DIGITS}[self.granularity]
        rows = [[0] * length if time == UNKNOWN else _tokens(time, self.granularity) for time in distinct.tolist()]
        return np.array(rows, np.int64).reshape(-1, length)[where]


def _tokens(time: int, granularity: Granularity) -> list[int]:
    date = dt.date.fromordinal(time) if granularity == "day" else None
    year = time if date is None else date.year
    tokens = [2 if year < 0 else 1]
    digits = STEP_DIGITS if granularity == "step" else 4
    tokens += [3 + 10 * place + int(digit) for place, digit in enumerate(f"{abs(year):0{digits}d}"[-digits:])]
    return tokens if date is None else [*tokens, 42 + date.month, 54 + date.day]
