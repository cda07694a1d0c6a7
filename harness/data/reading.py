"""Reading a data set from a folder: its files, in whichever format, become vocabularies, times and facts."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from harness.data import suspicions
from harness.data.checks import RawGraph
from harness.data.dates import guess_granularity, looks, parse, unit_of
from harness.data.formats import file_of, read_file
from harness.data.formats.text import Columns
from harness.data.formats.vocabularies import Names, counts, label_of, names_of
from harness.data.graph import SPLITS, UNKNOWN, Facts, Granularity, Suspicion, Vocabulary
from harness.errors import UserError

#: beside the files of a data set: what they do not say themselves
DECLARED = "dataset.toml"
_WHOLE = re.compile("[0-9]+")


@dataclass(frozen=True, eq=False)
class Tables:
    """A folder as text: the columns of each split (head, relation, tail, date; or start and end), what gives their
    tokens a meaning, how times are read (``unit``: of steps, for people), and in which format it all was."""

    splits: dict[str, Columns]
    entities: Names
    relations: Names
    granularity: Granularity
    unit: str
    about: str


def tables_of(folder: Path) -> Tables:
    """Read the files of a folder.

    Raises:
        UserError: if a file is missing or a line is malformed.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    read = {split: read_file(file_of(folder, split)) for split in SPLITS}
    files, about = (
        {split: file for split, (file, _) in read.items()},
        "; ".join(dict.fromkeys(w for _, w in read.values())),
    )
    return tables(folder, files, about)


def tables(folder: Path, files: dict[str, Columns], about: str) -> Tables:
    """What files of facts mean, given what else lies in their folder; errors as of `tables_of`."""
    unit, count = _declared_unit(folder), counts(folder)
    granularity: Granularity | None = unit_of(unit) if unit else None
    if unit is None and count is not None and all(map(_WHOLE.fullmatch, _columns(files, 0, 1, 2, 3))):
        # RE-Net, RE-GCN and their followers: steps, and a fifth column that they do not read
        files, granularity, unit = {split: _four(file) for split, file in files.items()}, "step", ""
        about = "whole numbers with stat.txt, as of RE-Net"
    entities = names_of(folder, "entities", _columns(files, 0, 2), count and count[0])
    relations = names_of(folder, "relations", _columns(files, 1), count and count[1])
    if "occurs" in about:
        entities, relations = (one._replace(vocabulary=_labelled(one.vocabulary)) for one in (entities, relations))
    return Tables(files, entities, relations, granularity or guess_granularity(_times(files)), unit or "", about)


def read_folder(folder: Path) -> RawGraph:
    """Read train, valid and test in any of the formats of `harness.data.formats`.

    Names and ids are as of `harness.data.formats.vocabularies`. Times are as ``dataset.toml`` declares, else days if
    most dates name one (``guess_granularity``), else years. Where the start is later than the end, they are swapped.

    Raises:
        UserError: if a file is missing or a line is malformed.
    """
    read = tables_of(folder)
    splits, swapped = {}, {}
    stood = []
    for split, file in read.splits.items():
        start, end = (file.convert(k, lambda token: parse(token, read.granularity)) for k in (3, len(file.fields) - 1))
        stood.append((start, end))
        wrong = (end != UNKNOWN) & (start > end)  # UNKNOWN is smaller than every time
        swapped[split] = int(wrong.sum())
        splits[split] = Facts(
            head=file.convert(0, read.entities.identify),
            relation=file.convert(1, read.relations.identify),
            tail=file.convert(2, read.entities.identify),
            start=np.where(wrong, end, start),
            end=np.where(wrong, start, end),
        )
    remarks: list[Suspicion] = []
    if read.granularity != "step":
        remarks += suspicions.of_dates(looks(_times(read.splits)), by_day=read.granularity == "day")
    if all(len(file.fields) == 5 for file in read.splits.values()):
        remarks += suspicions.of_columns(*map(np.concatenate, zip(*stood, strict=True)))
    raw = RawGraph(read.entities.vocabulary, read.relations.vocabulary, read.granularity, splits, swapped)
    about = read.about + (f"; steps of {read.unit}" if read.granularity == "step" and read.unit else "")
    return replace(raw, remarks=tuple(remarks), about=about)


def _times(files: dict[str, Columns]) -> Counter[str]:
    return sum((part.counts() for file in files.values() for part in file.fields[3:]), Counter())


def _columns(files: dict[str, Columns], *positions: int) -> Iterable[str]:
    return {token for file in files.values() for k in positions for token in file.fields[k].distinct}


def _four(file: Columns) -> Columns:
    """The first four columns, if the fifth has one value: those who write it do not read it."""
    is_padding = len(file.fields) == 5 and len(file.fields[4].distinct) == 1
    return replace(file, fields=file.fields[:4]) if is_padding else file


def _labelled(vocabulary: Vocabulary) -> Vocabulary:
    return replace(vocabulary, labels=tuple(label and label_of(label) for label in vocabulary.labels))


def _declared_unit(folder: Path) -> str | None:
    """The unit of times that ``dataset.toml`` declares."""
    path = folder / DECLARED
    if not path.exists():
        return None
    try:
        unit = tomllib.loads(path.read_text("utf-8")).get("time-unit")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); correct it or remove it") from None
    if unit is None:
        return None
    try:
        unit_of(unit)
    except ValueError as error:
        raise UserError(f"{path}: time-unit: {error}") from None
    return str(unit)
