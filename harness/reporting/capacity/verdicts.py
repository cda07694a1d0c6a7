"""Students of several dimensions in words: claims C9 and C10, and the threshold of the gain."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from harness.reporting.capacity.numbers import BASE, FULL, POWER, Numbers
from harness.reporting.claims import Claim, Verdict, claim, in_order
from harness.reporting.data.frames import records
from harness.reporting.data.results import EQUAL
from harness.reporting.data.text import NBSP, interval, number, percent
from harness.vocabulary import arm_name, backbone_name, joined

#: C10: a student of this dimension keeps up if it keeps this share of its teacher's MRR.
SMALL, ENOUGH = 25, 0.95


def judge(names: Sequence[str], numbers: Numbers, dims: dict[str, list[int]]) -> list[Claim]:
    """The claims ``names`` on each backbone of ``dims``, the dimensions tried; claims on other things are left out."""
    judged = []
    for name in in_order(names):
        for backbone, tried in dims.items() if name in JUDGES else ():
            of_backbone = numbers.of(backbone)
            judged.append(claim(name, backbone, *JUDGES[name](of_backbone, tried)))
    return judged


def language_model_needs_room(numbers: Numbers, dims: Sequence[int]) -> tuple[Verdict, list[int]]:
    """C9: below some dimension of the student the language model no longer helps over BKD.

    Supported if at some dimension the full method is better than L1, at a smaller one it is not, and the gain at the
    larger exceeds that at the smaller (decided). Contradicted if it is better at every dimension that was tried.
    Equivalent if at every dimension it is shown to gain and lose no more than the margin.

    Returns the verdict with its reason, and the numbers of seeds that it rests on.
    """
    plain, contrasts = numbers.gain(), numbers.gain(contrasts=True)
    seeds = [int(n) for n in plain["seeds"]]
    if len(plain) < 2:
        return ("not tested", f"fewer than two dimensions have students of both {arm_name(BASE)} and all losses"), seeds
    gained = [int(row["dim"]) for row in records(plain) if row["verdict"] == "better"]
    others = [int(row["dim"]) for row in records(plain) if row["verdict"] != "better"]
    missing = sorted(set(dims) - {*gained, *others})
    gap = f"; nothing to compare at {_list(missing)}" if missing else ""
    if {row["verdict"] for row in records(plain)} == {EQUAL} and not missing:
        return (EQUAL, f"no difference to {BASE} beyond the margin at any dimension"), seeds
    if not gained:
        worse = [int(row["dim"]) for row in records(plain) if row["verdict"] == "worse"]
        harm = f", and to harm at {_list(worse)}" if worse else ""
        reason = f"the language model is shown to help at none of the dimensions{harm}"
        return ("undecided", f"{reason}; {_seen(plain)}{gap}"), seeds
    if not others:
        if missing:
            return ("undecided", f"better than {BASE} at {_list(gained)} dimensions{gap}"), seeds
        return ("contradicted", f"better than {BASE} at every dimension, {min(gained)} included"), seeds
    summary = f"better than {BASE} at {_list(gained)} dimensions, not at {_list(others)}"
    candidates = contrasts[contrasts["dim"].isin(gained) & contrasts["smaller"].isin(others)]
    grown = candidates[candidates["verdict"] == "better"]
    grown = grown[grown["seeds"] == grown["seeds"].max()]
    if len(grown):
        return ("supported", f"{summary}; {_contrast(grown)}{gap}"), [*seeds, int(grown["seeds"].iloc[0])]
    if min(others) > max(gained):
        return ("undecided", f"{summary}: where it does not help, students are larger, not smaller{gap}"), seeds
    if candidates.empty:
        return ("undecided", f"{summary}; no seed is complete at both sizes{gap}"), seeds
    return ("undecided", f"{summary}; {_contrast(candidates)}, which is not decided; {_seen(candidates)}{gap}"), seeds


def small_student_keeps_up(numbers: Numbers, _: Sequence[int]) -> tuple[Verdict, list[int]]:
    """C10: a student of 25 dimensions, trained with all losses, keeps at least 95 % of its teacher's MRR.

    Supported if the 95 % interval of that share lies at or above .95, contradicted if it lies below. Arguments and
    return value as in `language_model_needs_room`.
    """
    mrr = numbers.means[numbers.means["metric"] == "mrr"]
    small = {row["arm"]: row for row in records(mrr[(mrr["dim"] == SMALL) & (mrr["arm"] != "teacher")])}
    if not small:
        return ("not tested", f"there is no student of {SMALL} dimensions"), []
    teacher = records(mrr[mrr["arm"] == "teacher"])
    if not teacher:
        return ("not tested", "there is no teacher to compare with"), []
    shares = {row["arm"]: row for row in records(numbers.kept[numbers.kept["dim"] == SMALL])}
    of = f"of the MRR of its teacher ({teacher[0]['dim']}-d)"
    others_kept = [f"{arm_name(arm)} {_share(row)}" for arm, row in shares.items() if arm != FULL]
    if FULL not in shares:
        others = f"; kept {of}: {joined(others_kept)}" if others_kept else ""
        return ("not tested", f"there is no student of {SMALL} dimensions with {arm_name(FULL)}{others}"), []
    full = shares[FULL]
    word = "supported" if full["kept_low"] >= ENOUGH else "contradicted" if full["kept_high"] < ENOUGH else "undecided"
    beside = f"; {joined(others_kept)}" if others_kept else ""
    return (word, f"{arm_name(FULL)} keeps {_share(full)} {of}{beside}"), [int(small[FULL]["n"])]


#: what judges a claim by students of several dimensions
JUDGES: dict[str, Callable[[Numbers, Sequence[int]], tuple[Verdict, list[int]]]] = {
    "C9": language_model_needs_room,
    "C10": small_student_keeps_up,
}


def summary(numbers: Numbers, dims: Sequence[int], backbone: str) -> list[str]:
    """What a study found on a backbone, in sentences: where the language model helps, what small students keep."""
    sentences = []
    gains = records(numbers.gain())
    for word, begins in (
        ("better", "The language model raises MRR over L1 at"),
        ("worse", "It lowers MRR at"),
        (EQUAL, "No difference beyond the margin at"),
        ("undecided", "Not significant at"),
    ):
        at = [f"{row['dim']} ({percent(row['relative'])})" for row in gains if row["verdict"] == word]
        if at:
            sentences.append(f"{begins} {joined(at)} dimensions.")
    shares = {(row["arm"], row["dim"]): row["kept"] for row in records(numbers.kept)}
    kept = [
        f"{percent(shares[FULL, dim], signed=False)} with {dim}"
        for dim in dict.fromkeys((min(dims, default=0), SMALL, max(dims, default=0)))
        if (FULL, dim) in shares
    ]
    if kept:
        sentences.append(f"Of its teacher's MRR a student with all losses keeps {joined(kept)} dimensions.")
    return [f"{backbone_name(backbone)}: {' '.join(sentences)}"] if sentences else []


def threshold_in_words(numbers: Numbers) -> str | None:
    """From which dimension on the full method gains on a backbone, in a sentence; None where it was not looked for."""
    if numbers.thresholds.empty:
        return None
    (row,) = records(numbers.thresholds)
    gain = f"The gain of {arm_name(row['arm'])} over {arm_name(row['base'])} in MRR"
    if row["threshold"] == 0:
        words = f"is positive at all dimensions looked at, {row['smallest']} to {row['largest']}"
    elif math.isinf(row["threshold"]):
        words = f"is not positive at {row['largest']} dimensions, so there is no threshold up to there"
    else:
        words = f"is positive from {dimension(row['threshold'], row)} dimensions on"
    low, high = (dimension(row[end], row) for end in ("low", "high"))
    ends = low if low == high else f"{low} to {high}"
    over = f"{row['seeds']} seeds" if row["seeds"] > 1 else "the facts of one seed"
    shares = [
        f"in {percent(row[key], signed=False)} of resamples it is {sign}"
        for key, sign in (("always", "positive at every size"), ("never", f"not positive even at {row['largest']}"))
        if row[key] > 0
    ]
    resamples = f" {'; '.join(shares).capitalize()}." if shares else ""
    return f"{gain} {words} (95{NBSP}% interval of the threshold: {ends}; over {over}).{resamples}"


def dimension(value: float, row: dict[str, Any]) -> str:
    """A threshold (row of `thresholds`) or an end of its interval: "14"; "below 5" for 0, "none up to 200" for inf."""
    if value == 0:
        return f"below {row['smallest']}"
    if math.isinf(value):
        return f"none up to {row['largest']}"
    return number(value, 0 if value >= 10 else 1)


def _list(dims: Sequence[int]) -> str:
    return joined([str(dim) for dim in dims])


def _share(row: dict[str, Any]) -> str:
    ends = interval(100 * row["kept_low"], 100 * row["kept_high"], 1)
    return f"{percent(row['kept'], signed=False)} {ends}".replace(" ", NBSP)


def _contrast(rows: pd.DataFrame) -> str:
    """The largest of some contrasts in words."""
    row = records(rows.sort_values("difference"))[-1]
    ends = interval(row["difference_low"], row["difference_high"], 4)
    sizes = f"the gain at {row['dim']} dimensions minus that at {row['smaller']}"
    return f"{sizes} is {number(row['difference'], 4, signed=True)} {ends}"


def _seen(rows: pd.DataFrame) -> str:
    """The smallest differences that could be seen."""
    low, high = (number(value, 4) for value in (rows["detectable"].min(), rows["detectable"].max()))
    values = low if low == high else f"{low} to {high}, depending on the dimension,"
    return f"a difference of {values} would be seen with a power of {percent(POWER, False, 0)}"
