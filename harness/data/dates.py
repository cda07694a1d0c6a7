"""Date tokens: ``YYYY-MM-DD`` with ``##`` for an unknown month or day, ``####`` for an unknown year, or a bare year."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable

from harness.data.graph import UNKNOWN, Granularity

_DATE = re.compile(r"(-?)([\d#]{1,4})(?:-([\d#]+)(?:-([\d#]+))?)?", re.ASCII)


def parse(token: str, granularity: Granularity) -> int:
    """The time of a date token: its year, or the proleptic Gregorian ordinal of its day.

    Years have one to four digits and may be negative (then only year granularity makes sense). A token that is
    empty or whose year has an unknown digit (``####``, ``19##``) is ``UNKNOWN``; at day granularity so is a date without a known month or day.

    Raises:
        ValueError: with the reason, if the token is not a date.

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
    if granularity == "year":  # YAGO has a year with an impossible month: only the year counts here
        return -int(year) if sign else int(year)
    if sign or int(year) == 0:
        raise ValueError(f"{token!r} is before the year 1, which day granularity cannot express")
    if month is None or day is None or "#" in month + day:
        return UNKNOWN
    try:
        return datetime.date(int(year), int(month), int(day)).toordinal()
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{token[:40]!r}: {error}") from None


def show(time: int, granularity: Granularity) -> str:
    """A time as text; the inverse of ``parse`` up to unknown parts."""
    if time == UNKNOWN:
        return "unknown"
    return str(time) if granularity == "year" else datetime.date.fromordinal(time).isoformat()


def guess_granularity(tokens: Iterable[str]) -> Granularity:
    """``day`` if every token names a full day (or nothing at all), else ``year``."""
    full = 0
    for token in tokens:
        match = _DATE.fullmatch(token)
        if match is None or "#" in match[2]:
            continue
        if match[1] or match[3] is None or match[4] is None or "#" in match[3] + match[4]:
            return "year"
        full += 1
    return "day" if full else "year"
