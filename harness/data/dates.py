"""Times as text: ``YYYY-MM-DD``, ``##`` for an unknown month or day, ``####`` for a year; years; steps."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterable

from harness.data.graph import UNKNOWN, Granularity

# YAGO11k has a month of five digits
_DATE = re.compile(r"(-?)([0-9#]{1,4})(?:-([0-9#]{1,5})(?:-([0-9#]{1,2}))?)?")
#: what would be read as the year 31 or as an unknown one
_YEAR_LAST = re.compile(r"-?[0-9#]{1,2}-(?:[0-9#]{1,2}-)?[0-9#]{4}")
#: digits of a step, at most: seconds since 1970 have ten
STEP_DIGITS = 12
_STEP = re.compile(rf"-?[0-9]{{1,{STEP_DIGITS}}}")
_UNIT = re.compile(r"[1-9][0-9]{0,5} ?(?:s|min|h|days?|weeks?|months?|years?|steps?)")


def parse(token: str, granularity: Granularity) -> int:
    """The time of a token: its year, the proleptic Gregorian ordinal of its day, or a step as it is.

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
    if granularity == "step":
        if _STEP.fullmatch(token):
            return int(token)
        if re.fullmatch("#+", token):
            return UNKNOWN
        raise ValueError(f"{token[:40]!r} is not a step, a whole number of up to {STEP_DIGITS} digits")
    match = None if _YEAR_LAST.fullmatch(token) else _DATE.fullmatch(token)
    if match is None:
        reason = "YYYY-MM-DD, ## and #### for unknown parts"
        if _YEAR_LAST.fullmatch(token):
            reason = "its year comes last; write YYYY-MM-DD"
        elif _STEP.fullmatch(token):
            reason = "if times are steps, 'python -m harness.data prepare --time-unit' says so"
        raise ValueError(f"{token[:40]!r} is not a date ({reason})")
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
    return dt.date.fromordinal(time).isoformat() if granularity == "day" else str(time)


def guess_granularity(tokens: Iterable[str]) -> Granularity:
    """``day`` if more than half of the known dates name their day, and most of these are not before the year 1.

    Else ``year``. Each token counts as often as it occurs. A lone day before the year 1, where the calendar of days
    begins, is left to be refused.
    """
    known = full = early = 0
    for token, count in Counter(tokens).items():
        match = _DATE.fullmatch(token)
        if match is None or "#" in match[2]:
            continue
        known += count
        if _names_day(match):
            full += count
            early += count * bool(match[1])
    return "day" if 2 * full > known and 2 * early < full else "year"


def looks(tokens: Iterable[str]) -> Counter[tuple[bool, bool]]:
    """How many dates of a known year name their day or not, and have a year of one or two digits or not."""
    counts: Counter[tuple[bool, bool]] = Counter()
    for token, count in Counter(tokens).items():
        match = _DATE.fullmatch(token)
        if match is not None and "#" not in match[2]:
            counts[_names_day(match), len(match[2]) <= 2] += count
    return counts


def unit_of(unit: object) -> Granularity:
    """The granularity of times in a unit: ``year`` and ``day`` are those of dates, ``15min`` or ``1day`` of steps.

    Raises:
        ValueError: it is no unit.
    """
    if unit == "year" or unit == "day":
        return "year" if unit == "year" else "day"
    if isinstance(unit, str) and _UNIT.fullmatch(unit):
        return "step"
    raise ValueError(
        f"{str(unit)[:40]!r} is no unit; write year or day for dates, or what a step is, such as 15min or 1day"
    )


def _names_day(match: re.Match[str]) -> bool:
    return match[3] is not None and match[4] is not None and "#" not in match[3] + match[4]
