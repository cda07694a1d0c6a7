"""A report kind of one's own: test MRR by relation and arm, as a PDF, a CSV file and a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.reporting.content import Section, plain
from harness.reporting.data.results import Frames, Results
from harness.reporting.data.text import number
from harness.reporting.kinds import report_kind
from harness.reporting.output.figures import figure
from harness.reporting.output.tables import Cell, Row, Table
from harness.reporting.output.typst import Document
from harness.vocabulary import arm_colors, arm_name, backbone_name


@report_kind("mine", label="test MRR by relation")
def content(frames: Frames) -> Document:
    """Turn the results of one study on one data set into a document."""
    results = frames.results()  # checks trials and ranks; a UserError says what is wrong with them
    rows = by_relation(results)
    tables = {backbone: {"relations": table(rows[rows["backbone"] == backbone])} for backbone in results.backbones}

    def draw_and_fill(folder: Path) -> dict[str, Any]:
        sections = []
        for k, backbone in enumerate(results.backbones):
            draw(rows[rows["backbone"] == backbone], folder / "figures" / f"relations_{k}")
            drawn = [(f"figures/relations_{k}.pdf", "Test MRR by relation, mean over seeds.")]
            sections.append(Section(backbone_name(backbone), (), [tables[backbone]["relations"]], drawn))
        return plain(results, frames.meta, sections)

    files = {"relations": (rows, "relations")}  # STUDY_relations.csv, .parquet and .tex
    return Document("plain.typ", frames.layout.name, results.trials, files, tables, draw_and_fill)


def by_relation(results: Results) -> pd.DataFrame:
    """One row a backbone, arm and relation: number of test facts, and MRR (mean over seeds and both directions)."""
    rows = []
    for backbone in results.backbones:
        for arm in results.arms(backbone):
            reciprocal = results.by_fact(backbone, arm)[:, :, 0].mean(axis=0)  # [seeds, facts, metrics]
            for relation in np.unique(results.relations):
                facts = results.relations == relation
                row = {"backbone": backbone, "arm": arm, "relation": str(relation), "facts": int(facts.sum())}
                rows.append(row | {"mrr": float(reciprocal[facts].mean())})
    return pd.DataFrame(rows)


def table(rows: pd.DataFrame) -> Table:
    """The same for readers: a row a relation, most frequent first, and a column an arm."""
    wide = rows.pivot_table(index=["facts", "relation"], columns="arm", values="mrr", sort=False)
    wide = wide.sort_index(ascending=[False, True])
    shown = [
        Row((Cell(relation), Cell(number(facts, 0)), *(Cell(number(mrr, 3)) for mrr in wide.loc[facts, relation])))
        for facts, relation in wide.index
    ]
    header = ("relation", "facts", *map(arm_name, wide.columns))
    return Table("Test MRR by relation", header, "lr" + "r" * len(wide.columns), tuple(shown))


def draw(rows: pd.DataFrame, path: Path) -> None:
    """A dot for each arm on the line of each relation."""
    relations = rows["relation"].unique()
    with figure(path, height=0.8 + 0.17 * len(relations)) as (axes,):
        for arm, color in arm_colors(rows["arm"].unique()).items():
            mrr = rows[rows["arm"] == arm]["mrr"]
            axes.plot(mrr, range(len(mrr)), "o", color=color, markersize=4, label=arm_name(arm))
        axes.set_yticks(range(len(relations)), relations, parse_math=False)
        axes.set_xlabel("test MRR")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False)
