"""Comparisons in words: what a study found, a sentence or two a backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from harness.reporting.data.frames import records, where
from harness.reporting.data.results import ALPHA, EQUAL
from harness.reporting.data.text import interval, number, percent
from harness.stats.sequential import FUTILE
from harness.vocabulary import arm_name, backbone_name, joined

#: more arms than these with one verdict are given by their number
MOST_NAMED = 4
#: beginnings of sentences on the other arms, by their verdict
_OTHERS = {
    "better": "Also better than",
    "worse": "Worse than",
    "equivalent": "Equivalent to",
    "undecided": "Not significant against",
}


def summary(paired: pd.DataFrame, means: pd.DataFrame, backbone: str, pair: tuple[str, str] | None) -> list[str]:
    """What a study found on a backbone in test MRR, in sentences.

    Args:
        paired: comparisons (`harness.reporting.data.results.paired`).
        means: means of all arms.
        backbone: which.
        pair: the comparison that the study is about, an arm and its base; None: there is none.
    """
    rows = where(paired, backbone=backbone, metric="mrr")
    mrr = where(means, backbone=backbone, metric="mrr").set_index("arm")["mean"]
    sentences = []
    # what the base is worth comes first, where the study compares it with the undistilled student
    for arm, base in () if pair is None else ((pair[1], "none"), pair):
        if main := records(where(rows, arm=arm, base=base)):
            sentences += [_main(main[0], mrr), *_others(where(rows, base=base), (arm, base))]
    sentences += [_contrast(row) for row in records(where(rows, base=""))]
    if (share := kept(means, backbone)) is not None:
        sentences.append(share)
    return [f"{backbone_name(backbone)}: {' '.join(sentences)}"] if sentences else []


def not_significant(low: float, high: float) -> str:
    """What an undecided relative difference leaves possible."""
    return f"Not significant; compatible with {percent(low)} to {percent(high)}."


def _main(row: dict[str, Any], mrr: pd.Series[float]) -> str:
    """The comparison that the study is about, with both values."""
    arm, base = arm_name(row["arm"]), arm_name(row["base"])
    value, other = (number(float(mrr[row[key]]), 3) for key in ("arm", "base"))
    if row["verdict"] == "undecided":
        words = f"{arm} has MRR {value}, {base} {other}. {not_significant(row['relative_low'], row['relative_high'])}"
        if row["p_holm"] < ALPHA:
            words += " Significant for these students, but not once seeds may vary."
        elif row["chance"] < FUTILE:
            words += f" More seeds would hardly decide it: the chance is {percent(row['chance'], signed=False)}."
    elif row["verdict"] == EQUAL:
        change = f"{percent(row['relative'])}, {percent(row['relative_low'])} to {percent(row['relative_high'])}"
        words = f"{arm} has MRR {value}, {base} {other}: equivalent ({change}; "
        words += f"the margin is {percent(row['margin'] / mrr[row['base']], signed=False)})."
    else:
        up = row["difference"] > 0
        agree = row["seeds_up"] if up else row["seeds"] - row["seeds_up"]
        words = (
            f"{arm} {'raises' if up else 'lowers'} MRR from {other} ({base}) to {value}: {percent(row['relative'])} "
        )
        words += (
            f"({percent(row['relative_low'])} to {percent(row['relative_high'])}; {agree} of {row['seeds']} seeds)."
        )
    return words


def _others(rows: pd.DataFrame, pair: tuple[str, str]) -> list[str]:
    """The other arms that are compared with the same base, by verdict."""
    sentences = []
    for verdict, begins in _OTHERS.items():
        chosen = [row for row in records(where(rows, verdict=verdict)) if row["arm"] != pair[0]]
        if chosen:
            sentences.append(f"{begins} {arm_name(pair[1])}: {_named(chosen)}.")
    return sentences


def _named(rows: Sequence[dict[str, Any]]) -> str:
    if len(rows) <= MOST_NAMED:
        return joined([f"{arm_name(row['arm'])} ({percent(row['relative'])})" for row in rows])
    changes = [row["relative"] for row in rows]
    return f"{len(rows)} others ({percent(min(changes))} to {percent(max(changes))})"


def _contrast(row: dict[str, Any]) -> str:
    """A difference of differences, which its name states as a claim."""
    words = {"better": "confirmed", "worse": "the opposite holds", EQUAL: "no difference beyond the margin"}.get(
        row["verdict"], "not significant"
    )
    ends = interval(row["difference_low"], row["difference_high"], 4)
    return f"{row['arm']}: {words}, {number(row['difference'], 4, signed=True)} {ends} of MRR."


def kept(means: pd.DataFrame, backbone: str) -> str | None:
    """A sentence on how much of the teacher's MRR the L1 and the undistilled student keep; None without a teacher."""
    mrr = where(means, backbone=backbone, metric="mrr").set_index("arm")["mean"]
    students = [arm for arm in ("none", "L1", "L1+L2+L3") if arm in mrr]
    if "teacher" not in mrr or not students or not mrr["teacher"] > 0:
        return None
    shares = [f"{percent(mrr[arm] / mrr['teacher'], signed=False)} ({arm_name(arm)})" for arm in students]
    return f"Of the structural teacher's MRR of {number(float(mrr['teacher']), 3)} the student keeps {joined(shares)}."
