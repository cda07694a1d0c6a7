"""Reading the text files of a data set, strictly: every error names the file, the line and the reason."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.data.dates import guess_granularity, parse
from harness.data.graph import UNKNOWN, Facts, Granularity, Ints, Vocabulary
from harness.errors import UserError

SPLITS = ("train", "valid", "test")
_SUFFIXES = ("txt", "tsv", "csv")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
#: the longest line that is not taken for a broken file, in characters
_MAX_LINE = 20_000


def split_path(folder: Path, split: str) -> Path:
    """The file of a split: train.txt, train.tsv or train.csv (tab-separated each)."""
    for suffix in _SUFFIXES:
        path = folder / f"{split}.{suffix}"
        if path.is_file():
            return path
    raise UserError(f"{folder}: no {split}.txt (or .tsv, .csv); a data set needs train, valid and test files")


def read_rows(path: Path, columns: Sequence[int]) -> list[list[str]]:
    """The tab-separated fields of every line; all lines have the same, allowed, number of columns.

    Raises:
        UserError: if the file is missing, empty, binary or not UTF-8, or a line is malformed.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; check the path and its permissions") from None
    if b"\0" in raw:
        raise UserError(f"{path}: is a binary file, not tab-separated text")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line}: not UTF-8 text; convert the file to UTF-8") from None
    lines = text.replace("\r\n", "\n").split("\n")
    if lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise UserError(f"{path}: is empty; expected one fact a line")
    if _CONTROL.search(text.replace("\r\n", "\n")):
        line = next(k for k, content in enumerate(lines, 1) if _CONTROL.search(content))
        raise UserError(f"{path}, line {line}: contains a control character; remove it")
    rows = [line.split("\t") for line in lines]
    width = len(rows[0])
    for number, (line, row) in enumerate(zip(lines, rows, strict=True), 1):
        if len(row) != width or width not in columns:
            wanted = " or ".join(map(str, columns)) if len(row) == width else f"{width} as in line 1"
            raise UserError(
                f"{path}, line {number}: {len(row)} column(s) where {wanted} are needed (separated by tabs)"
            )
        if len(line) > _MAX_LINE:
            raise UserError(f"{path}, line {number}: longer than {_MAX_LINE:,} characters; not a fact")
    return rows


def read_vocabulary(path: Path) -> Vocabulary:
    """``entities.tsv`` or ``relations.tsv``: a header, then id, name and label; ids are 0, 1, 2 ... in order."""
    rows = read_rows(path, (3,))
    if rows[0] != ["id", "name", "label"]:
        raise UserError(f"{path}, line 1: the header must be id, name, label (tab-separated)")
    for number, row in enumerate(rows[1:], 2):
        if row[0] != str(number - 2):
            raise UserError(f"{path}, line {number}: id {row[0][:40]!r} where {number - 2} is expected")
    return Vocabulary(tuple(row[1] for row in rows[1:]), tuple(row[2] or None for row in rows[1:]))


@dataclass(frozen=True, eq=False)
class RawGraph:
    """What a folder holds, before it is checked as a whole."""

    entities: Vocabulary
    relations: Vocabulary
    granularity: Granularity
    splits: dict[str, Facts]
    swapped: int


def read_folder(folder: Path, *, sort_lines: bool = False) -> RawGraph:
    """Read train, valid and test of four (h, r, t, date) or five (h, r, t, start, end) columns.

    With an ``entities.tsv`` (``relations.tsv``) the columns hold its ids; without, they hold names, which get ids in
    sorted order. Times are days if every known date of the data set is a full one, else years. Where start is later
    than end, they are swapped.

    Args:
        folder: where the files lie.
        sort_lines: sort the facts of each split, for data sets whose sources order them differently.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    paths = {split: split_path(folder, split) for split in SPLITS}
    rows = {split: read_rows(path, (4, 5)) for split, path in paths.items()}
    if sort_lines:
        for part in rows.values():
            part.sort(key=lambda row: (row[3:], row))
    entity_file, relation_file = folder / "entities.tsv", folder / "relations.tsv"
    everything = [row for part in rows.values() for row in part]
    entities = (
        read_vocabulary(entity_file)
        if entity_file.exists()
        else _names(f for row in everything for f in (row[0], row[2]))
    )
    relations = read_vocabulary(relation_file) if relation_file.exists() else _names(row[1] for row in everything)
    granularity = guess_granularity({token for row in everything for token in row[3:]})
    swapped = 0
    splits = {}
    for split, part in rows.items():
        ids = [
            _ids(paths[split], part, column, entities if column != 1 else relations, listed)
            for column, listed in ((0, entity_file), (1, relation_file), (2, entity_file))
        ]
        start = _times(paths[split], part, 3, granularity)
        end = _times(paths[split], part, len(part[0]) - 1, granularity)
        wrong = (start != UNKNOWN) & (end != UNKNOWN) & (start > end)
        swapped += int(wrong.sum())
        splits[split] = Facts(*ids, np.where(wrong, end, start), np.where(wrong, start, end))
    return RawGraph(entities, relations, granularity, splits, swapped)


def _names(tokens: Iterable[str]) -> Vocabulary:
    """Names in sorted order; a name that is a mere number has no label."""
    names = tuple(sorted(set(tokens)))
    return Vocabulary(names, tuple(None if name.isdigit() else name for name in names))


def _ids(path: Path, rows: list[list[str]], column: int, vocabulary: Vocabulary, listed: Path) -> Ints:
    if listed.exists():
        known = {str(k): k for k in range(len(vocabulary))}
        why = f"is not an id of {listed.name} (0 to {len(vocabulary) - 1})"
    else:
        known = {name: k for k, name in enumerate(vocabulary.names)}
        why = "is empty; every fact needs a head, a relation and a tail"
        known.pop("", None)
    try:
        return np.array([known[row[column]] for row in rows], np.int64)
    except KeyError:
        number, token = next((k, row[column]) for k, row in enumerate(rows, 1) if row[column] not in known)
        raise UserError(f"{path}, line {number}, column {column + 1}: {token[:40]!r} {why}") from None


def _times(path: Path, rows: list[list[str]], column: int, granularity: Granularity) -> Ints:
    times: dict[str, int] = {}
    for number, row in enumerate(rows, 1):
        token = row[column]
        if token not in times:
            try:
                times[token] = parse(token, granularity)
            except ValueError as error:
                raise UserError(f"{path}, line {number}, column {column + 1}: {error}") from None
    return np.array([times[row[column]] for row in rows], np.int64)
