"""What the numbers on sensitivity say, in words: a sentence a factor, and the verdict on claim C7."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from harness.reporting.claims import Verdict
from harness.reporting.comparison.verdicts import Finding
from harness.reporting.data.frames import records
from harness.reporting.data.results import ALPHA
from harness.reporting.data.text import interval, number, p_value, percent
from harness.reporting.sensitivity.figures import source_name
from harness.reporting.sensitivity.tables import point_name
from harness.selection import TOLERANCE
from harness.vocabulary import backbone_name, joined, level_name, symbol_of

#: Smaller shares of the variance are left to the table.
NOTABLE = 0.05


def readings(ranges: pd.DataFrame, levels: pd.DataFrame, variance: pd.DataFrame, backbone: str) -> list[Finding]:
    """A finding for each factor, largest effect first."""
    means = {(row["backbone"], row["factor"], row["level"]): row["mean"] for row in records(levels)}
    findings = []
    of_backbone = ranges[ranges["backbone"] == backbone].sort_values("range", ascending=False, kind="stable")
    for row in records(of_backbone):
        symbol, best, worst = symbol_of(row["factor"]), row["best"], row["worst"]
        numbers = f"{symbol}: range of validation MRR {number(row['range'], 4)} "
        numbers += f"{interval(row['low'], row['high'], 4)}, p {p_value(row['p_holm'])}"
        at = [number(means[backbone, row["factor"], level], 4) for level in (best, worst)]
        words = f"Best at {symbol} = {level_name(best)} ({at[0]}), worst at {level_name(worst)} ({at[1]})."
        if row["decided"] and row["high"] < TOLERANCE:
            words += f" Real, but smaller than {TOLERANCE:g}."
        elif not row["decided"] and row["high"] < TOLERANCE:
            words += f" If there is an effect, it is smaller than {TOLERANCE:g}."
        words += _interaction(variance[variance["backbone"] == backbone], row["factor"])
        findings.append(Finding(numbers, words, "decided" if row["decided"] else "undecided"))
    return findings


def _interaction(variance: pd.DataFrame, factor: str) -> str:
    """The largest interaction of a factor with another, if its F test shows it and its share is worth a sentence."""
    mine = [row for row in records(variance[variance["order"] == 2]) if factor in row["source"].split(":")]
    top = max(mine, key=lambda row: row["share"], default=None)
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
    test facts of every backbone. Contradicted if no main effect can exceed the tolerance, if no point is robust, or if
    the default is worse than L1 on some backbone. With one seed there is no verdict.

    Args:
        ranges: `harness.reporting.sensitivity.effects.ranges`.
        region: `harness.reporting.sensitivity.selection.region`.
        tested: `harness.reporting.sensitivity.selection.on_test` of the default.
        names: the columns of the factors.
        one_seed: whether the points have one seed.
        fresh: whether the default was tested with seeds that took no part in choosing it.
    """
    mrr = records(tested[tested["measure"] == "mrr"])
    if not mrr or any(row["verdict"] == "" for row in mrr):
        return "not tested", "no trials of L1 to compare the points with"
    robust = region[region["robust"]]
    verdicts = {row["verdict"] for row in mrr}
    decided = bool(ranges["decided"].any())
    none_matters = bool(len(ranges)) and bool((ranges["high"] < TOLERANCE).all())
    reasons = [_effects(ranges), *([f"none can exceed {TOLERANCE:g}"] if none_matters else [])]
    reasons.append(f"{len(robust)} of {len(region)} points are robust")
    default = point_name(records(region.head(1))[0], names)
    differences = [f"{number(row['difference'], 4, signed=True)} on {_name(row)} ({row['verdict']})" for row in mrr]
    how = ", in confirmation runs," if fresh else ""
    reasons.append(f"on test the default ({default}){how} differs from L1 by {joined(differences)}")
    verdict = "undecided"
    if none_matters or robust.empty or "worse" in verdicts:
        verdict = "contradicted"
    elif decided and verdicts == {"better"}:
        verdict = "supported"
    reason = "; ".join(reasons)
    if one_seed:
        reason += f"; with one seed this is no verdict on the method (it would read: {verdict})"
        verdict = "undecided"
    return verdict, reason


def _name(row: dict[str, object]) -> str:
    backbone = str(row["backbone"])
    return backbone_name(backbone)


def _effects(ranges: pd.DataFrame) -> str:
    """Which main effects are decided; else the largest."""
    if ranges.empty:
        return "no main effect could be estimated"
    decided = ranges[ranges["decided"]]
    if decided.empty:
        top = records(ranges.loc[[ranges["range"].idxmax()]])[0]
        ends = interval(top["low"], top["high"], 4)
        return (
            f"no main effect is decided, the largest is {number(top['range'], 4)} {ends} of {symbol_of(top['factor'])} "
            f"on {_name(top)}"
        )
    parts = []
    for backbone in dict.fromkeys(decided["backbone"]):
        rows = records(decided[decided["backbone"] == backbone].sort_values("range", ascending=False))
        names = [f"{symbol_of(row['factor'])} (range {number(row['range'], 4)})" for row in rows]
        parts.append(f"{joined(names)} on {_name(rows[0])}")
    return f"main effects decided: {'; '.join(parts)}"
