"""Names of entities and relations: of the facts, of ``entities.tsv``, or of ``entity2id.txt`` and ``stat.txt``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from harness.data.formats.text import Columns, columns, lines_of, read_columns
from harness.data.graph import Vocabulary
from harness.errors import UserError

_NUMBER = re.compile("[0-9]{1,18}")


class Names(NamedTuple):
    """A vocabulary, and the function from a token of a file of facts to its id."""

    vocabulary: Vocabulary
    identify: Callable[[str], int]


def names_of(folder: Path, kind: str, tokens: Iterable[str], count: int | None) -> Names:
    """The vocabulary of the ``tokens`` of some columns of a folder's facts.

    Args:
        folder: of the data set.
        kind: ``entities`` or ``relations``.
        tokens: what stands in these columns.
        count: how many there are by ``stat.txt``; None: it does not say.

    Raises:
        UserError: a list of names is malformed, or has another number of them than ``stat.txt`` says.
    """
    distinct = {*tokens} - {""}
    listed = folder / f"{kind}.tsv"
    numbered = folder / f"{'entity' if kind == 'entities' else 'relation'}2id.txt"
    are_numbers = all(map(_NUMBER.fullmatch, distinct))
    if listed.exists():
        return _by_position(_listed(listed), listed.name)
    if numbered.exists() and are_numbers:
        vocabulary = _numbered(numbered)
        if count is not None and count != len(vocabulary):
            raise UserError(f"{folder / 'stat.txt'}: says {count} {kind}, and {numbered.name} lists {len(vocabulary)}")
        return _by_position(vocabulary, numbered.name)
    if count is not None and are_numbers:
        return _by_position(Vocabulary(tuple(map(str, range(count))), (None,) * count), "stat.txt")
    vocabulary = _of_names(distinct)
    ids = {name: k for k, name in enumerate(vocabulary.names)}
    return Names(vocabulary, _identify(ids, "is no name; every fact needs a head, a relation and a tail"))


def counts(folder: Path) -> tuple[int, int] | None:
    """How many entities and relations there are by ``stat.txt``; None without that file.

    Raises:
        UserError: it does not begin with two numbers.
    """
    path = folder / "stat.txt"
    if not path.exists():
        return None
    words = [
        word
        for column in read_columns(path, range(1, 9)).fields
        for word in column.texts()[:1]
        for word in word.split()
    ]
    if len(words) < 2 or not all(map(re.compile("[0-9]{1,9}").fullmatch, words[:2])):
        raise UserError(f"{path}, line 1: begins with two numbers, of entities and of relations, or remove the file")
    return int(words[0]), int(words[1])


def label_of(name: str) -> str:
    """What a language model reads for a name of YAGO, such as ``<Beverly_Adams>``, or for any other."""
    is_resource = name.startswith("<") and name.endswith(">") and len(name) > 2
    return " ".join((name[1:-1].replace("_", " ") if is_resource else name).split())


def _identify(ids: dict[str, int], why: str) -> Callable[[str], int]:
    def identify(token: str) -> int:
        if token not in ids:
            raise ValueError(f"{token[:40]!r} {why}")
        return ids[token]

    return identify


def _by_position(vocabulary: Vocabulary, file: str) -> Names:
    ids = {str(k): k for k in range(len(vocabulary))}
    return Names(vocabulary, _identify(ids, f"is not an id of {file} (0 to {len(vocabulary) - 1})"))


def _of_names(names: set[str]) -> Vocabulary:
    if all(map(_NUMBER.fullmatch, names)):
        # ids of a vocabulary that did not come along: in this order, they are what entities.tsv would number
        return Vocabulary(tuple(sorted(names, key=lambda name: (int(name), name))), (None,) * len(names))
    return Vocabulary(tuple(sorted(names)), tuple(sorted(names)))


def _numbered(path: Path) -> Vocabulary:
    """``entity2id.txt`` or ``relation2id.txt``: a name and its id a line, in any order; a first line may count them."""
    file = _without_count(path)
    names, ids = (column.texts() for column in file.fields[:2])
    positions = file.convert(1, _position).tolist()
    by_id: dict[int, int] = {}
    for row, position in enumerate(positions):
        if not position < len(ids):
            raise UserError(f"{path}, line {file.lines[row]}: id {ids[row]} where 0 to {len(ids) - 1} are expected")
        if position in by_id:
            raise UserError(
                f"{path}, line {file.lines[row]}: id {ids[row]} is also that of line {file.lines[by_id[position]]}"
            )
        by_id[position] = row
    ordered = tuple(names[by_id[position]] for position in range(len(ids)))
    _refuse_twice(path, ordered, [file.lines[by_id[position]] for position in range(len(ids))])
    are_numbers = all(map(_NUMBER.fullmatch, ordered))
    return Vocabulary(ordered, tuple(None if are_numbers else label_of(name) or None for name in ordered))


def _without_count(path: Path) -> Columns:
    """A file of names and ids, further columns included, without a first line that only says how many there are."""
    lines = [(number, line.split("\t")) for number, line in lines_of(path)]
    is_count = bool(lines) and len(lines[0][1]) == 1 and _NUMBER.fullmatch(lines[0][1][0].strip())
    return columns(path, lines[1:] if is_count else lines, (2, 3))


def _position(token: str) -> int:
    if not _NUMBER.fullmatch(token.strip()):
        raise ValueError(f"{token[:40]!r} is no id")
    return int(token)


def _refuse_twice(path: Path, names: Iterable[str], lines: Iterable[int]) -> None:
    seen: dict[str, int] = {}
    for number, (line, name) in enumerate(zip(lines, names, strict=True)):
        if not name:
            raise UserError(f"{path}, line {line}: has no name")
        if name in seen:
            raise UserError(f"{path}, line {line}: the name {name[:40]!r} is also that of id {seen[name]}")
        seen[name] = number


def _listed(path: Path) -> Vocabulary:
    """``entities.tsv`` or ``relations.tsv``: a header, then id, name and label; ids are 0, 1, 2 ... in order."""
    file = read_columns(path, (3,))
    ids, names, labels = (column.texts() for column in file.fields)
    if (ids[0], names[0], labels[0]) != ("id", "name", "label"):
        raise UserError(f"{path}, line {file.lines[0]}: the first line must be: id, name, label (separated by tabs)")
    for position, (number, row) in enumerate(zip(file.lines[1:], ids[1:], strict=True)):
        if row != str(position):
            raise UserError(f"{path}, line {number}: id {row[:40]!r} where {position} is expected")
    _refuse_twice(path, names[1:], file.lines[1:])
    if len(names) == 1:
        raise UserError(f"{path}: lists nothing")
    return Vocabulary(names[1:], tuple(label or None for label in labels[1:]))
