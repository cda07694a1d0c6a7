"""Comparisons in words: a sentence each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.reporting.data.frames import records, where
from harness.reporting.data.results import ALPHA
from harness.reporting.data.text import MINUS, interval, number, p_equals, percent
from harness.vocabulary import arm_name, joined


@dataclass(frozen=True)
class Finding:
    """One comparison in numbers and in words."""

    numbers: str
    words: str
    verdict: str


def findings(paired: pd.DataFrame, backbone: str) -> list[Finding]:
    """A finding on MRR for each arm compared with the study's first base, L1 against no distillation, each contrast."""
    rows = where(paired, backbone=backbone, metric="mrr")
    if rows.empty:
        return []
    wanted = (rows["base"] == rows["base"].iloc[0]) | (rows["base"] == "")
    chosen = rows[wanted | ((rows["arm"] == "L1") & (rows["base"] == "none"))]
    several = bool((rows["seeds"] > 1).any())
    return [_finding(row, several) for row in records(chosen)]


def _finding(row: dict[str, Any], several_seeds: bool) -> Finding:
    arm, base = arm_name(row["arm"]), arm_name(row["base"])
    difference = f"{arm} {MINUS} {base}" if row["base"] else arm
    ends = interval(row["difference_low"], row["difference_high"], 4)
    numbers = f"{difference}: {number(row['difference'], 4, signed=True)} {ends}, {p_equals(row['p_holm'])}"
    if not row["base"]:
        words = {"better": "Confirmed.", "worse": "The opposite holds."}.get(row["verdict"], "Undecided.")
    elif row["verdict"] == "undecided":
        words = f"Not significant; compatible with {percent(row['relative_low'])} to {percent(row['relative_high'])} "
        words += f"of the MRR of {base}."
        if row["p_holm"] < ALPHA:
            words += " Significant for these students, but not once seeds may vary."
    else:
        up = row["difference"] > 0
        agree = row["seeds_up"] if up else row["seeds"] - row["seeds_up"]
        words = f"{arm} {'raises' if up else 'lowers'} MRR by {percent(abs(row['relative']), signed=False)} of that of "
        words += f"{base} ({agree} of {row['seeds']} seeds)."
    if row["seeds"] == 1 and several_seeds:
        words += " One common seed: this is about these two students only."
    return Finding(numbers, words, row["verdict"])


def kept(means: pd.DataFrame, backbone: str) -> str | None:
    """A sentence on how much of the teacher's MRR the L1 and the undistilled student keep; None without a teacher."""
    mrr = where(means, backbone=backbone, metric="mrr").set_index("arm")["mean"]
    students = [arm for arm in ("none", "L1", "L1+L2+L3") if arm in mrr]
    if "teacher" not in mrr or not students or not mrr["teacher"] > 0:
        return None
    shares = [f"{percent(mrr[arm] / mrr['teacher'], signed=False)} ({arm_name(arm)})" for arm in students]
    return f"Of the structural teacher's MRR the student keeps {joined(shares)}."
