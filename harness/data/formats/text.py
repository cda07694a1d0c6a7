"""Text files line by line, strictly: every error names the file, the line and the reason."""

from __future__ import annotations

import codecs
import re
from array import array
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from harness.data.graph import Ints
from harness.errors import UserError

#: tab and line feed are the format's own
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
#: the longest line that is not taken for a broken file, in characters
_MAX_LINE = 20_000
#: the largest file that is read; a hundred million bytes are some millions of facts
MAX_BYTES = 128 * 2**20


@dataclass(frozen=True, eq=False)
class Columns:
    """A tab-separated file, column by column; ``lines[k]`` is the line number of row k."""

    path: Path
    fields: list[tuple[str, ...]]
    lines: Sequence[int]

    def convert(self, column: int, meaning: Callable[[str], int]) -> Ints:
        """One column as int64 [rows]; a ``ValueError`` of ``meaning`` becomes an error that names the line."""
        tokens = self.fields[column]
        converted: dict[str, int] = {}
        for row, token in enumerate(tokens):
            if token not in converted:
                try:
                    converted[token] = meaning(token)
                except ValueError as error:
                    raise UserError(f"{self.path}, line {self.lines[row]}, column {column + 1}: {error}") from None
        return np.array([converted[token] for token in tokens], np.int64)


def read_columns(path: Path, widths: Sequence[int]) -> Columns:
    """Read a file whose lines all have the same number of fields, one of ``widths``; empty lines do not count.

    Raises:
        UserError: if the file cannot be read, is empty, binary or not UTF-8, or has a malformed line.
    """
    with closing(lines_of(path)) as numbered:  # also after an error
        return columns(path, ((number, line.split("\t")) for number, line in numbered), widths)


def columns(
    path: Path, rows: Iterable[tuple[int, Sequence[str]]], widths: Sequence[int], separated: str = "tabs"
) -> Columns:
    """Rows, each with the number of its line, as columns; errors as of ``read_columns``."""
    lines = array("q")
    kept: list[tuple[str, ...]] = []
    known: dict[str, str] = {}  # a name takes memory once, however many facts have it
    for number, row in rows:
        first = len(kept[0]) if kept else len(row)
        if len(row) != first or first not in widths:
            needed = " or ".join(map(str, widths)) if len(row) == first else f"{first}, as above,"
            here = f"{path}, line {number}: {len(row)} column(s)"
            raise UserError(f"{here} where {needed} are needed, separated by {separated}")
        lines.append(number)
        kept.append(tuple(known.setdefault(token, token) for token in row))
    if not kept:
        raise UserError(f"{path}: is empty")
    return Columns(path, list(zip(*kept, strict=True)), lines)


def lines_of(path: Path) -> Generator[tuple[int, str]]:
    """The lines of a text file that are not empty, and their numbers, one by one: a file may be larger than memory."""
    try:
        _refuse_strange(path)
        with path.open("rb") as file:
            yield from _numbered(file, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; check the path and its permissions") from None


def _refuse_strange(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"{path}: is no file")
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path}: is larger than {MAX_BYTES >> 20} MiB, which no file of facts is")
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            if b"\0" in block:
                raise UserError(f"{path}: is a binary file, not tab-separated text")


def _numbered(file: BinaryIO, path: Path) -> Iterator[tuple[int, str]]:
    most = 4 * _MAX_LINE + 5  # bytes: of the longest line in UTF-8, its end, and a byte order mark
    for number, raw in enumerate(iter(partial(file.readline, most), b""), 1):
        if number == 1:
            raw = raw.removeprefix(codecs.BOM_UTF8)
        is_whole = raw.endswith(b"\n") or len(raw) < most
        try:
            # of a line that is longer, the last letter may be cut
            line = raw.decode(errors="strict" if is_whole else "ignore").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise UserError(f"{path}, line {number}: is not UTF-8 text; convert the file to UTF-8") from None
        if _CONTROL.search(line):
            raise UserError(f"{path}, line {number}: contains a control character; remove it")
        if len(line) > _MAX_LINE or not is_whole:
            raise UserError(f"{path}, line {number}: is longer than {_MAX_LINE:,} characters, which is not a fact")
        if line:
            yield number, line
