"""Settings that work on all data sets and backbones: points that several grids share, by the worst of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from harness.errors import UserError
from harness.reporting.data.about import started
from harness.reporting.data.frames import records
from harness.reporting.data.results import Frames, Results
from harness.reporting.data.text import number
from harness.reporting.output.typst import Document
from harness.reporting.sensitivity import figures, tables
from harness.reporting.sensitivity.points import are_confirmation_runs, cells_of
from harness.reporting.sensitivity.selection import on_test
from harness.selection import TOLERANCE, rank_settings
from harness.vocabulary import arm_name, backbone_name, dataset_name

#: what a point is judged in: a backbone on a data set
SITUATION = "situation"


def across_content(grids: Sequence[Frames]) -> Document | None:
    """The report of settings that work everywhere; None with fewer than two grids.

    Beside ``across.pdf`` lie ``across_region`` and ``across_default`` (each .csv, .parquet and .tex) and ``figures/``.
    Validation alone ranks the points; the first is then looked at on test, in each case by itself.

    Args:
        grids: one a data set, of the same study.

    Raises:
        UserError: the frames do not pass their checks, or the grids share no point.
    """
    if len(grids) < 2:
        return None
    layout = grids[0].layout
    results = {
        str(grid.trials["dataset"].iloc[0]): Results.load(
            grid.trials[~are_confirmation_runs(grid.trials)], grid.load_ranks, layout
        )
        for grid in grids
    }
    cells = {dataset: cells_of(of_dataset.trials) for dataset, of_dataset in results.items()}
    names = next(iter(cells.values())).names
    if any(each_cells.names != names for each_cells in cells.values()):
        raise UserError(f"the {layout.name} studies of {', '.join(cells)} vary other factors; none can be compared")
    points = pd.concat(
        [_situated(each_cells.points(), dataset) for dataset, each_cells in cells.items()], ignore_index=True
    )
    region = rank_settings(points.drop(columns="backbone").rename(columns={SITUATION: "backbone"}), names)
    if region.empty:
        raise UserError(f"the {layout.name} studies of {', '.join(cells)} share no complete point")
    tested = pd.concat([_tested(results[name], cells[name].points(), region, name) for name in cells])
    displayed = {"": {"region": tables.region_table(region, names, SITUATION), "default": tables.default_table(tested)}}
    trials = pd.concat([of_dataset.trials for of_dataset in results.values()])

    def content(folder: Path) -> dict[str, object]:
        is_made = figures.robust(region, points, names, folder / "figures" / "region", situation=SITUATION)
        losses = next(iter(cells.values())).losses
        return {
            "title": "Settings that work across data sets and backbones",
            "subtitle": " · ".join([*(dataset_name(dataset) for dataset in cells), f"{started(trials)[-1]:%-d %B %Y}"]),
            "about": f"{arm_name(losses)} at the {len(region)} points that all {layout.name} studies share.",
            "default": _default(region, names),
            "situations": list(points[SITUATION].unique()),
            "commands": [grid.meta.command for grid in grids if grid.meta.command],
            "tables": {key: asdict(table) for key, table in displayed[""].items()},
            "figure": "figures/region.pdf" if is_made else "",
            "tolerance": f"{TOLERANCE:g}".removeprefix("0"),
        }

    frames: Mapping[str, tuple[pd.DataFrame, str | None]] = {
        "region": (region, "region"),
        "default": (tested, "default"),
    }
    return Document("across.typ", "across", trials, frames, displayed, content)


def _situated(points: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """The points with their situation in words, such as "TTransE, YAGO11k"."""
    named = points["backbone"].map(lambda backbone: f"{backbone_name(backbone)}, {dataset_name(dataset)}")
    return points.assign(**{SITUATION: named})


def _tested(results: Results, points: pd.DataFrame, region: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """The first point of the region on the test facts of one data set, by situation."""
    chosen = points[points["arm"] == region["arm"].iloc[0]]
    tested = on_test(results, chosen)
    return tested.assign(backbone=_situated(tested, dataset)[SITUATION], dataset=dataset)


def _default(region: pd.DataFrame, names: Sequence[str]) -> str:
    row = records(region.head(1))[0]
    text = f"Recommended default: {tables.point_name(row, names)}. "
    if pd.isna(row["least"]):
        return text + "Of all points its largest distance to the best of a situation is the smallest."
    text += "Of all points its smallest difference to L1 over the situations is the largest: "
    return f"{text}{number(row['least'], 4, signed=True)} of validation MRR."
