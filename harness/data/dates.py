"""Date tokens: ``YYYY-MM-DD`` with ``##`` for an unknown month or day, ``####`` for an unknown year, or a bare year."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable

from harness.data.graph import UNKNOWN, Granularity

_DATE = re.compile(r"(-?)([0-9#]{1,4})(?:-([0-9#]{1,5})(?:-([0-9#]{1,5}))?)?")


def parse(token: str, granularity: Granularity) -> int:
    """The time of a date token: its year, or the proleptic Gregorian ordinal of its day.

    A year has one to four digits and may be negative. What is not known well enough is ``UNKNOWN``: an empty token, a
    year with an unknown digit (``####``, ``19##``) and, at day granularity, a date without a known month or day. At
    year granularity months and days are not looked at: YAGO11k has a month of five digits.

    Raises:
        ValueError: with the reason, if the token is not a date, or is not in the calendar of day granularity.

    >>> parse("1952-##-##", "year"), parse("-43-03-15", "year"), parse("####-##-##", "year") == UNKNOWN
    (1952, -43, True)
    """
    if not token:
        return UNKNOWN
    match = _DATE.fullmatch(token)
    if match is None:
        raise ValueError(f"{token[:40]!r} is not a date (YYYY-MM-DD, ## and #### for unknown parts)")
    sign, year, month, day = match.groups()
    if "#" in year:
        return UNKNOWN
    if granularity == "year":
        return -int(year) if sign else int(year)
    if month is None or day is None or "#" in month + day:
        return UNKNOWN
    if sign:
        raise ValueError(f"{token[:40]!r} is before the year 1, where the calendar of days begins")
    try:
        return dt.date(int(year), int(month), int(day)).toordinal()
    except ValueError as error:  # such as "month must be in 1..12"
        raise ValueError(f"{token[:40]!r} is not a day of the calendar: {error}") from None


def show(time: int, granularity: Granularity) -> str:
    """A time as text: the inverse of ``parse``, and ``unknown`` for ``UNKNOWN``."""
    if time == UNKNOWN:
        return "unknown"
    return str(time) if granularity == "year" else dt.date.fromordinal(time).isoformat()


def guess_granularity(tokens: Iterable[str]) -> Granularity:
    """``day`` if more than half of the known dates name their day and none is before the year 1, else ``year``."""
    known = full = 0
    for token in tokens:
        match = _DATE.fullmatch(token)
        if match is None or "#" in match[2]:
            continue
        if match[1]:
            return "year"
        known += 1
        full += match[3] is not None and match[4] is not None and "#" not in match[3] + match[4]
    return "day" if 2 * full > known else "year"
