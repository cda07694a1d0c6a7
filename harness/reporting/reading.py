"""What the numbers say, in words: a sentence a comparison, a verdict a claim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.reporting.labels import ARMS, BACKBONES, MEASURE, joined
from harness.reporting.results import ALPHA
from harness.reporting.text import NBSP, interval, number, p_value, percent

HITS = ("hits1", "hits3", "hits10")

CLAIMS = {
    "C2": "L2 and L3 each add to L1; all three together are best.",
    "C6": "With the language model's losses the mean rank may get worse while Hits@k gets better.",
}


@dataclass(frozen=True)
class Finding:
    """One comparison in numbers and in words."""

    numbers: str
    words: str
    verdict: str


@dataclass(frozen=True)
class Claim:
    """A claim with its verdict on one backbone: "supported", "contradicted", "undecided" or "not tested"."""

    id: str
    text: str
    backbone: str
    verdict: str
    reason: str


def findings(paired: pd.DataFrame, backbone: str, base: str = "L1") -> list[Finding]:
    """A finding on MRR for each arm compared with ``base``; with base L1 also L1 against no distillation."""
    rows = paired[(paired["backbone"] == backbone) & (paired["measure"] == "mrr")]
    chosen = rows[(rows["base"] == base) | ((rows["arm"] == "L1") & (rows["base"] == "none"))]
    several = bool((rows["seeds"] > 1).any())
    return [_finding(row, several) for _, row in chosen.sort_values("base", kind="stable").iterrows()]


def _finding(row: pd.Series[Any], several_seeds: bool) -> Finding:
    arm, base = ARMS[row["arm"]], ARMS[row["base"]]
    ends = interval(row["difference_low"], row["difference_high"], 4)
    numbers = (
        f"{arm} {chr(0x2212)} {base}: {number(row['difference'], 4, signed=True)} {ends}, p {p_value(row['p_holm'])}"
    )
    if row["verdict"] == "undecided":
        words = f"No difference in MRR is shown; one between {percent(row['relative_low'])} and "
        words += f"{percent(row['relative_high'])} of the MRR of {base} remains possible."
        if row["p_holm"] < ALPHA:
            words += (
                " The test alone, which speaks of these trained students, would decide; the interval, which covers "
            )
            words += "new seeds, does not."
    else:
        up = row["difference"] > 0
        agree = row["seeds_up"] if up else row["seeds"] - row["seeds_up"]
        words = f"{arm} {'raises' if up else 'lowers'} MRR by {percent(abs(row['relative']), signed=False)} of that of "
        words += f"{base} ({agree} of {row['seeds']} seeds)."
    if row["seeds"] == 1 and several_seeds:
        words += " One common seed: this speaks of these two trained students only."
    return Finding(numbers, words, row["verdict"])


def kept(means: pd.DataFrame, backbone: str) -> str | None:
    """A sentence on how much of the teacher's MRR the L1 and the undistilled student keep; None without a teacher."""
    mrr = means[(means["backbone"] == backbone) & (means["measure"] == "mrr")].set_index("arm")["mean"]
    students = [arm for arm in ("none", "L1", "L1+L2+L3") if arm in mrr]
    if "teacher" not in mrr or not students or not mrr["teacher"] > 0:
        return None
    shares = [f"{percent(mrr[arm] / mrr['teacher'], signed=False)} ({ARMS[arm]})" for arm in students]
    return f"Of the structural teacher's MRR the student keeps {joined(shares)}."


def claims(paired: pd.DataFrame, backbones: list[str]) -> list[Claim]:
    """The claims an ablation tests, each on each backbone."""
    judged = []
    for backbone in backbones:
        rows = paired[paired["backbone"] == backbone]
        by_key = {(row["arm"], row["base"], row["measure"]): row for _, row in rows.iterrows()}
        for name, judge in (("C2", _each_adds), ("C6", _rank_against_hits)):
            verdict, reason = judge(by_key)
            if verdict in ("supported", "contradicted") and (rows["seeds"] < 2).any():
                reason += f"; with one seed this is no verdict on the method (it would read: {verdict})"
                verdict = "undecided"
            judged.append(Claim(name, CLAIMS[name], BACKBONES.get(backbone, backbone), verdict, reason))
    return sorted(judged, key=lambda claim: claim.id)


Rows = dict[tuple[str, str, str], "pd.Series[Any]"]


def _each_adds(rows: Rows) -> tuple[str, str]:
    """C2: four comparisons on MRR, all of which must come out better (an intersection: no correction between them)."""
    steps = {
        "L2 added to L1": ("L1+L2", "L1"),
        "L3 added to L1": ("L1+L3", "L1"),
        "all three against L1 + L2": ("L1+L2+L3", "L1+L2"),
        "all three against L1 + L3": ("L1+L2+L3", "L1+L3"),
    }
    found = {
        step: rows[arm, base, "mrr"]["verdict"] for step, (arm, base) in steps.items() if (arm, base, "mrr") in rows
    }
    if len(found) < len(steps):
        return "not tested", f"no trials to compare for: {joined([step for step in steps if step not in found])}"
    reason = "; ".join(f"{step}: {verdict}" for step, verdict in found.items())
    verdicts = set(found.values())
    return ("contradicted" if "worse" in verdicts else "supported" if verdicts == {"better"} else "undecided"), reason


def _rank_against_hits(rows: Rows) -> tuple[str, str]:
    """C6: an arm with a worse MR and better Hits@k than L1; excluded where MR got better or every Hits@k worse."""
    arms = [arm for arm in ("L1+L2", "L1+L3", "L1+L2+L3") if (arm, "L1", "mr") in rows]
    if not arms:
        return "not tested", "no trials to compare with L1"
    shown, excluded, reasons = False, True, []
    for arm in arms:
        rank = rows[arm, "L1", "mr"]
        hits = {key: rows[arm, "L1", key]["verdict"] for key in HITS}
        better = [MEASURE[key].label for key, verdict in hits.items() if verdict == "better"]
        shown |= rank["verdict"] == "worse" and bool(better)
        excluded &= rank["verdict"] == "better" or set(hits.values()) == {"worse"}
        change = number(rank["difference"], 1, signed=True)
        gained = f"{joined(better)} better" if better else "no Hits@k better"
        reasons.append(f"{ARMS[arm]}: MR {change} ({rank['verdict']}), {gained}".replace(" (", f"{NBSP}("))
    return ("supported" if shown else "contradicted" if excluded else "undecided"), "; ".join(reasons)
