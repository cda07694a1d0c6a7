"""What a study's results say of a claim on one data set: verdicts, the numbers behind them, and a figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.reporting.claims import Claim
from harness.reporting.data.frames import records
from harness.reporting.output.tables import Cell, Row, Table
from harness.vocabulary import backbone_name


@dataclass(frozen=True, eq=False)
class Evidence:
    """What one data set says of a claim.

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


def by_backbone(rows: pd.DataFrame, cells: Callable[[dict[str, Any]], tuple[Cell, ...]]) -> tuple[Row, ...]:
    """Rows that begin with their backbone where it is another one than before, below a line."""
    shown: list[Row] = []
    last = ""
    for row in records(rows):
        backbone = backbone_name(row["backbone"])
        is_new = backbone != last
        shown.append(Row((Cell(backbone if is_new else ""), *cells(row)), rule=bool(shown) and is_new))
        last = backbone
    return tuple(shown)


def side_by_side(tables: Sequence[tuple[str, Table]]) -> Table:
    """Tables of single backbones as one, with a column that names the backbone; the words are those of the first."""
    rows = [
        Row((Cell(backbone_name(name) if k == 0 else ""), *row.cells), rule=row.rule or (k == 0 and place > 0))
        for place, (name, table) in enumerate(tables)
        for k, row in enumerate(table.rows)
    ]
    first = tables[0][1]
    return Table(first.caption, ("", *first.header), f"l{first.align}", tuple(rows), first.note)
