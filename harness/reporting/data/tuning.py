"""The tuning of arms apart from what it is for: the trials inside it, and the winners' runs with fresh seeds.

Only the latter are evidence. So a report of a tuned study is one of its winners, and never sees the other trials.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from harness.errors import UserError
from harness.reporting.data.results import CONFIRMATION, with_role
from harness.selection import tuned
from harness.vocabulary import LEVELS, REFERENCES, backbone_name

#: the role of trials inside
TUNE = "tune"
#: the stages that a trial does not share with other arms
STUDENT_STAGES = ("stage1", "stage2", "evaluate")


def apart(trials: pd.DataFrame, tune: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The trials of winners with fresh seeds and of reference rows, and the configurations that were tried.

    Args:
        trials: of one tuned design.
        tune: ``trials`` (configurations of each arm) and ``seeds`` (of each); trials beyond do not count.

    Returns:
        The trials of which a report is made, named after their arms; and `tuned` with more columns: trials (complete
        ones), seconds (of their students, as if nothing had been cached), spec (the settings as JSON), losses.

    Raises:
        UserError: an arm has fewer configurations than the others are to have, or no winner has run yet.
    """
    inside = trials[with_role(trials, TUNE)]
    if inside.empty:
        raise UserError("trials: no configuration has been tried yet; run the study again")
    inside = inside[(inside["configuration"] < tune["trials"]) & (inside["seed"] < tune["seeds"])]
    inside = inside[inside["state"] != "running"].assign(arm=inside["arm"].str.rsplit(LEVELS, n=1).str[0])
    keys = ["backbone", "arm", "configuration"]
    done = inside["state"] == "complete"
    inside = inside[done | ~inside["cell"].isin(inside.loc[done, "cell"])]
    inside = inside.assign(mrr=inside["valid_mrr"].where(done), seconds=_seconds(inside).where(done))
    for (backbone, arm), numbers in inside.groupby(["backbone", "arm"])["configuration"]:
        if numbers.nunique() < tune["trials"]:
            raise UserError(
                f"trials: arm {arm}, {backbone_name(backbone)}: {numbers.nunique()} of {tune['trials']} configurations "
                "have ended, so no budget is equal; run the study again to try the others"
            )
    more = inside.groupby(keys).agg(
        trials=("mrr", "count"), seconds=("seconds", "sum"), spec=("spec", "first"), losses=("losses", "first")
    )
    inside = inside.astype({"configuration": int})
    configurations = tuned(inside, tune["seeds"]).merge(more.reset_index(), on=keys)
    winners = configurations.loc[configurations["winner"], keys].set_index(keys).index
    fresh = trials[with_role(trials, CONFIRMATION)]
    fresh = fresh[fresh.set_index(keys).index.isin(winners)]
    if fresh.empty:
        raise UserError("trials: no winner of the tuning has run with fresh seeds yet; run the study again")
    kept = trials.index.isin(fresh.index) | trials["arm"].isin(REFERENCES)
    return trials[kept].assign(role=None), configurations


def _seconds(trials: pd.DataFrame) -> pd.Series[float]:
    total = pd.Series(0.0, index=trials.index)
    for stage in STUDENT_STAGES:
        spent, built = (
            trials[name] if (name := f"{kind}_{stage}") in trials else pd.Series(np.nan, index=trials.index)
            for kind in ("seconds", "built_seconds")
        )
        total += spent.fillna(built).fillna(0.0).astype(float)
    return total
