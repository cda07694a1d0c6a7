"""Which other answers to a query are known, so that ranking does not count them as mistakes."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from harness.data.graph import SPLITS, UNKNOWN, Facts, Ints, Queries, TemporalGraph, both_directions
from harness.data.timeline import Timeline

Floats = NDArray[np.float64]
#: pairs of query and known answer looked at in one go
_CHUNK = 4_000_000


class KnownAnswers:
    """The facts of some splits, all by default, indexed by (subject, relation)."""

    def __init__(self, graph: TemporalGraph, splits: Collection[str] = SPLITS) -> None:
        columns = [facts.columns.values() for name, facts in graph.splits.items() if name in splits]
        queries = both_directions(Facts(*map(np.concatenate, zip(*columns, strict=True))), len(graph.relations))
        self._n_entities = len(graph.entities)
        self._n_relations = 2 * len(graph.relations)
        key = self._key(queries)
        order = np.argsort(key, kind="stable")
        self._keys = key[order]
        self._answer, self._start, self._end = queries.answer[order], queries.start[order], queries.end[order]
        lo, hi = queries.valid_time()
        self._lo, self._hi = lo[order], hi[order]
        times = np.unique(np.concatenate([self._start, self._end]))
        self._times = times[times != UNKNOWN]

    def _key(self, queries: Queries) -> Ints:
        return queries.subject * self._n_relations + queries.relation

    def pairs(self, queries: Queries, protocol: str = "time-aware") -> tuple[Ints, Ints]:
        """The known *other* answers: (row of the query, entity), two int64 [P], distinct and sorted by row.

        ``time-aware``: the interval in which the other fact may hold overlaps the query's; ``static``: whatever its
        time; ``same-interval``: start and end are the same, unknown ones included; ``raw``: none; ``timeplex`` and
        ``expanded``: as ``time-aware``, for queries that ``expand_by_time`` and ``expand_by_class`` made. A query's own
        answer is never listed.

        Raises:
            ValueError: on any other protocol.
        """
        if protocol not in ("time-aware", "static", "same-interval", "raw", "timeplex", "expanded"):
            raise ValueError(f"unknown protocol {protocol!r}")
        lo, hi = queries.valid_time()
        parts = []
        for rows, at in self._others(queries) if protocol != "raw" else ():
            keep = np.ones(len(rows), bool)
            if protocol in ("time-aware", "timeplex", "expanded"):
                keep = (self._lo[at] <= hi[rows]) & (self._hi[at] >= lo[rows])
            elif protocol == "same-interval":
                keep = (self._start[at] == queries.start[rows]) & (self._end[at] == queries.end[rows])
            parts.append(np.unique(rows[keep] * self._n_entities + self._answer[at][keep]))
        code = np.concatenate(parts) if parts else np.zeros(0, np.int64)
        return code // self._n_entities, code % self._n_entities

    def shares(self, queries: Queries) -> tuple[Ints, Ints, Floats]:
        """The known *other* answers as TIMEPLEX's published code (dair-iitd/tkbi) counts them, for protocol ``tkbi``.

        It averages a query's ranks over the times of its interval, each without the answers known at that time. Times
        are those that facts of the data start or end at; an end that is not known lies after the last of them, a start
        before the first, and a fact without any time holds before the first alone.

        Returns:
            Row of the query and entity, two int64 [P], distinct and sorted by row, and the share (0, 1] [P] of the
            times at which the entity is left out.
        """
        begin, end = self._places(queries.start, queries.end)
        first, last = self._places(self._start, self._end)
        parts = [np.zeros((3, 0))]
        for rows, at in self._others(queries):
            code = rows * self._n_entities + self._answer[at]
            low, high = np.maximum(first[at], begin[rows]), np.minimum(last[at], end[rows])
            keep = np.flatnonzero(low <= high)
            order = keep[np.lexsort([low[keep], code[keep]])]
            code, low, high = code[order], low[order], high[order]
            distinct, group = np.unique(code, return_inverse=True)
            # the last time that earlier facts of the same entity cover; a group lies above all of the one before
            above = group * (len(self._times) + 2)
            reached = np.concatenate([[-1], np.maximum.accumulate(high + above)[:-1]]) - above
            fresh = np.maximum(high - np.maximum(low - 1, reached), 0)
            row = distinct // self._n_entities
            share = np.bincount(group, fresh, len(distinct)) / (end - begin + 1)[row]
            parts.append(np.stack([row, distinct % self._n_entities, share]))
        row, entity, share = np.concatenate(parts, 1)
        return row.astype(np.int64), entity.astype(np.int64), share

    def _places(self, start: Ints, end: Ints) -> tuple[Ints, Ints]:
        """Starts and ends among the times of the data, from 1 on."""
        first, last = (np.searchsorted(self._times, time) + 1 for time in (start, end))
        first[start == UNKNOWN] = 0
        last[end == UNKNOWN] = len(self._times) + 1
        last[(start == UNKNOWN) & (end == UNKNOWN)] = 0
        return first, last

    def _others(self, queries: Queries) -> Iterator[tuple[Ints, Ints]]:
        """Rows of the queries, and the position of each fact of the same subject and relation with another answer."""
        key = self._key(queries)
        first = np.searchsorted(self._keys, key, side="left")
        count = np.searchsorted(self._keys, key, side="right") - first
        total, begin = np.cumsum(count), 0
        while begin < len(queries):
            before = int(total[begin - 1]) if begin else 0
            stop = max(int(np.searchsorted(total, before + _CHUNK, side="right")), begin + 1)
            rows = np.repeat(np.arange(begin, stop), count[begin:stop])
            at = np.arange(len(rows)) - np.repeat(total[begin:stop] - count[begin:stop] - before, count[begin:stop])
            at += first[rows]
            is_other = self._answer[at] != queries.answer[rows]
            yield rows[is_other], at[is_other]
            begin = stop


def expand_by_time(queries: Queries, limit: int = 100) -> tuple[Queries, Ints]:
    """Ask each query once for every time point of its interval, as TIMEPLEX (Jain et al., 2020) does.

    Intervals of more than ``limit`` points are asked at ``limit`` evenly spaced ones, both ends included. Where one end
    is missing, the other is the only point; a fact without any time stays one query without time.

    Raises:
        ValueError: if ``limit`` leaves no room for both ends.

    Returns:
        The expanded queries [P], and the row int64 [P] of the query that each belongs to.
    """
    if limit < 2:
        raise ValueError(f"limit {limit}: an interval has two ends")
    start, end = queries.time_points()
    length = end - start + 1
    count = np.minimum(length, limit)
    row = np.repeat(np.arange(len(queries)), count)
    step = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    span, last = (length - 1)[row], np.maximum(count - 1, 1)[row]
    time = start[row] + (step * span + last // 2) // last
    expanded = Queries(queries.subject[row], queries.relation[row], queries.answer[row], time, time.copy())
    return expanded, row


def expand_by_class(queries: Queries, timeline: Timeline) -> tuple[Queries, Queries, Ints]:
    """Ask each query once for every time class in which its fact may hold, as HyTE's data and what builds on them do.

    An end that the data does not know leaves the interval open (`Timed.valid_time`), to the first or the last class.
    A fact without any time stays one query without time.

    Returns:
        The expanded queries [P] at one time of the class, which the fact's interval has if the class has a known end
        of it; the same queries with the whole class as their interval, whose known answers are to be left out; and
        the row int64 [P] of the query that each belongs to.
    """
    lo, hi = queries.valid_time()
    dated = (queries.start != UNKNOWN) | (queries.end != UNKNOWN)
    first, last = (np.where(dated, timeline.classes(time), 0) for time in (lo, hi))
    count = last - first + 1
    row = np.repeat(np.arange(len(queries)), count)
    number = first[row] + np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    if len(timeline.last) == 0:
        bounds = np.array([UNKNOWN, UNKNOWN])
    else:  # of class k they are after bounds[k] and up to bounds[k + 1]; class 0 is the unknown time
        bounds = np.concatenate([[UNKNOWN, UNKNOWN], timeline.last])
    is_timed = number > 0
    end = np.where(is_timed, bounds[np.minimum(number + 1, len(bounds) - 1)], UNKNOWN)
    time = np.where(is_timed, np.maximum(np.minimum(end, hi[row]), lo[row]), UNKNOWN)
    # times before the first boundary and after the last belong to the first and the last class: those are open
    start = np.where(number > 1, bounds[np.maximum(number, 1)] + 1, UNKNOWN)
    end = np.where(number < len(timeline.last), end, UNKNOWN)
    asked = queries.subject[row], queries.relation[row], queries.answer[row]
    return Queries(*asked, time, time.copy()), Queries(*asked, start, end), row
