"""Reading the text files of a data set, strictly: every error names the file, the line and the reason."""

from __future__ import annotations

import codecs
import re
from array import array
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from harness.data.checks import RawGraph
from harness.data.dates import guess_granularity, parse
from harness.data.graph import SPLITS, UNKNOWN, Facts, Ints, Vocabulary
from harness.errors import UserError

_SUFFIXES = ("txt", "tsv", "csv")
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
    lines = array("q")
    rows: list[tuple[str, ...]] = []
    known: dict[str, str] = {}  # a name takes memory once, however many facts have it
    with closing(_lines(path)) as numbered:  # also after an error
        for number, line in numbered:
            row = line.split("\t")
            first = len(rows[0]) if rows else len(row)
            if len(row) != first or first not in widths:
                needed = " or ".join(map(str, widths)) if len(row) == first else f"{first}, as above,"
                here = f"{path}, line {number}: {len(row)} column(s)"
                raise UserError(f"{here} where {needed} are needed, separated by tabs")
            lines.append(number)
            rows.append(tuple(known.setdefault(token, token) for token in row))
    if not rows:
        raise UserError(f"{path}: is empty")
    return Columns(path, list(zip(*rows, strict=True)), lines)


def _lines(path: Path) -> Generator[tuple[int, str]]:
    """The lines of a text file that are not empty, and their numbers, one by one: a file may be larger than memory."""
    try:
        _refuse_strange(path)
        with path.open("rb") as file:
            yield from _lines_of(file, path)
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


def _lines_of(file: BinaryIO, path: Path) -> Iterator[tuple[int, str]]:
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


def read_folder(folder: Path) -> RawGraph:
    """Read train, valid and test of four (h, r, t, date) or five (h, r, t, start, end) columns.

    Heads and tails are ids of ``entities.tsv`` where there is one, else names, which get ids in sorted order; names
    that are all plain numbers are sorted as numbers and have no labels. Likewise relations and ``relations.tsv``.
    Times are days if most dates name one (``guess_granularity``), else years. Where the start is later than the end,
    they are swapped.

    Raises:
        UserError: if a file is missing or a line is malformed.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    files = {split: read_columns(_split_file(folder, split), (4, 5)) for split in SPLITS}
    granularity = guess_granularity({token for file in files.values() for part in file.fields[3:] for token in part})
    entities, entity_id = _vocabulary(folder / "entities.tsv", list(files.values()), (0, 2))
    relations, relation_id = _vocabulary(folder / "relations.tsv", list(files.values()), (1,))
    splits, swapped = {}, {}
    for split, file in files.items():
        start, end = (file.convert(k, lambda token: parse(token, granularity)) for k in (3, len(file.fields) - 1))
        wrong = (end != UNKNOWN) & (start > end)  # UNKNOWN is smaller than every time
        swapped[split] = int(wrong.sum())
        splits[split] = Facts(
            head=file.convert(0, entity_id),
            relation=file.convert(1, relation_id),
            tail=file.convert(2, entity_id),
            start=np.where(wrong, end, start),
            end=np.where(wrong, start, end),
        )
    return RawGraph(entities, relations, granularity, splits, swapped)


def _split_file(folder: Path, split: str) -> Path:
    for suffix in _SUFFIXES:
        path = folder / f"{split}.{suffix}"
        if path.is_file():
            return path
    raise UserError(f"{folder}: no {split}.txt (or .tsv, .csv); a data set needs train, valid and test files")


def _vocabulary(
    listed: Path, files: list[Columns], columns: tuple[int, ...]
) -> tuple[Vocabulary, Callable[[str], int]]:
    """The vocabulary of some columns, and the function from a token of them to its id."""
    if listed.exists():
        vocabulary = _read_vocabulary(listed)
        ids = {str(k): k for k in range(len(vocabulary))}
        why = f"is not an id of {listed.name} (0 to {len(vocabulary) - 1})"
    else:
        names = {name for file in files for column in columns for name in file.fields[column]}
        names.discard("")
        vocabulary = _name_vocabulary(names)
        ids = {name: k for k, name in enumerate(vocabulary.names)}
        why = "is no name; every fact needs a head, a relation and a tail"

    def identify(token: str) -> int:
        if token not in ids:
            raise ValueError(f"{token[:40]!r} {why}")
        return ids[token]

    return vocabulary, identify


def _name_vocabulary(names: set[str]) -> Vocabulary:
    if all(re.fullmatch("[0-9]{1,18}", name) for name in names):
        # ids of a vocabulary that did not come along: in this order, they are what entities.tsv would number
        return Vocabulary(tuple(sorted(names, key=lambda name: (int(name), name))), (None,) * len(names))
    return Vocabulary(tuple(sorted(names)), tuple(sorted(names)))


def _read_vocabulary(path: Path) -> Vocabulary:
    """``entities.tsv`` or ``relations.tsv``: a header, then id, name and label; ids are 0, 1, 2 ... in order."""
    file = read_columns(path, (3,))
    ids, names, labels = file.fields
    if (ids[0], names[0], labels[0]) != ("id", "name", "label"):
        raise UserError(f"{path}, line {file.lines[0]}: the first line must be: id, name, label (separated by tabs)")
    seen: dict[str, int] = {}
    for number, row, name in zip(file.lines[1:], ids[1:], names[1:], strict=True):
        if row != str(len(seen)):
            raise UserError(f"{path}, line {number}: id {row[:40]!r} where {len(seen)} is expected")
        if not name:
            raise UserError(f"{path}, line {number}: has no name")
        if name in seen:
            raise UserError(f"{path}, line {number}: the name {name[:40]!r} is also that of id {seen[name]}")
        seen[name] = len(seen)
    if not seen:
        raise UserError(f"{path}: lists nothing")
    return Vocabulary(names[1:], tuple(label or None for label in labels[1:]))
