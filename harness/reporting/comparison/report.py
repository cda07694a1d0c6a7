"""The report of a study that compares arms: tables, tests, learning curves, gains by relation and costs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from harness.reporting.comparison.document import Meta, Numbers, document, draw
from harness.reporting.comparison.document import tables as display_tables
from harness.reporting.comparison.gains import gains, splits
from harness.reporting.data.frames import curves_of
from harness.reporting.data.layout import Layout
from harness.reporting.data.results import LoadRanks, Results, costs, means, paired
from harness.reporting.output import tables
from harness.reporting.output.writing import write_report


def comparison_report(
    layout: Layout,
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    load_ranks: LoadRanks,
    output: Path,
    meta: Mapping[str, Any],
) -> Path:
    """Write the report of a study that compares arms into a folder and return the path of its PDF.

    Beside ``STUDY.pdf`` lie ``STUDY_table``, ``STUDY_paired``, ``STUDY_costs``, ``STUDY_relations`` and
    ``STUDY_splits`` (each .csv, .parquet and .tex) and ``figures/`` (.pdf and .png). The files appear when all are
    done; after an error the folder is as before. The same input gives the same numbers.

    Args:
        layout: what is compared with what, and the study's words.
        trials: one row a trial, of one data set and one design (`harness.reporting.data.frames.TRIALS`).
        curves: one row an epoch of a trial (`harness.reporting.data.frames.CURVES`); may be empty.
        load_ranks: takes the index label of a row of ``trials`` and returns the trial's ranks, one row a test query
            (`harness.reporting.data.frames.RANKS`); called for the trials that count, once each.
        output: folder, made if it is not there.
        meta: fields of `harness.reporting.comparison.document.Meta`: command, data (counts), notes.

    Raises:
        UserError: the frames do not pass their checks, or the folder cannot be written.
    """
    about = Meta.model_validate(dict(meta))
    results = Results.load(trials, load_ranks, layout)
    checked = curves_of(curves)
    counted = checked[checked["trial"].isin(results.trials.query("state == 'complete'")["trial"])]
    numbers = Numbers(
        means=means(results),
        paired=paired(results),
        gains=gains(results),
        splits=splits(results),
        costs=costs(results),
    )
    shown = display_tables(results, numbers)
    return write_report(
        "comparison.typ",
        layout.name,
        output,
        trials=results.trials,
        frames={
            "table": (tables.wide(numbers.means), "main"),
            "paired": (numbers.paired, "paired"),
            "costs": (numbers.costs, "costs"),
            "relations": (numbers.gains, None),
            "splits": (numbers.splits, None),
        },
        shown=shown,
        content=lambda folder: document(results, numbers, shown, draw(results, numbers, counted, folder), about),
    )
