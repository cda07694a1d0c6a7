"""What a study's results show of a claim on one data set: verdicts, the numbers behind them, and a figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from harness.reporting.claims import Claim
from harness.reporting.data.frames import records
from harness.reporting.output.tables import Cell, Column, Row, Table, table_of
from harness.vocabulary import backbone_name


@dataclass(frozen=True, eq=False)
class Evidence:
    """The evidence of one data set on a claim.

    Attributes:
        verdicts: one a backbone.
        table: the numbers behind them, to be read.
        numbers: the same for programs; with a column "backbone".
        figures: what draws each figure for a path without suffix (False: there is nothing to draw), by the end of its
            name.
        trials: what it rests on, one row a trial.
        marks: what filled and hollow marks of the figures mean, a sentence; "" where there are none.
    """

    verdicts: list[Claim]
    table: Table
    numbers: pd.DataFrame
    figures: Mapping[str, Callable[[Path], bool]]
    trials: pd.DataFrame
    marks: str = ""


#: the first column of `by_backbone`
BACKBONE: Column = ("", "l", lambda row: backbone_name(row["backbone"]))


def by_backbone(caption: str, rows: pd.DataFrame, columns: Sequence[Column], note: str) -> Table:
    """A table whose first column names the backbone once, with a line between backbones."""
    return table_of(caption, records(rows), columns, note, group=lambda row: row["backbone"], once=True)


def side_by_side(tables: Sequence[tuple[str, Table]]) -> Table:
    """Tables of single backbones as one, with a column that names the backbone; the words are those of the first."""
    rows = [
        Row((Cell(backbone_name(name) if k == 0 else ""), *row.cells), rule=row.rule or (k == 0 and place > 0))
        for place, (name, table) in enumerate(tables)
        for k, row in enumerate(table.rows)
    ]
    first = tables[0][1]
    return Table(first.caption, ("", *first.header), f"l{first.align}", tuple(rows), first.note)
