"""Known answers and queries by time point, against implementations that look at one pair and one year after another."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data import (
    UNKNOWN,
    Facts,
    KnownAnswers,
    Queries,
    TemporalGraph,
    Timeline,
    Vocabulary,
    both_directions,
    expand_by_class,
    known,
)
from harness.data import expand_by_time as expand

N_ENTITIES, N_RELATIONS, LAST = 5, 2, 9
PROTOCOLS = ("time-aware", "static", "raw", "timeplex", "same-interval", "expanded")


@st.composite
def rows(draw: st.DrawFn) -> tuple[int, int, int, int, int]:
    entity = st.integers(0, N_ENTITIES - 1)
    start, end = sorted((draw(st.integers(0, LAST)), draw(st.integers(0, LAST))))
    missing = draw(st.sampled_from(["none", "none", "start", "end", "both"]))
    return (
        draw(entity),
        draw(st.integers(0, N_RELATIONS - 1)),
        draw(entity),
        UNKNOWN if missing in ("start", "both") else start,
        UNKNOWN if missing in ("end", "both") else end,
    )


SPLIT = st.lists(rows(), min_size=1, max_size=12)


def graph_of(splits: list[Facts]) -> TemporalGraph:
    def names(n: int) -> Vocabulary:
        return Vocabulary(tuple(map(str, range(n))), (None,) * n)

    return TemporalGraph("small", "year", names(N_ENTITIES), names(N_RELATIONS), *splits, digest="")


def years(start: int, end: int) -> set[int]:
    """The years in which a fact may hold; a time line of -1 to LAST + 1 stands for the endless one."""
    return set(range(-1 if start == UNKNOWN else start, (LAST + 1 if end == UNKNOWN else end) + 1))


def may_answer(protocol: str, query: tuple[int, int], fact: tuple[int, int]) -> bool:
    if protocol == "raw":
        return False
    if protocol == "static":
        return True
    if protocol == "same-interval":
        return query == fact
    return bool(years(*query) & years(*fact))


def brute_force(splits: list[list[tuple]], queries: Queries, protocol: str) -> set[tuple[int, int]]:
    known_facts = []
    for h, r, t, s, e in [row for part in splits for row in part]:
        known_facts += [(h, r, t, s, e), (t, r + N_RELATIONS, h, s, e)]
    actual = set()
    asked = zip(queries.subject, queries.relation, queries.answer, queries.start, queries.end, strict=True)
    for row, (subject, relation, answer, start, end) in enumerate(asked):
        for h, r, other, s, e in known_facts:
            if (h, r) == (subject, relation) and other != answer and may_answer(protocol, (start, end), (s, e)):
                actual.add((row, other))
    return actual


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("chunk", [7, 4_000_000])
@settings(max_examples=40, deadline=None)
@given(splits=st.tuples(SPLIT, SPLIT, SPLIT))
def test_known_answers_are_those_of_brute_force(
    as_facts: Callable[..., Facts], protocol: str, chunk: int, splits: tuple[list, list, list]
) -> None:
    graph = graph_of([as_facts(part) for part in splits])
    queries = both_directions(graph.test, N_RELATIONS)
    if protocol == "timeplex":
        queries, _ = expand(queries)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known, "_CHUNK", chunk)  # pairs looked at in one go
        row, entity = KnownAnswers(graph).pairs(queries, protocol)
    pairs = list(zip(row.tolist(), entity.tolist(), strict=True))
    assert row.dtype == entity.dtype == np.int64
    assert pairs == sorted(set(pairs))
    assert set(pairs) == brute_force(list(splits), queries, protocol)


def test_queries_of_other_facts_and_of_none(as_facts: Callable[..., Facts]) -> None:
    graph = graph_of([as_facts([(0, 0, 1, 5, 5)])] * 3)
    index = KnownAnswers(graph)
    asked = both_directions(as_facts([(0, 0, 2, 5, 5), (4, 1, 3, 5, 5)]), N_RELATIONS)
    row, entity = index.pairs(asked)
    assert (row.tolist(), entity.tolist()) == ([0], [1])
    none = both_directions(as_facts([]), N_RELATIONS)
    assert [len(part) for part in index.pairs(none)] == [0, 0]


def test_an_unknown_protocol_is_refused(as_facts: Callable[..., Facts]) -> None:
    graph = graph_of([as_facts([(0, 0, 1, 5, 5)])] * 3)
    with pytest.raises(ValueError, match="unknown protocol 'filtered'"):
        KnownAnswers(graph).pairs(both_directions(graph.test, N_RELATIONS), "filtered")


@settings(max_examples=100, deadline=None)
@given(part=st.lists(rows(), max_size=8), limit=st.integers(2, 12))
def test_queries_are_asked_at_every_point_of_their_interval(
    as_facts: Callable[..., Facts], part: list, limit: int
) -> None:
    queries = both_directions(as_facts(part), N_RELATIONS)
    asked, owner = expand(queries, limit)
    assert np.array_equal(asked.start, asked.end)
    for name in ("subject", "relation", "answer"):
        assert np.array_equal(getattr(asked, name), getattr(queries, name)[owner])
    for row, (start, end) in enumerate(zip(queries.start.tolist(), queries.end.tolist(), strict=True)):
        points = asked.start[owner == row].tolist()
        if UNKNOWN in (start, end):
            assert points == [max(start, end)]  # the end that is known; UNKNOWN if neither is
        elif end - start < limit:
            assert points == list(range(start, end + 1))
        else:
            assert (len(points), points[0], points[-1]) == (limit, start, end)
            gaps = {after - before for before, after in pairwise(points)}
            assert max(gaps) - min(gaps) <= 1


def test_an_interval_needs_room_for_two_ends(as_facts: Callable[..., Facts]) -> None:
    with pytest.raises(ValueError, match="two ends"):
        expand(both_directions(as_facts([(0, 0, 1, 5, 7)]), N_RELATIONS), limit=1)


@settings(max_examples=150, deadline=None)
@given(splits=st.tuples(SPLIT, SPLIT, SPLIT), width=st.integers(1, 4))
def test_queries_are_asked_in_every_class_of_their_interval(
    as_facts: Callable[..., Facts], splits: tuple[list, list, list], width: int
) -> None:
    """Years in which a fact may hold are listed one by one; known answers are those with a year in the same class."""
    graph = graph_of([as_facts(part) for part in splits])
    timeline = Timeline.build(graph, "width", width)
    queries = both_directions(graph.test, N_RELATIONS)
    asked, within, owner = expand_by_class(queries, timeline)

    def classes(start: int, end: int) -> list[int]:
        if start == end == UNKNOWN:
            return [0]
        return sorted(set(timeline.classes(np.array(sorted(years(start, end)))).tolist()))

    for name in ("subject", "relation", "answer"):
        assert np.array_equal(getattr(asked, name), getattr(queries, name)[owner])
        assert np.array_equal(getattr(within, name), getattr(asked, name))
    assert np.array_equal(asked.start, asked.end)
    every = [classes(start, end) for start, end in zip(queries.start.tolist(), queries.end.tolist(), strict=True)]
    assert owner.tolist() == [row for row, of_row in enumerate(every) for _ in of_row]
    assert timeline.classes(asked.start).tolist() == [number for of_row in every for number in of_row]
    for time, row in zip(asked.start.tolist(), owner.tolist(), strict=True):
        lo, hi = (bound[row] for bound in queries.valid_time())
        assert lo <= time <= hi or time == UNKNOWN or UNKNOWN in (queries.start[row], queries.end[row])

    actual = set(zip(*(part.tolist() for part in KnownAnswers(graph).pairs(within, "expanded")), strict=True))
    expected = set()
    for h, r, t, s, e in [fact for part in splits for fact in part]:
        of_fact = classes(s, e)
        for row, number in enumerate(timeline.classes(asked.start).tolist()):
            for subject, relation, answer in ((h, r, t), (t, r + N_RELATIONS, h)):
                is_same = (asked.subject[row], asked.relation[row]) == (subject, relation)
                if is_same and answer != asked.answer[row] and (0 in (number, *of_fact) or number in of_fact):
                    expected.add((row, answer))
    assert actual == expected


def test_both_directions_ask_for_tails_then_for_heads(as_facts: Callable[..., Facts]) -> None:
    queries = both_directions(as_facts([(0, 1, 2, 5, 6), (3, 0, 4, UNKNOWN, 7)]), N_RELATIONS)
    assert queries.subject.tolist() == [0, 3, 2, 4]
    assert queries.relation.tolist() == [1, 0, 3, 2]
    assert queries.answer.tolist() == [2, 4, 0, 3]
    assert queries.start.tolist() == [5, UNKNOWN, 5, UNKNOWN]
    assert queries.end.tolist() == [6, 7, 6, 7]


def test_what_a_missing_end_means(as_facts: Callable[..., Facts]) -> None:
    facts = as_facts([(0, 0, 1, 5, 6), (0, 0, 1, UNKNOWN, 6), (0, 0, 1, 5, UNKNOWN), (0, 0, 1, UNKNOWN, UNKNOWN)])
    start, end = facts.time_points()
    assert start.tolist() == [5, 6, 5, UNKNOWN]
    assert end.tolist() == [6, 6, 5, UNKNOWN]
    lo, hi = facts.valid_time()
    first, last = np.iinfo(np.int64).min + 1, np.iinfo(np.int64).max
    assert lo.tolist() == [5, first, 5, first]
    assert hi.tolist() == [6, 6, last, last]
