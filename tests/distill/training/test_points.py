"""Training on a time of the interval, drawn in every epoch."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch

from harness.data import UNKNOWN, Queries, Timeline
from harness.distill.training.points import PointQueries
from harness.evaluate import query_tensors, time_of

TIMELINE = Timeline("year", np.array([1999, 2004, 2009]))
START, END = [2000, 1990, UNKNOWN, UNKNOWN, 2006], [2003, 2020, 2005, UNKNOWN, UNKNOWN]


def queries(start: list[int] = START, end: list[int] = END, time_input: str = "classes") -> PointQueries:
    ids = np.arange(len(start))
    asked = Queries(ids, ids + 10, ids + 20, np.array(start), np.array(end))
    first, last = asked.time_points()

    def view(drawn: np.ndarray) -> np.ndarray:
        return time_of(drawn, drawn, TIMELINE, time_input)

    return PointQueries(**vars(query_tensors(asked, TIMELINE, time_input)), first=first, last=last, view=view)


def test_each_epoch_asks_at_one_time_of_the_interval() -> None:
    """Seen over many epochs, against the classes of each year of the interval one by one."""
    data = queries()
    seen: list[set[tuple[int, ...]]] = [set() for _ in START]
    for seed in range(300):
        asked = data.in_epoch(seed)
        for name in ("subject", "relation", "answer"):
            assert torch.equal(getattr(asked, name), getattr(data, name))
        for row, time in enumerate(asked.time.tolist()):
            seen[row].add(tuple(time))
    years = [range(2000, 2004), range(1990, 2021), [2005], [UNKNOWN], [2006]]
    for classes, of_row in zip(seen, years, strict=True):
        expected = TIMELINE.classes(np.array(list(of_row))).tolist()
        assert classes == {(number, number) for number in expected}


def test_every_time_is_as_likely() -> None:
    data = queries([2000] * 8000, [2007] * 8000, "tokens")
    drawn = Counter(map(tuple, data.in_epoch(3).time.tolist()))
    assert len(drawn) == 8
    assert all(abs(count - 1000) < 5 * 1000**0.5 for count in drawn.values())
    assert all(time[: len(time) // 2] == time[len(time) // 2 :] for time in drawn)


def test_the_seed_alone_decides_and_other_queries_stay_as_they_are() -> None:
    data = queries()
    assert torch.equal(data.in_epoch(5).time, data.in_epoch(5).time)
    assert any(not torch.equal(data.in_epoch(5).time, data.in_epoch(seed).time) for seed in range(6, 20))
    assert torch.equal(
        data.time,
        query_tensors(
            Queries(*(np.arange(5) + k for k in (0, 10, 20)), np.array(START), np.array(END)), TIMELINE, "classes"
        ).time,
    )
    interval = data[slice(None)]
    assert interval.in_epoch(5) is interval
