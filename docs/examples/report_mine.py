"""A report kind of one's own: test MRR by relation and arm, as a PDF, an HTML page, a CSV file and a figure."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from harness.reporting.content import Front, case_of, figure_name, report
from harness.reporting.data.results import Frames, Results
from harness.reporting.data.text import number
from harness.reporting.kinds import report_kind
from harness.reporting.output.document import Document, Figure, Section
from harness.reporting.output.figures import figure
from harness.reporting.output.tables import Cell, Row, Table
from harness.vocabulary import arm_colors, arm_name, backbone_name


@report_kind("mine", label="test MRR by relation")
def content(frames: Frames) -> Document:
    """Turn the results of one study on one data set into a document."""
    results = frames.results()  # checks trials and ranks; a UserError says what is wrong with them
    rows = by_relation(results)
    of_backbone = {backbone: rows[rows["backbone"] == backbone] for backbone in results.backbones}
    tables = {backbone: {"relations": table(some)} for backbone, some in of_backbone.items()}
    sections = [
        Section(
            backbone_name(backbone),
            [
                tables[backbone]["relations"],
                Figure(
                    figure_name(results, backbone, "relations"), partial(draw, some), "Test MRR by relation and arm."
                ),
            ],
            case=case_of(results, backbone),  # captions end with it
        )
        for backbone, some in of_backbone.items()
    ]
    files = {"relations": (rows, "relations")}  # STUDY_relations.csv, .parquet and .tex
    return report(frames, results, sections, files=files, tables=tables, front=Front([best(rows)]))


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


def best(rows: pd.DataFrame) -> str:
    """What the report begins with: the relation that is easiest."""
    top = rows.loc[rows["mrr"].idxmax()]
    return f"The easiest relation is {top['relation']}: {arm_name(top['arm'])} has MRR {number(top['mrr'], 3)} on it."


def draw(rows: pd.DataFrame, path: Path) -> bool:
    """A dot for each arm on the line of each relation."""
    relations = rows["relation"].unique()
    with figure(path, height=0.8 + 0.17 * len(relations)) as (axes,):
        for arm, color in arm_colors(rows["arm"].unique()).items():
            mrr = rows[rows["arm"] == arm]["mrr"]
            axes.plot(mrr, range(len(mrr)), "o", color=color, markersize=4, label=arm_name(arm))
        axes.set_yticks(range(len(relations)), relations, parse_math=False)
        axes.set_xlabel("test MRR")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False)
    return True
