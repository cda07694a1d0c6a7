"""Ranks of every protocol against plain loops over facts, written from the definitions of the protocols."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data import KnownAnswers, TemporalGraph, Timeline, both_directions
from harness.evaluate import ASKED_ALIKE, PROTOCOLS, RankTask, ranks, ranks_together
from harness.trial.inputs import Inputs
from harness.trial.spec import TimeSpec

Fact = tuple[int, int, int, int | None, int | None]
ENTITIES, RELATIONS = 5, 2


def _holds_within(fact: Fact, first: float, last: float) -> bool:
    """Whether a fact may hold at some time of [first, last]; an end that is not known is open."""
    start = -math.inf if fact[3] is None else fact[3]
    end = math.inf if fact[4] is None else fact[4]
    return start <= last and end >= first


def _is_filtered(protocol: str, other: Fact, start: int | None, end: int | None) -> bool:
    if protocol == "raw":
        return False
    if protocol == "static":
        return True
    if protocol == "same-interval":
        return (other[3], other[4]) == (start, end)
    return _holds_within(other, -math.inf if start is None else start, math.inf if end is None else end)


def _time_class(train: list[Fact], time: int | None) -> int:
    """A class for each year from the first to the last of train, those outside in the nearest; 0 is unknown."""
    years = [year for fact in train for year in fact[3:] if year is not None]
    if time is None or not years:
        return 0
    return 1 + min(max(time, min(years)), max(years)) - min(years)


def _classes_of(train: list[Fact], start: int | None, end: int | None) -> list[tuple[int | None, int | None]]:
    """A year of each class (`_time_class`) in which a fact may hold; one query without time where it has none."""
    if start is None and end is None:
        return [(None, None)]
    years = [year for fact in train for year in fact[3:] if year is not None]
    if not years:
        return [(None, None)]
    first = min(years) if start is None else _within(years, start)
    last = max(years) if end is None else _within(years, end)
    return [(year, year) for year in range(first, last + 1)]


def _within(years: list[int], year: int) -> int:
    return min(max(year, min(years)), max(years))


def _rank(scores: list[float], answer: int, left_out: set[int]) -> float:
    others = [scores[e] for e in range(len(scores)) if e != answer and e not in left_out]
    return 1 + sum(s > scores[answer] for s in others) + sum(s == scores[answer] for s in others) / 2


def _tkbi(everything: list[Fact], asked: Fact, asks_head: bool, score: Any, train: list[Fact]) -> float:
    """As dair-iitd/tkbi does: one row of scores, at the start; a rank for each year id of the interval, in which the
    entities known there get the lowest score; and the mean of these. An open end is a year after all others."""
    years = [-99, *sorted({year for fact in everything for year in fact[3:] if year is not None}), 99]

    def ids(start: int | None, end: int | None) -> range:
        if start is None and end is None:
            return range(1)
        return range(years.index(-99 if start is None else start), years.index(99 if end is None else end) + 1)

    subject, relation, answer, start, end = asked
    known: dict[int, set[int]] = {year: set() for year in range(len(years))}
    for head, its_relation, tail, *times in everything:
        its_subject, its_answer = (tail, head) if asks_head else (head, tail)
        if (its_subject, its_relation) == (subject, relation) and its_answer != answer:
            for year in ids(*times):
                known[year].add(its_answer)
    moment = _time_class(train, end if start is None else start)
    scores = score(subject, relation + RELATIONS * asks_head, moment, moment)
    ranked = [_rank(scores, answer, known[year]) for year in ids(start, end)]
    return sum(ranked) / len(ranked)


def brute_force(
    protocol: str, splits: list[list[Fact]], asked: list[Fact], score: Callable[[int, int, int, int], list[float]]
) -> list[float]:
    """Ranks of all tails, then of all heads; ``score`` gives those of all entities for (s, r, start, end class)."""
    train, everything = splits[0], [fact for split in splits for fact in split]
    actual = []
    for asks_head in (False, True):
        for head, relation, tail, start, end in asked:
            subject, answer = (tail, head) if asks_head else (head, tail)
            times: list[tuple[int | None, int | None]] = [(start, end)]
            if protocol == "timeplex":
                known = [time for time in (start, end) if time is not None]
                times = [(year, year) for year in range(min(known), max(known) + 1)] if known else [(None, None)]
            if protocol == "expanded":
                times = _classes_of(train, start, end)
            if protocol == "tkbi":
                actual.append(_tkbi(everything, (subject, relation, answer, start, end), asks_head, score, train))
                continue
            one = []
            for first, last in times:
                left_out = set()
                for other in everything:
                    its_subject, its_answer = (other[2], other[0]) if asks_head else (other[0], other[2])
                    same = (its_subject, other[1]) == (subject, relation) and its_answer != answer
                    if protocol == "expanded":
                        is_filtered = first is None or (first, first) in _classes_of(train, *other[3:])
                        is_filtered |= other[3:] == (None, None)
                    else:
                        is_filtered = _is_filtered(protocol, other, first, last)
                    if same and is_filtered:
                        left_out.add(its_answer)
                classes = [_time_class(train, a if a is not None else b) for a, b in ((first, last), (last, first))]
                scores = score(subject, relation + RELATIONS * asks_head, *classes)
                one.append(_rank(scores, answer, left_out))
            actual += one if protocol == "expanded" else [sum(one) / len(one)]
    return actual


@st.composite
def facts(draw: st.DrawFn, least: int, most: int) -> list[Fact]:
    year = st.none() | st.integers(-3, 3)
    entity, relation = st.integers(0, ENTITIES - 1), st.integers(0, RELATIONS - 1)
    rows = draw(st.lists(st.tuples(entity, relation, entity, year, year), min_size=least, max_size=most))
    return [(h, r, t, *((b, a) if a is not None and b is not None and a > b else (a, b))) for h, r, t, a, b in rows]


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(max_examples=25, deadline=None)
@given(train=facts(1, 14), valid=facts(0, 4), test=facts(0, 6), seed=st.integers(0, 10**6), batch=st.integers(1, 20))
def test_ranks_equal_brute_force(
    protocol: str,
    table_model: Any,
    make_graph: Callable[..., TemporalGraph],
    train: list[Fact],
    valid: list[Fact],
    test: list[Fact],
    seed: int,
    batch: int,
) -> None:
    graph = make_graph(ENTITIES, RELATIONS, train, valid, test)
    timeline = Timeline.build(graph, "width", 1)
    n = timeline.n_classes
    # few distinct scores, so that ties are the rule
    generator = torch.Generator().manual_seed(seed)
    table = torch.randint(0, 4, (ENTITIES, 2 * RELATIONS, n, n, ENTITIES), generator=generator).float()
    queries = both_directions(graph.test, RELATIONS)
    task = RankTask.build(queries, KnownAnswers(graph), timeline, "classes", protocol)

    expected = brute_force(protocol, [train, valid, test], test, lambda *at: table[at].tolist())
    model = table_model(table)
    np.testing.assert_allclose(ranks(model, task), expected, rtol=1e-13)
    np.testing.assert_array_equal(ranks(model, task, batch), ranks(model, task))


@pytest.mark.usefixtures("way")
def test_the_protocols_differ(table_model: Any, make_graph: Callable[..., TemporalGraph]) -> None:
    """The query (e0, r0, ?, 2000-2001) with answer e1; e2 to e5 score better and are known, each in another way."""
    test = [(0, 0, 1, 2000, 2001)]
    train = [(0, 0, 2, 2000, 2001), (0, 0, 3, 2001, 2005), (0, 0, 4, 2002, 2003), (0, 0, 5, None, None)]
    graph = make_graph(7, 1, train, [], test)
    timeline = Timeline.build(graph, "width", 100)
    table = torch.zeros(7, 2, 2, 2, 7)
    table[0, 0, :, :] = torch.tensor([0.0, 1, 2, 2, 2, 2, 2])
    queries = both_directions(graph.test, 1)
    actual = {}
    for protocol in PROTOCOLS:
        task = RankTask.build(queries, KnownAnswers(graph), timeline, "classes", protocol)
        actual[protocol] = ranks(table_model(table), task)[0]
    assert actual == {
        "raw": 6,  # e2 to e6 are better
        "static": 2,  # only e6 is not known
        "same-interval": 5,  # without e2
        "time-aware": 3,  # e4 holds later
        "timeplex": 3.5,  # in 2000 e3 and e4 do not hold (rank 4), in 2001 e4 does not (3)
        "expanded": 2,  # all years are of one class, in which all that is known may hold
        "tkbi": 4.5,  # in 2000 e2 is left out, in 2001 e3 as well; what has no time holds before all years
    }


@pytest.mark.usefixtures("way")
@settings(max_examples=30, deadline=None)
@given(train=facts(1, 14), test=facts(1, 6), seed=st.integers(0, 10**6), batch=st.integers(1, 20))
def test_protocols_that_ask_alike_are_ranked_as_each_alone(
    table_model: Any,
    make_graph: Callable[..., TemporalGraph],
    train: list[Fact],
    test: list[Fact],
    seed: int,
    batch: int,
) -> None:
    graph = make_graph(ENTITIES, RELATIONS, train, [], test)
    data = Inputs(graph, TimeSpec(classes="width", size=1), "raw", "cpu")
    n = data.timeline.n_classes
    generator = torch.Generator().manual_seed(seed)
    model = table_model(torch.randint(0, 4, (ENTITIES, 2 * RELATIONS, n, n, ENTITIES), generator=generator).float())
    assert sorted(name for group in ASKED_ALIKE for name in group) == sorted(PROTOCOLS)
    for protocols in ASKED_ALIKE:
        tasks = [data.task("test", "classes", protocol) for protocol in protocols]
        assert all(task.queries is tasks[0].queries for task in tasks)
        for protocol, together in zip(protocols, ranks_together(model, tasks, batch), strict=True):
            alone = RankTask.build(data.queries("test"), KnownAnswers(graph), data.timeline, "classes", protocol)
            np.testing.assert_array_equal(together, ranks(model, alone))
