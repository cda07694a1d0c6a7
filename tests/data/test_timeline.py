"""Time classes and calendar tokens."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data import UNKNOWN, Facts, Queries, TemporalGraph, Timeline, Vocabulary, load

ONE = Vocabulary(("a",), (None,))
TIMES = st.lists(
    st.tuples(st.integers(-500, 2100) | st.just(UNKNOWN), st.integers(-500, 2100) | st.just(UNKNOWN)), max_size=30
)
PROBES = st.lists(st.integers(-9999, 9999) | st.just(UNKNOWN), min_size=1, max_size=20)


def graph_of(intervals: list[tuple[int, int]], granularity: str = "year") -> TemporalGraph:
    pairs = np.array(intervals, np.int64).reshape(-1, 2)
    zeros = np.zeros(len(pairs), np.int64)
    train = Facts(zeros, zeros, zeros, pairs[:, 0], pairs[:, 1])
    other = Facts(*[np.zeros(0, np.int64)] * 5)
    return TemporalGraph("small", granularity, ONE, ONE, train, other, other, digest="")


@pytest.mark.parametrize("classes", ["frequency", "width"])
@settings(max_examples=100, deadline=None)
@given(intervals=TIMES, size=st.integers(1, 40), probes=PROBES)
def test_classes_are_in_range_monotone_and_0_for_unknown_times_alone(
    classes: str, intervals: list, size: int, probes: list[int]
) -> None:
    timeline = Timeline.build(graph_of(intervals), classes, size)
    times = np.array(sorted(probes), np.int64)
    actual = timeline.classes(times)
    assert actual.dtype == np.int64
    assert np.all((actual >= 0) & (actual < timeline.n_classes))
    assert np.all(np.diff(actual) >= 0)
    if timeline.n_classes > 1:  # some training time is known
        assert np.array_equal(actual == 0, times == UNKNOWN)


@settings(max_examples=100, deadline=None)
@given(intervals=TIMES, size=st.integers(1, 15))
def test_by_frequency_a_class_closes_once_it_holds_more_than_size(intervals: list, size: int) -> None:
    timeline = Timeline.build(graph_of(intervals), "frequency", size)
    times = [t for pair in intervals for t in pair if t != UNKNOWN]
    members = [[t for t in times if timeline.classes(np.array([t])) == k] for k in range(1, timeline.n_classes)]
    assert sum(map(len, members)) == len(times)
    for k, member in enumerate(members):
        assert len([t for t in member if t != max(member)]) <= size  # it was open before its last time came
        assert len(member) > size or k == len(members) - 1


@settings(max_examples=100, deadline=None)
@given(intervals=TIMES, size=st.integers(1, 300))
def test_by_width_a_class_spans_size_years_from_the_first_on(intervals: list, size: int) -> None:
    timeline = Timeline.build(graph_of(intervals), "width", size)
    times = np.array([t for pair in intervals for t in pair if t != UNKNOWN], np.int64)
    if len(times):
        assert np.array_equal(timeline.classes(times), 1 + (times - times.min()) // size)
        assert timeline.n_classes == 2 + (times.max() - times.min()) // size


def test_times_outside_training_fall_into_the_first_and_the_last_class() -> None:
    timeline = Timeline.build(graph_of([(1990, 1999)]), "width", 5)
    assert timeline.classes(np.array([-431, 1990, 1994, 1995, 1999, 2844])).tolist() == [1, 1, 1, 2, 2, 2]


def test_only_training_facts_decide(write: Callable[..., Path]) -> None:
    near, far = load(str(write("near"))), load(str(write("far", test=["ann\tlives in\tRome\t-900\t3000"])))
    for classes in ("frequency", "width"):
        boundaries = [Timeline.build(graph, classes, 1).last.tolist() for graph in (near, far)]
        assert boundaries[0] == boundaries[1]


def test_without_any_known_time_there_is_the_unknown_class_alone() -> None:
    timeline = Timeline.build(graph_of([(UNKNOWN, UNKNOWN)]))
    assert timeline.n_classes == 1
    assert timeline.classes(np.array([UNKNOWN, 1990])).tolist() == [0, 0]


@pytest.mark.parametrize(("classes", "size"), [("frequency", 0), ("width", -1), ("decade", 10)])
def test_a_wrong_cut_is_refused(classes: str, size: int) -> None:
    with pytest.raises(ValueError, match="cannot cut the time line"):
        Timeline.build(graph_of([(1990, 1999)]), classes, size)


def test_the_treatment_of_missing_ends_unknown_dates_and_timeless_facts(write: Callable[..., Path]) -> None:
    """A missing end has its start's class, a missing start its end's, an unknown date counts as missing."""
    rows = {
        "a\tr\tb\t1990\t1995": (1990, 1995),
        "a\tr\tb\t1991\t####-##-##": (1991, 1991),
        "a\tr\tb\t####-##-##\t1992": (1992, 1992),
        "a\tr\tb\t19##\t1993": (1993, 1993),
        "a\tr\tb\t\t####": None,
    }
    for row, expected in rows.items():
        graph = load(str(write(train=[f"a\tr\tc\t{year}" for year in range(1985, 2000)], test=[row])))
        timeline = Timeline.build(graph, "width", 1)
        start, end = graph.test.time_points()
        actual = (int(timeline.classes(start)[0]), int(timeline.classes(end)[0]))
        assert actual == ((0, 0) if expected is None else (expected[0] - 1984, expected[1] - 1984))


def test_classes_of_days() -> None:
    days = [dt.date(2014, 1, day).toordinal() for day in (1, 2, 9, 31)]
    timeline = Timeline.build(graph_of([(day, day) for day in days], "day"), "width", 7)
    assert timeline.classes(np.array(days)).tolist() == [1, 1, 2, 5]


def decode(tokens: list[int]) -> tuple[int, int | None, int | None]:
    """The date that calendar tokens spell; their alphabet is: unknown, two signs, 4 x 10 digits, months, days."""
    sign = {1: 1, 2: -1}[tokens[0]]
    digits = [token - 3 - 10 * place for place, token in enumerate(tokens[1:5])]
    assert all(0 <= digit <= 9 for digit in digits)
    year = sign * int("".join(map(str, digits)))
    return (year, None, None) if len(tokens) == 5 else (year, tokens[5] - 42, tokens[6] - 54)


@given(st.lists(st.integers(-9999, 9999), max_size=10))
def test_tokens_spell_the_year(years: list[int]) -> None:
    timeline = Timeline("year", np.zeros(0, np.int64))
    tokens = timeline.tokens(np.array(years, np.int64))
    assert tokens.shape == (len(years), 5)
    assert [decode(row)[0] for row in tokens.tolist()] == years
    assert np.all((tokens > 0) & (tokens < timeline.n_tokens))


@given(st.lists(st.dates(), max_size=10))
def test_tokens_spell_the_day(dates: list[dt.date]) -> None:
    timeline = Timeline("day", np.zeros(0, np.int64))
    tokens = timeline.tokens(np.array([date.toordinal() for date in dates], np.int64))
    assert tokens.shape == (len(dates), 7)
    assert [dt.date(*decode(row)) for row in tokens.tolist()] == dates
    assert np.all((tokens > 0) & (tokens < timeline.n_tokens))


@pytest.mark.parametrize(("granularity", "length"), [("year", 5), ("day", 7)])
def test_an_unknown_time_has_the_unknown_token_throughout(granularity: str, length: int) -> None:
    timeline = Timeline(granularity, np.zeros(0, np.int64))
    assert timeline.tokens(np.array([UNKNOWN])).tolist() == [[0] * length]


def test_queries_share_the_treatment_of_facts() -> None:
    one = np.zeros(1, np.int64)
    queries = Queries(one, one, one, np.array([UNKNOWN]), np.array([1999]))
    assert [t.tolist() for t in queries.time_points()] == [[1999], [1999]]
