"""A data set made ready: one file split, names cleaned, steps declared; written beside it, and read as any folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from harness.data.dates import parse, unit_of
from harness.data.formats import read_file
from harness.data.formats.text import Columns
from harness.data.formats.vocabularies import Names
from harness.data.graph import SPLITS, Ints, Vocabulary
from harness.data.reading import DECLARED, Tables, tables, tables_of
from harness.data.suspicions import clean
from harness.errors import UserError
from harness.scratch import scratch

Row = tuple[str, ...]


@dataclass(frozen=True)
class Wanted:
    """What is to be done.

    ``shares`` of training, validation and test facts, None: the splits stay; ``by``: the latest facts are the test, or
    ``seed`` draws them. ``unit``: what a time is, as of `harness.data.dates.unit_of`, None: as the data say.
    ``columns`` 4: what stands in a fifth is left out. ``cleaned``: names that look alike become one.
    """

    shares: tuple[float, float, float] | None = None
    by: Literal["time", "random"] = "time"
    seed: int = 0
    unit: str | None = None
    columns: int | None = None
    cleaned: bool = False


def shares_of(text: str) -> tuple[float, float, float]:
    """Three shares, as ``0.8,0.1,0.1``.

    Raises:
        UserError: they are no three positive numbers whose sum is 1.
    """
    try:
        train, valid, test = (float(part) for part in text.split(","))
    except ValueError:
        train = valid = test = 0.0
    if not (min(train, valid, test) > 0 and abs(train + valid + test - 1) < 1e-9):
        raise UserError(f"--split {text[:40]}: give three shares whose sum is 1, such as 0.8,0.1,0.1")
    return train, valid, test


def prepare(path: Path, output: Path | None, wanted: Wanted) -> Path:
    """Write a folder of train, valid and test files; return its path.

    Args:
        path: a folder, or a file of facts.
        output: the new folder; None: beside it, its name with ``-prepared``.
        wanted: what is to be done.

    Raises:
        UserError: the data cannot be read or split, or the output exists or cannot be written.
    """
    output = output or path.resolve().with_name(f"{path.resolve().stem}-prepared")
    if output.exists():
        raise UserError(f"{output}: exists; remove it, or name another folder with --output")
    if path.is_dir():
        read, made_of = tables_of(path), None
    elif wanted.shares is None:
        raise UserError(f"{path}: is one file, or none; split one with --split 0.8,0.1,0.1")
    else:
        file, about = read_file(path)
        read, made_of = tables(path.parent, {"all": file}, about), path
    if wanted.unit is not None:
        try:
            read = replace(read, granularity=unit_of(wanted.unit), unit=wanted.unit)
        except ValueError as error:
            raise UserError(f"--time-unit: {error}") from None
    entities, relations = (_names(one, cleaned=wanted.cleaned) for one in (read.entities, read.relations))
    parts = {split: _rows(file, read, wanted, entities[0], relations[0]) for split, file in read.splits.items()}
    made: dict[str, str | int] = {"from": path.resolve().name}
    if made_of is not None:
        made["sha256"] = hashlib.sha256(made_of.read_bytes()).hexdigest()
    if wanted.shares is not None:
        parts, repeated = _split([row for part in parts.values() for row in part], wanted, read)
        made |= {"split": ",".join(map(str, wanted.shares)), "by": wanted.by, "repeated-facts-left-out": repeated}
        made |= {"seed": wanted.seed} if wanted.by == "random" else {}
    with new_folder(output) as new:
        _write(new, parts, entities[1], relations[1])
        unit = read.unit or ("1step" if read.granularity == "step" else "")
        (new / DECLARED).write_text(declaration(unit, made), "utf-8")
    return output


@contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """A folder to write to, which gets the name ``output`` once all is written.

    Raises:
        UserError: the output exists or cannot be written.
    """
    if output.exists():
        raise UserError(f"{output}: exists; remove it, or name another folder")
    try:
        with scratch(".prepared-", output.parent) as folder:
            new = folder / "new"
            new.mkdir()
            yield new
            new.rename(output)
    except OSError as error:
        raise UserError(f"{output}: cannot be written: {error.strerror}; name another folder") from None


def declaration(unit: str, made: Mapping[str, str | float]) -> str:
    """The text of ``dataset.toml``: the unit of times, "" for none, and how the data were made."""
    lines = [f"time-unit = {json.dumps(unit)}", ""] if unit else []
    return "\n".join([*lines, "[made]", *(f"{key} = {json.dumps(value)}" for key, value in made.items()), ""])


def _names(names: Names, *, cleaned: bool) -> tuple[dict[str, str], Vocabulary]:
    """The names that names become, and the vocabulary of these."""
    old = names.vocabulary
    becomes = {name: clean(name) or name if cleaned else name for name in old.names}
    labels: dict[str, str | None] = {}
    for name, label in zip(old.names, old.labels, strict=True):
        labels.setdefault(becomes[name], label if label is None or not cleaned else clean(label))
    return becomes, Vocabulary(tuple(labels), tuple(labels.values()))


def _rows(file: Columns, read: Tables, wanted: Wanted, entity: dict[str, str], relation: dict[str, str]) -> list[Row]:
    """The facts of a file by names; all of it is checked, so that the new folder can be read."""
    times = [column.texts() for column in file.fields[3 : wanted.columns]]
    for k in range(3, 3 + len(times)):
        file.convert(k, lambda token: parse(token, read.granularity))

    def column(k: int, names: Names, becomes: dict[str, str]) -> list[str]:
        return [becomes[names.vocabulary.names[one]] for one in file.convert(k, names.identify).tolist()]

    heads, tails = (column(k, read.entities, entity) for k in (0, 2))
    return list(zip(heads, column(1, read.relations, relation), tails, *times, strict=True))


def _split(rows: list[Row], wanted: Wanted, read: Tables) -> tuple[dict[str, list[Row]], int]:
    """Distinct facts in three splits, whatever their order was, and how many were repeated."""
    assert wanted.shares is not None
    distinct = sorted(set(rows))
    starts = np.array([parse(row[3], read.granularity) for row in distinct], np.int64)
    order = np.argsort(starts, kind="stable")
    if wanted.by == "random":
        order = np.random.default_rng(wanted.seed).permutation(len(distinct))
    ends = np.rint(np.cumsum(wanted.shares) * len(distinct)).astype(int)[:2]
    first, second = (_between(starts[order], int(end)) for end in ends) if wanted.by == "time" else map(int, ends)
    bounds = (0, first, second, len(distinct))
    parts = {
        split: [distinct[k] for k in order[low:high]]
        for split, low, high in zip(SPLITS, bounds[:-1], bounds[1:], strict=True)
    }
    if empty := next((split for split, part in parts.items() if not part), None):
        raise UserError(f"--split: leaves no facts for {empty}; give other shares, or --split-by random")
    return parts, len(rows) - len(distinct)


def _between(times: Ints, position: int) -> int:
    """The place nearest to a position between two different ones of sorted times: none is in two splits."""
    places = np.flatnonzero(np.diff(times)) + 1
    return int(places[np.abs(places - position).argmin()]) if len(places) else 0


def _write(folder: Path, parts: dict[str, list[Row]], entities: Vocabulary, relations: Vocabulary) -> None:
    rows = [row for part in parts.values() for row in part]
    entity = _tokens(folder / "entities.tsv", entities, {row[k] for row in rows for k in (0, 2)})
    relation = _tokens(folder / "relations.tsv", relations, {row[1] for row in rows})
    for split, part in parts.items():
        lines = ["\t".join((entity[row[0]], relation[row[1]], entity[row[2]], *row[3:])) for row in part]
        (folder / f"{split}.txt").write_text("\n".join([*lines, ""]), "utf-8", newline="\n")


def _tokens(listed: Path, vocabulary: Vocabulary, used: set[str]) -> dict[str, str]:
    """What stands for each name in files of facts: itself, or an id where a list has to keep labels or unused names."""
    names, labels = vocabulary.names, vocabulary.labels
    if set(names) == used and (labels == names or not any(labels)):
        return {name: name for name in names}
    rows = [f"{k}\t{name}\t{label or ''}\n" for k, (name, label) in enumerate(zip(names, labels, strict=True))]
    listed.write_text("id\tname\tlabel\n" + "".join(rows), "utf-8", newline="\n")
    return {name: str(k) for k, name in enumerate(names)}
