"""Facts with a header, or separated by commas, as spreadsheets write them: columns in any order, others left out."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from harness.data.formats.text import Columns, columns, lines_of
from harness.errors import UserError

#: what the columns of a header may be called, in small letters and with single spaces
NAMES = {
    "head": ("head", "subject", "source", "h", "s", "head entity", "entity1"),
    "relation": ("relation", "predicate", "rel", "r", "p", "edge", "property"),
    "tail": ("tail", "object", "target", "o", "tail entity", "entity2"),
    "start": ("start", "since", "begin", "from", "valid from", "start date", "start time", "start year"),
    "end": ("end", "until", "to", "valid to", "end date", "end time", "end year"),
    "date": ("date", "time", "timestamp", "year", "day", "when"),
}


def fits(path: Path, line: str) -> bool:
    """Whether the first line is a header, or the file has commas in the place of tabs."""
    fields = _split(line, _separator(line))
    is_comma = path.suffix == ".csv" and "\t" not in line and fields is not None and len(fields) > 1
    return is_comma or _is_header(fields or [])


def read(path: Path) -> tuple[Columns, str]:
    """The columns of a file.

    Raises:
        UserError: a column is not there or there twice, or a line is malformed.
    """
    with closing(lines_of(path)) as lines:
        number, line = next(lines)
        separator = _separator(line)
        header = _split(line, separator) or []
        named = _named(header)
        separated = {"\t": "tabs", ",": "commas", ";": "semicolons"}[separator]
        if not _is_header(header):
            rows = _rows(path, lines, separator, first=(number, header))
            return columns(path, rows, (4, 5), separated), f"columns separated by {separated}"
        times = ["date"] if "date" in named and not named.keys() & {"start", "end"} else ["start", "end"]
        wanted = ("head", "relation", "tail", *times)
        if (lacking := next((name for name in wanted if name not in named), None)) is not None:
            names = ", ".join(NAMES[lacking][1:])
            raise UserError(f"{path}, line {number}: has no column {lacking!r} (or {names}); name it in the header")
        order = [named[name] for name in wanted]
        taken = (
            (row_number, [row[k] for k in order]) for row_number, row in _rows(path, lines, separator, len(header))
        )
        left = [name.strip() for k, name in enumerate(header) if k not in order]
        about = f"columns {', '.join(header[k].strip() for k in order)}"
        return columns(path, taken, (4, 5), separated), about + (f"; left out: {', '.join(left)}" if left else "")


def _separator(line: str) -> str:
    return max("\t,;", key=line.count)


def _split(line: str, separator: str) -> list[str] | None:
    """The fields of a line, of commas and semicolons without the spaces around; None: it is malformed."""
    is_padded = separator != "\t"
    try:
        fields = next(csv.reader([line], delimiter=separator, skipinitialspace=is_padded, strict=True), None)
    except csv.Error:  # a quotation mark that is not closed
        return None
    return [field.strip() for field in fields] if fields and is_padded else fields


def _is_header(fields: list[str]) -> bool:
    """Whether fields name head, relation and tail, or any two columns, with no digit where a fact has dates."""
    named, has_dates = _named(fields), any(character.isdigit() for field in fields[3:] for character in field)
    return named.keys() >= {"head", "relation", "tail"} or (len(named) > 1 and not has_dates)


def _named(header: list[str]) -> dict[str, int]:
    """The positions of the columns that a header names."""
    words = [" ".join(name.casefold().replace("_", " ").split()) for name in header]
    return {column: words.index(name) for column, names in NAMES.items() for name in reversed(names) if name in words}


def _rows(
    path: Path,
    lines: Iterator[tuple[int, str]],
    separator: str,
    width: int | None = None,
    first: tuple[int, list[str]] | None = None,
) -> Iterator[tuple[int, list[str]]]:
    if first is not None:
        yield first
    for number, line in lines:
        row = _split(line, separator)
        if row is None:
            raise UserError(f"{path}, line {number}: has a quotation mark that is not closed")
        if width is not None and len(row) != width:
            raise UserError(f"{path}, line {number}: {len(row)} column(s) where the header has {width}")
        yield number, row
