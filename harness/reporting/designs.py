"""The designs (Optuna studies) of a study in a store's frames: one of them as a report's frames, and its folder."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from harness.errors import UserError, nearest
from harness.reporting.data.layout import Layout, Meta
from harness.reporting.data.results import INSIDE, Frames, Importance, LoadRanks, Recipe, is_search, with_role
from harness.reporting.data.tuning import apart
from harness.reporting.sensitivity.points import are_confirmation_runs, complete_confirmation_runs
from harness.vocabulary import declare

#: what a store has of a study on a data set: trials, learning curves, and what loads ranks
Stored = tuple[pd.DataFrame, pd.DataFrame, LoadRanks]


def names_of(trials: pd.DataFrame) -> list[str]:
    """The designs of the trials, in the order of their latest start."""
    return list(dict.fromkeys(trials.sort_values("started", ascending=False)["study_name"]))[::-1]


def one_design(trials: pd.DataFrame, curves: pd.DataFrame, design: str | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The trials and curves of the design of that name; None: of the one that started last.

    Raises:
        UserError: no design has that name.
    """
    names = names_of(trials)
    if design is not None and design not in names:
        raise UserError(f"design '{design}' is not in the store; {nearest(design, names)}")
    chosen = design or names[-1]
    # without any curve there are no columns
    return trials[trials["study_name"] == chosen], curves[curves["study_name"] == chosen] if len(curves) else curves


def frames_of(
    layout: Layout,
    stored: Stored,
    importance: Importance | None,
    design: str | None = None,
    recipe: Recipe | None = None,
    cells: Collection[str] | None = None,
) -> Frames:
    """What the report of one design is made from; ``design``: see `one_design`; ``cells``: the only trials that count.

    Raises:
        UserError: no design has that name, or see `harness.reporting.data.tuning.apart`.
    """
    trials, curves, load_ranks = stored
    by_design = trials.attrs.get("meta", {})
    trials, curves = one_design(trials, curves, design)
    if cells is not None:
        trials = trials[trials["cell"].isin(cells)]
    about = by_design.get(trials["study_name"].iloc[0], {})
    meta = Meta.model_validate({name: value for name, value in about.items() if name != "design"})
    for label in meta.labels:  # of the methods that plugins brought when the study ran
        declare(*label)
    tuning = pd.DataFrame()
    if meta.tune:
        trials, tuning = apart(trials, meta.tune)
    curves = curves[curves["trial"].isin(trials["trial"])] if len(curves) else curves
    if meta.looks:
        layout = replace(layout, looks=meta.looks)
    return Frames(layout, trials, curves, load_ranks, meta, importance, recipe, tuning)


def tested_parts(trials: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The trials with test results, confirmation runs of a grid apart, since they have other seeds."""
    tested = trials[~with_role(trials, *INSIDE)]
    if is_search(trials):
        parts = [tested]
    else:
        parts = [tested[~are_confirmation_runs(tested)], complete_confirmation_runs(tested)]
    yield from (part for part in parts if len(part))


def folder_of(frames: Frames, names: Sequence[str]) -> str:
    """The folder of a design's report: its study, data set and preset; of all but the last of one name its digest, too.

    Args:
        frames: of the design.
        names: all designs of the study on the data set (`names_of`).
    """
    row = frames.trials.iloc[0]
    name, _, digest = row["study_name"].rpartition("-")
    parts = [frames.layout.name, Path(row["dataset"]).name]
    if row.get("preset", "default") != "default":
        parts.append(row["preset"])
    if row["study_name"] != [other for other in names if other.rpartition("-")[0] == name][-1]:
        parts.append(digest)
    return "-".join(parts)
