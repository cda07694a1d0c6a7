"""Which configuration wins: settings ranked by their worst case; searches and reports choose by the same rule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

#: Smaller differences of MRR do not matter, whether they are real or not.
TOLERANCE = 0.002


def rank_settings(points: pd.DataFrame, factors: Sequence[str], tolerance: float = TOLERANCE) -> pd.DataFrame:
    """Rank the points of a grid by their worst case; a case is a backbone, or a backbone on a data set.

    Args:
        points: a row a case and point: the ``factors``, backbone, arm (the point's label), mrr (mean validation MRR, a
            fraction), difference (to L1; NaN without), and dataset where there are several.
        factors: the columns that make a point.
        tolerance: how far below the best of a case a good point may be, in units of MRR.

    Returns:
        A row a point that all cases have, best first: the factors, arm, ``least`` (smallest difference to L1; NaN
        without L1), ``lost`` (largest difference to the best point), ``near_best`` (nowhere more than the tolerance
        below the best), ``beats_base`` (better than L1 everywhere), ``stable`` (one of both), ``default`` (the first
        row: the largest ``least``, and of equals the smallest ``lost``).
    """
    cases = [name for name in ("dataset", "backbone") if name in points]
    lost = points.groupby(cases)["mrr"].transform("max") - points["mrr"]
    grouped = points.assign(lost=lost).groupby([*factors], sort=False)
    ranked = grouped.agg(arm=("arm", "first"), least=("difference", "min"), lost=("lost", "max"), n=("mrr", "size"))
    ranked["least"] = ranked["least"].where(grouped["difference"].count() == ranked["n"])
    ranked = ranked[ranked["n"] == len(points[cases].drop_duplicates())].drop(columns="n").reset_index()
    ranked["near_best"] = ranked["lost"] <= tolerance
    ranked["beats_base"] = ranked["least"] > 0
    ranked["stable"] = ranked["near_best"] | ranked["beats_base"]
    order = ["least", "lost"] if ranked["least"].notna().all() else ["lost"]
    ranked = ranked.sort_values([*order, *factors], ascending=[name != "least" for name in (*order, *factors)])
    ranked = ranked.reset_index(drop=True)
    return ranked.assign(default=ranked.index == 0)


def best_first(points: pd.DataFrame, backbones: Sequence[str]) -> pd.DataFrame:
    """Points by mean validation MRR (column ``mrr``), best first, backbone by backbone in the given order."""
    place = points["backbone"].map({backbone: position for position, backbone in enumerate(backbones)})
    return points.iloc[np.lexsort((-points["mrr"], place))].reset_index(drop=True)


def tuned(trials: pd.DataFrame, seeds: int) -> pd.DataFrame:
    """The configurations of each arm by mean validation MRR, and which of them wins.

    Args:
        trials: a row a trial: backbone, arm, configuration (its number), mrr (of validation, a fraction; NaN without a
            result).
        seeds: with which a configuration is trained; one that lacks a seed cannot win.

    Returns:
        A row a backbone, arm and configuration, in this order: mrr (the mean over all seeds; NaN where one is missing),
        winner (whether it has the highest of its arm; of equals the first).
    """
    grouped = trials.groupby(["backbone", "arm", "configuration"], sort=True)["mrr"]
    ranked = grouped.mean().where(grouped.count() == seeds).reset_index()
    best = ranked.dropna().sort_values("mrr", ascending=False, kind="stable").drop_duplicates(["backbone", "arm"])
    return ranked.assign(winner=ranked.index.isin(best.index))
