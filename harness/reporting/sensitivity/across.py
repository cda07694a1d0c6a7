"""Settings that work on all data sets and backbones: points that several grids share, by the worst of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd

from harness.errors import UserError
from harness.reporting.content import how_equal
from harness.reporting.data.about import started
from harness.reporting.data.frames import records, where
from harness.reporting.data.results import Frames, Results
from harness.reporting.data.text import number
from harness.reporting.output.document import Command, Document, Figure, Findings, Section
from harness.reporting.sensitivity import figures, tables
from harness.reporting.sensitivity.points import are_confirmation_runs, grid_of
from harness.reporting.sensitivity.selection import on_test
from harness.selection import rank_settings
from harness.vocabulary import arm_name, backbone_name, dataset_name, joined

#: column of what a point is judged in: a backbone on a data set
CASE = "case"


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
    varied = {dataset: grid_of(of_dataset.trials) for dataset, of_dataset in results.items()}
    first = next(iter(varied.values()))
    names = first.names
    studies = f"the {layout.name} studies of {', '.join(varied)}"
    if any(of_dataset.names != names for of_dataset in varied.values()):
        raise UserError(f"{studies} vary other factors; none can be compared")
    by_dataset = {dataset: _with_case(of_dataset.points(), dataset) for dataset, of_dataset in varied.items()}
    points = pd.concat(by_dataset.values(), ignore_index=True)
    region = rank_settings(points, names)
    if region.empty:
        raise UserError(f"{studies} share no complete point")
    on_datasets = [
        _with_case(on_test(results[dataset], where(chosen, arm=region["arm"].iloc[0])), dataset)
        for dataset, chosen in by_dataset.items()
    ]
    tested = pd.concat(on_datasets)
    tested = tested.assign(backbone=tested[CASE]).drop(columns=CASE)
    trials = pd.concat([of_dataset.trials for of_dataset in results.values()])
    files: dict[str, tuple[pd.DataFrame, str | None]] = {"region": (region, "region"), "default": (tested, "default")}
    shown = {"": {"region": tables.region_table(region, names, CASE), "default": tables.default_table(tested)}}
    drawn = partial(figures.settings_map, region, points, names, case=CASE)
    stable = int(region["stable"].sum())
    cases = list(points[CASE].unique())
    return Document(
        name="across",
        title="Settings that work across data sets and backbones",
        subtitle=f"Study {layout.name} on {joined([*map(dataset_name, varied)])} · {started(trials)[-1]:%-d %B %Y}",
        blocks=[
            Findings([_default(region, names), f"{stable} of the {len(region)} settings are good in all cases."]),
            f"{arm_name(first.losses)} at the {len(region)} points that all {layout.name} studies share.",
            Figure("region", drawn, figures.settings_caption(region, names, CASE)),
            shown[""]["default"],
            shown[""]["region"],
            Section(
                "How to read the numbers", [f"{READING.format(cases='; '.join(cases))} {how_equal(layout)}"], small=True
            ),
            Section("Provenance", [Command("\n".join(grid.meta.command for grid in grids))], together=True),
        ],
        trials=trials,
        frames=files,
        tables=shown,
    )


READING = (
    "A case is a backbone on a data set; here they are {cases}. Points are ranked, and the default recommended, by "
    "validation MRR alone: the point whose smallest difference to L1 over the cases is the largest (maximin). Being "
    "the best of many, its validation MRR is too good; on test it is one point, compared with L1 by seed and fact: "
    "intervals, sign-flip tests."
)


def _with_case(rows: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Rows of a data set with their case in words, such as "TTransE, YAGO11k"."""
    cases = rows["backbone"].map(lambda backbone: f"{backbone_name(backbone)}, {dataset_name(dataset)}")
    return rows.assign(dataset=dataset, **{CASE: cases})


def _default(region: pd.DataFrame, names: Sequence[str]) -> str:
    row = records(region.head(1))[0]
    text = f"Recommended default: {tables.point_name(row, names)}. Of all points its "
    if pd.isna(row["least"]):
        return text + "largest distance to the best of a case is the smallest."
    least = number(row["least"], 4, signed=True)
    return f"{text}smallest difference to L1 over the cases is the largest: {least} of validation MRR."
