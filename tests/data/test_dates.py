"""Date tokens."""

from __future__ import annotations

import datetime as dt
import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data import UNKNOWN, dates
from harness.data.dates import guess_granularity, parse, show

YEARS = st.integers(-9999, 9999)
DAYS = st.integers(1, dt.date.max.toordinal())


@given(YEARS, st.sampled_from(["", "-##", "-##-##", "-03-##", "-03-15", "-99999-99"]))
def test_a_year_is_read_whatever_is_known_of_month_and_day(year: int, others: str) -> None:
    assert parse(show(year, "year") + others, "year") == year


@given(DAYS)
def test_a_day_survives_showing_and_reading(day: int) -> None:
    assert parse(show(day, "day"), "day") == day
    assert show(day, "day") == dt.date.fromordinal(day).isoformat()


@pytest.mark.parametrize(
    ("token", "year"),
    [
        ("7", 7),
        ("43-##-##", 43),
        ("360-##-##", 360),
        ("0360", 360),
        ("2014-05-13", 2014),
        ("-431-##-##", -431),
        ("0", 0),
    ],
)
def test_years_have_one_to_four_digits_and_may_be_negative(token: str, year: int) -> None:
    assert parse(token, "year") == year


@pytest.mark.parametrize("token", ["", "####-##-##", "####", "19##-##-##", "196#", "-####", "####-05-13"])
def test_a_year_that_is_not_fully_known_is_unknown(token: str) -> None:
    assert parse(token, "year") == UNKNOWN
    assert parse(token, "day") == UNKNOWN


@pytest.mark.parametrize("token", ["2014", "2014-05", "2014-05-##", "2014-##-13", "-44-##-##"])
def test_at_day_granularity_a_date_without_a_known_day_is_unknown(token: str) -> None:
    assert parse(token, "day") == UNKNOWN


@pytest.mark.parametrize(
    "token",
    [
        "yesterday",
        "20140",
        "2014-",
        "2014-05-13-01",
        "2014/05/13",
        " 2014",
        "2014 ",
        "--44",
        "+44",
        "٢٠١٤",
        "-",
        "1e3",
        "31-12-1999",
        "##-##-1999",
        "12-1999",
    ],
)
@pytest.mark.parametrize("granularity", ["year", "day"])
def test_anything_else_is_not_a_date(token: str, granularity: str) -> None:
    with pytest.raises(ValueError, match="is not a date"):
        parse(token, granularity)


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("2014-02-30", "day is out of range"),
        ("2014-13-01", "month must be in 1..12"),
        ("0000-01-01", "year 0 is out of range"),
        ("-44-03-15", "before the year 1"),
    ],
)
def test_a_day_must_be_in_the_calendar(token: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse(token, "day")
    assert isinstance(parse(token, "year"), int)


@given(st.text(max_size=12) | st.text("0123456789#-", max_size=14), st.sampled_from(["year", "day"]))
def test_reading_a_token_never_fails_otherwise(token: str, granularity: str) -> None:
    try:
        time = parse(token, granularity)
    except ValueError:
        return
    assert time == UNKNOWN or parse(show(time, granularity), granularity) == time


def test_an_unknown_time_is_shown_as_such() -> None:
    assert show(UNKNOWN, "year") == show(UNKNOWN, "day") == "unknown"


@pytest.mark.parametrize(
    ("tokens", "granularity"),
    [
        ([], "year"),
        (["", "####-##-##"], "year"),
        (["2014-05-13", "2014-05-14"], "day"),
        (["2014-05-13", "####-##-##", ""], "day"),
        (["2014-05-13", "2014-05-14", "2014-##-##"], "day"),  # most name their day
        (["2014-05-13", "2014-##-##"], "year"),
        (["1952", "1953"], "year"),
        (["2014-05-13", "2014-05-14", "-44-03-15"], "day"),  # the odd one is refused
        (["-44-03-14", "-44-03-15", "2014-05-14"], "year"),  # the calendar of days begins later
        (["2014-05-13", "2014-05-14", "1952", "1952", "1952"], "year"),  # as often as they occur
    ],
)
def test_granularity_is_that_of_most_dates(tokens: list[str], granularity: str) -> None:
    assert guess_granularity(tokens) == granularity


def test_examples_in_docstrings() -> None:
    result = doctest.testmod(dates)
    assert (result.attempted > 0, result.failed) == (True, 0)
