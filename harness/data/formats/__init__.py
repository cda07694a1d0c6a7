"""Files of facts as the field writes them, a format a module; each yields heads, relations, tails and times as text.

A format has ``fits(path, line)``, whether a file is of it by its path and first line, and ``read(path)``: its columns
head, relation, tail, and one of dates or two of starts and ends. The first that fits reads the file.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Protocol

from harness.data.formats import headed, mmkb, plain
from harness.data.formats.text import Columns, lines_of
from harness.errors import UserError


class Format(Protocol):
    """A module of this package that reads a format."""

    def fits(self, path: Path, line: str, /) -> bool: ...

    def read(self, path: Path, /) -> tuple[Columns, str]: ...


FORMATS: tuple[Format, ...] = (mmkb, headed, plain)
#: names that the file of a split may have, and suffixes; the first that exists counts
NAMES = {"train": ("train",), "valid": ("valid", "val", "dev", "validation"), "test": ("test",)}
SUFFIXES = (".txt", ".tsv", ".csv", "")


def read_file(path: Path) -> tuple[Columns, str]:
    """The columns of a file of facts, and what it was read as.

    Raises:
        UserError: the file cannot be read, or a line is malformed.
    """
    with closing(lines_of(path)) as lines:
        first = next(lines, None)
    if first is None:
        raise UserError(f"{path}: is empty")
    return next(one for one in FORMATS if one.fits(path, first[1])).read(path)


def file_of(folder: Path, split: str) -> Path:
    """The file of a split in a folder.

    Raises:
        UserError: there is none, or there are several.
    """
    for name in NAMES[split]:
        for suffix in SUFFIXES:
            if (path := folder / f"{name}{suffix}").is_file():
                return path
    # such as yago15k_train.txt
    longer = [
        path for name in NAMES[split] for path in sorted(folder.glob(f"*[_-]{name}.*")) if path.suffix in SUFFIXES
    ]
    if len(longer) > 1:
        raise UserError(f"{folder}: has both {longer[0].name} and {longer[1].name}; keep one of them")
    if not longer:
        raise UserError(f"{folder}: no {split}.txt (or .tsv, .csv); a data set needs train, valid and test files")
    return longer[0]
