"""Facts with ``<occursSince>`` or ``<occursUntil>`` before their date, as of mmkb (García-Durán et al., 2018).

A line has head, relation and tail, and may have one of the two words and a date. It is one fact, since or until then;
also where two lines say both of the same triple.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from harness.data.formats.text import Columns, columns, lines_of
from harness.errors import UserError

_SINCE, _UNTIL = "occursSince", "occursUntil"
#: a date, with the quotation marks and the type of RDF
_DATE = re.compile(r'"?([^"^]*)"?(?:\^\^\S+)?')


def fits(path: Path, line: str) -> bool:
    """Whether a line has one of the two words; the first may be a fact without a time."""
    if len(line.split("\t")) != 3:
        return _is_dated(line.split("\t"))
    with closing(lines_of(path)) as lines:
        return any(_is_dated(other.split("\t")) for _, other in lines)


def _is_dated(fields: list[str]) -> bool:
    return len(fields) == 5 and fields[3].strip("<>") in (_SINCE, _UNTIL)


def read(path: Path) -> tuple[Columns, str]:
    """The columns of a file; errors as of `harness.data.formats.text.read_columns`."""
    with closing(lines_of(path)) as lines:
        return columns(path, _rows(path, lines), (5,)), "facts with occursSince and occursUntil"


def _rows(path: Path, lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
    for number, line in lines:
        fields = line.split("\t")
        word = fields[3].strip("<>") if len(fields) == 5 else ""
        if len(fields) != 3 and not _is_dated(fields):
            raise UserError(
                f"{path}, line {number}: head, relation, tail, or the three with {_SINCE} and a date, expected"
            )
        match = _DATE.fullmatch(fields[4].strip()) if word else None
        date = fields[4] if word and match is None else match[1] if match else ""
        yield number, [*fields[:3], date if word == _SINCE else "", date if word == _UNTIL else ""]
