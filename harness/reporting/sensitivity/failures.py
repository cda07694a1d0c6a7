"""Failure modes of trials, and how often each occurs at each level of a factor."""

from __future__ import annotations

import numpy as np
import pandas as pd

from harness.reporting.sensitivity.points import Grid

#: failure modes of a trial by key: a short name, and what it means
MODES = {
    "failed": ("failed", "no result: the loss or the scores became infinite or undefined, or the worker died"),
    "below_base": ("under L1", "the student is under L1: validation MRR below that of L1 with the same seed"),
    "rank_against_hits": (
        "MR worse, Hits@k better",
        "validation MR is worse than that of L1 with the same seed while one of its Hits@k is better",
    ),
    "l2_not_falling": (
        "L2 not falling",
        "L2 does not decrease: the trend of loss_l2 over the epochs of stage 2 does not point down",
    ),
}
#: Epochs with a value of L2 that a trend needs.
FEWEST_EPOCHS = 3
COLUMNS = ["backbone", "factor", "level", "mode", "count", "assessed"]


def marks(grid: Grid, trials: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Which trials of the points show which failure mode: 1 or 0, NaN where this is not known.

    ``trials`` are all of the design, ``curves`` have ``loss_l2`` where it was recorded. A row a trial of the points:
    backbone, arm, seed, the factors, and a column for each of `MODES`.
    """
    frame = grid.frame
    marked = frame[["backbone", "arm", "seed", *grid.names]].copy()
    known = frame["mrr"].notna()
    marked["failed"] = (frame["state"] == "failed").astype(float).where(frame["state"] != "running")
    marked["below_base"] = (frame["mrr"] < frame["base"]).astype(float).where(known & frame["base"].notna())
    marked["rank_against_hits"] = _against(grid, trials)
    slope = frame["trial"].map(_slopes(curves)).astype(float)
    marked["l2_not_falling"] = (slope >= 0).astype(float).where(known & slope.notna())
    return marked


def _against(grid: Grid, trials: pd.DataFrame) -> pd.Series[float]:
    columns = ["valid_mr", "valid_hits1", "valid_hits3", "valid_hits10"]
    keyed = trials.set_index(["backbone", "arm", "seed"])[columns]
    keyed = keyed[~keyed.index.duplicated(keep="last")]
    frame = grid.frame
    point = keyed.reindex(pd.MultiIndex.from_frame(frame[["backbone", "arm", "seed"]])).to_numpy(dtype=float)
    base = keyed.reindex(pd.MultiIndex.from_frame(frame[["backbone", "base_arm", "seed"]])).to_numpy(dtype=float)
    known = frame["mrr"].notna().to_numpy() & frame["base"].notna().to_numpy()
    shown = (point[:, 0] > base[:, 0]) & (point[:, 1:] > base[:, 1:]).any(axis=1)
    return pd.Series(np.where(known, shown.astype(float), np.nan), index=frame.index)


def _slopes(curves: pd.DataFrame) -> dict[int, float]:
    """The least-squares slope of L2 over the epochs of stage 2, by trial; without those of too few epochs."""
    if "loss_l2" not in curves:
        return {}
    rows = curves[(curves["stage"] == 2) & curves["loss_l2"].notna()]
    return {
        int(str(trial)): float(np.polyfit(epochs["epoch"], epochs["loss_l2"], 1)[0])
        for trial, epochs in rows.groupby("trial")
        if len(epochs) >= FEWEST_EPOCHS
    }


def counts(grid: Grid, marked: pd.DataFrame) -> pd.DataFrame:
    """How many trials show each failure mode at each level of each factor; ``factor`` "" is the sum over all.

    Columns: backbone, factor, level (NaN for the sum), mode, count, assessed (trials for which it is known).
    """
    rows = []
    for backbone in grid.backbones:
        of_backbone = marked[marked["backbone"] == backbone]
        groups = [("", float("nan"), of_backbone)]
        groups += [(f.key, level, of_backbone[of_backbone[f.key] == level]) for f in grid.factors for level in f.levels]
        for factor, level, group in groups:
            for name in MODES:
                known = group[name].dropna()
                rows.append((backbone, factor, level, name, int(known.sum()), len(known)))
    return pd.DataFrame(rows, columns=COLUMNS)
