"""Text files line by line, strictly: every error names the file, the line and the reason."""

from __future__ import annotations

import codecs
import re
from array import array
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from harness.data.formats import arrow
from harness.data.graph import Ints
from harness.errors import UserError

#: tab and line feed are the format's own
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
#: the longest line that is not taken for a broken file, in characters
_MAX_LINE = 20_000
#: the largest file that is read; a hundred million bytes are some millions of facts
MAX_BYTES = 512 * 2**20
#: bytes from which on Arrow pays, whose first use takes a quarter of a second
_LARGE = 2**20


@dataclass(frozen=True, eq=False)
class Tokens:
    """A column of text: its ``distinct`` tokens in the order in which they first occur, and ``codes`` int [rows] of
    their positions there: a name takes memory once, however many facts have it."""

    distinct: Sequence[str]
    codes: NDArray[np.int32]

    def texts(self) -> tuple[str, ...]:
        """The token of each row."""
        return tuple(map(self.distinct.__getitem__, self.codes.tolist()))

    def counts(self) -> Counter[str]:
        """How often each token occurs."""
        return Counter(dict(zip(self.distinct, np.bincount(self.codes).tolist(), strict=True)))


@dataclass(frozen=True, eq=False)
class Columns:
    """A tab-separated file, column by column; ``lines[k]`` is the line number of row k."""

    path: Path
    fields: list[Tokens]
    lines: Sequence[int]

    def convert(self, column: int, meaning: Callable[[str], int]) -> Ints:
        """One column as int64 [rows]; a ``ValueError`` of ``meaning`` becomes an error that names the line."""
        tokens = self.fields[column]
        converted = array("q")
        try:
            converted.extend(map(meaning, tokens.distinct))  # keeps what came before an error
        except ValueError as error:
            row = int((tokens.codes == len(converted)).argmax())
            raise UserError(f"{self.path}, line {self.lines[row]}, column {column + 1}: {error}") from None
        return np.array(converted, np.int64)[tokens.codes]


def read_columns(path: Path, widths: Sequence[int]) -> Columns:
    """Read a file whose lines all have the same number of fields, one of ``widths``; empty lines do not count.

    Raises:
        UserError: if the file cannot be read, is empty, binary or not UTF-8, or has a malformed line.
    """
    if (read := _quickly(path, widths)) is not None:
        return read
    with closing(lines_of(path)) as numbered:  # also after an error
        return columns(path, ((number, line.split("\t")) for number, line in numbered), widths)


def _quickly(path: Path, widths: Sequence[int]) -> Columns | None:
    """A file by Arrow; None if it has to be read line by line."""
    try:
        if not path.is_file() or not _LARGE <= path.stat().st_size <= MAX_BYTES:
            return None
        read = arrow.dictionaries(path.read_bytes(), widths, _MAX_LINE)
    except OSError:
        return None
    return None if read is None else Columns(path, [Tokens(*one) for one in read], range(1, len(read[0][1]) + 1))


def columns(
    path: Path, rows: Iterable[tuple[int, Sequence[str]]], widths: Sequence[int], separated: str = "tabs"
) -> Columns:
    """Rows, each with the number of its line, as columns; errors as of ``read_columns``."""
    lines = array("q")
    known: list[dict[str, int]] = []
    codes: list[array[int]] = []
    for number, row in rows:
        if not lines:
            known, codes = [{} for _ in row], [array("i") for _ in row]
        first = len(known)
        if len(row) != first or first not in widths:
            needed = " or ".join(map(str, widths)) if len(row) == first else f"{first}, as above,"
            here = f"{path}, line {number}: {len(row)} column(s)"
            raise UserError(f"{here} where {needed} are needed, separated by {separated}")
        lines.append(number)
        for token, positions, column in zip(row, known, codes, strict=True):
            column.append(positions.setdefault(token, len(positions)))
    if not lines:
        raise UserError(f"{path}: is empty")
    fields = [Tokens(list(one), np.array(column, np.int32)) for one, column in zip(known, codes, strict=True)]
    return Columns(path, fields, lines)


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
