"""The numbers on sensitivity in words: a sentence a factor, and the verdict on claim C7."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.reporting.claims import Verdict, no_verdict
from harness.reporting.data.frames import records, rows_of
from harness.reporting.data.results import ALPHA, EQUAL
from harness.reporting.data.text import interval, number, p_equals, percent
from harness.reporting.sensitivity.figures import source_name
from harness.reporting.sensitivity.tables import point_name
from harness.selection import TOLERANCE
from harness.vocabulary import backbone_name, joined, level_name, symbol_of

#: Smaller shares of the variance are left to the table.
NOTABLE = 0.05


@dataclass(frozen=True)
class Finding:
    """One factor's effect in numbers and in words."""

    numbers: str
    words: str
    verdict: str


def readings(ranges: pd.DataFrame, levels: pd.DataFrame, variance: pd.DataFrame, backbone: str) -> list[Finding]:
    """A finding for each factor, largest effect first."""
    means = {(row["backbone"], row["factor"], row["level"]): row["mean"] for row in records(levels)}
    findings = []
    for row in rows_of(ranges.sort_values("range", ascending=False, kind="stable"), backbone=backbone):
        symbol, best, worst = symbol_of(row["factor"]), row["best"], row["worst"]
        numbers = f"{symbol}: range of validation MRR {number(row['range'], 4)} "
        numbers += f"{interval(row['low'], row['high'], 4)}, {p_equals(row['p_holm'])}"
        at = [number(means[backbone, row["factor"], level], 4) for level in (best, worst)]
        words = f"Best at {symbol} = {level_name(best)} ({at[0]}), worst at {level_name(worst)} ({at[1]})."
        if row["high"] < TOLERANCE:
            words += " Real, but smaller" if row["decided"] else " If there is an effect, it is smaller"
            words += f" than {TOLERANCE:g}."
        words += _interaction(rows_of(variance, backbone=backbone, order=2), row["factor"])
        findings.append(Finding(numbers, words, "decided" if row["decided"] else "undecided"))
    return findings


def summary(ranges: pd.DataFrame, levels: pd.DataFrame, backbone: str) -> list[str]:
    """Which factors move validation MRR on a backbone, and by how much, in a sentence or two."""
    means = {(row["factor"], row["level"]): row["mean"] for row in rows_of(levels, backbone=backbone)}
    rows = rows_of(ranges.sort_values("range", ascending=False, kind="stable"), backbone=backbone)
    if not rows:
        return []

    def effect(row: dict[str, Any]) -> str:
        at = [f"{number(means[row['factor'], row[end]], 4)} at {level_name(row[end])}" for end in ("best", "worst")]
        shown = "" if row["decided"] else "; not significant"
        return f"by {number(row['range'], 4)} ({', '.join(at)}{shown})"

    first, *others = rows
    words = f"{backbone_name(backbone)}: {symbol_of(first['factor'])} moves validation MRR most, {effect(first)}"
    return ["; ".join([words, *(f"{symbol_of(row['factor'])} {effect(row)}" for row in others)]) + "."]


def _interaction(pairs: Sequence[dict[str, Any]], factor: str) -> str:
    """The largest interaction of a factor with another, if its F test shows it and its share is worth a sentence."""
    of_factor = [row for row in pairs if factor in row["source"].split(":")]
    top = max(of_factor, key=lambda row: row["share"], default=None)
    if top is None or not (top["p"] < ALPHA and top["omega_sq"] >= NOTABLE):
        return ""
    share = percent(top["share"], signed=False)
    return f" Its largest interaction, {source_name(top['source'])}, has {share} of the variance."


def judge_settings(
    ranges: pd.DataFrame,
    region: pd.DataFrame,
    tested: pd.DataFrame,
    names: Sequence[str],
    *,
    one_seed: bool,
    fresh: bool = False,
) -> Verdict:
    """C7: results depend on the factors, and there are defaults that work on every backbone.

    Supported if a main effect is decided and the recommended default, chosen by validation, is better than L1 on the
    test facts of every backbone (``tested``, of `on_test`); partly if it is better on some and equivalent on the
    others, equivalent if it is that on all. Contradicted if no main effect can exceed the tolerance, if
    no point is stable, or if the default is worse than L1 on some backbone. With one seed there is no verdict.
    ``fresh``: the default was tested with seeds that took no part in choosing it.
    """
    mrr = rows_of(tested, metric="mrr")
    verdicts = {row["verdict"] for row in mrr}
    if not mrr or "" in verdicts:
        return "not tested", "no trials of L1 to compare the points with"
    stable = int(region["stable"].sum())
    none_matters = len(ranges) > 0 and bool((ranges["high"] < TOLERANCE).all())
    reasons = [_effects(ranges), *([f"none can exceed {TOLERANCE:g}"] if none_matters else [])]
    reasons.append(f"{stable} of the {len(region)} settings are good in all cases")
    default = point_name(records(region.head(1))[0], names)
    differences = [
        f"{number(row['difference'], 4, signed=True)} on {backbone_name(row['backbone'])} ({row['verdict']})"
        for row in mrr
    ]
    how = ", in confirmation runs," if fresh else ""
    reasons.append(f"on test the default ({default}){how} differs from L1 by {joined(differences)}")
    word = "undecided"
    if none_matters or not stable or "worse" in verdicts:
        word = "contradicted"
    elif verdicts == {EQUAL}:
        word = EQUAL
    elif ranges["decided"].any() and verdicts <= {"better", EQUAL}:
        word = "supported" if verdicts == {"better"} else "partly supported"
    verdict = word, "; ".join(reasons)
    return no_verdict(verdict) if one_seed else verdict


def _effects(ranges: pd.DataFrame) -> str:
    """Which main effects are decided; else the largest."""
    if ranges.empty:
        return "no main effect could be estimated"
    decided = ranges[ranges["decided"]].sort_values("range", ascending=False)
    if decided.empty:
        top = records(ranges.loc[[ranges["range"].idxmax()]])[0]
        size = f"{number(top['range'], 4)} {interval(top['low'], top['high'], 4)}"
        where = f"{symbol_of(top['factor'])} on {backbone_name(top['backbone'])}"
        return f"no main effect is decided, the largest is {size} of {where}"
    parts = []
    for backbone in ranges[ranges["decided"]]["backbone"].unique():
        rows = rows_of(decided, backbone=backbone)
        names = [f"{symbol_of(row['factor'])} (range {number(row['range'], 4)})" for row in rows]
        parts.append(f"{joined(names)} on {backbone_name(backbone)}")
    return f"main effects decided: {'; '.join(parts)}"
