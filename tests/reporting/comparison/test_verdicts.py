"""Sentences and verdicts, from comparisons set by hand."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from harness.design import files
from harness.reporting.claims import QUESTIONS, WIDTHS, judge
from harness.reporting.comparison.verdicts import kept, summary

PAIRS = [
    ("L1+L2", "L1"),
    ("L1+L3", "L1"),
    ("L1+L2+L3", "L1"),
    ("L1", "none"),
    ("L1+L2+L3", "L1+L2"),
    ("L1+L2+L3", "L1+L3"),
]


def comparisons(seeds: int = 3, **verdicts: str) -> pd.DataFrame:
    """All comparisons undecided, but those named "arm base metric" with the verdict given."""
    rows: list[dict[str, Any]] = []
    for arm, base in PAIRS:
        for metric in ("mrr", "mr", "hits1", "hits3", "hits10"):
            verdict = verdicts.get(f"{arm} {base} {metric}", verdicts.get(f"{arm} {base}", "undecided"))
            sign = {"better": 1, "worse": -1, "undecided": 0.2, "equivalent": 0.1}[verdict] * (
                -1 if metric == "mr" else 1
            )
            value = {"difference": 0.0031 * sign, "difference_low": -0.001, "difference_high": 0.0072}
            value |= {"relative": 0.0124 * sign, "relative_low": -0.004, "relative_high": 0.0288}
            p = 0.21 if verdict == "undecided" else 0.0004
            rows.append(
                {"backbone": "ttranse", "arm": arm, "base": base, "metric": metric, "verdict": verdict, "p_holm": p}
                | value
                | {"seeds": seeds, "seeds_up": seeds if sign > 0 else 0, "margin": 0.0031, "chance": math.nan}
            )
    return pd.DataFrame(rows)


def verdict_of(frame: pd.DataFrame, claim: str) -> str:
    return next(one.verdict for one in judge([claim], frame, ["ttranse"]) if one.id == claim)


MEANS = pd.DataFrame(
    [
        ("ttranse", arm, "mrr", value)
        for arm, value in (("none", 0.2951), ("L1", 0.3101), ("L1+L2", 0.3139), ("teacher", 0.3876))
    ],
    columns=["backbone", "arm", "metric", "mean"],
)


def said(frame: pd.DataFrame) -> str:
    (sentences,) = summary(frame, MEANS, "ttranse", ("L1+L2", "L1"))
    return sentences.replace("\N{NO-BREAK SPACE}", " ")


def test_an_undecided_comparison_says_what_remains_possible() -> None:
    assert (
        "L1 + L2 has MRR 0.314, L1 0.310. Not significant; compatible with −0.4 % to +2.9 %. "
        "Not significant against L1: L1 + L3 (+0.2 %) and L1 + L2 + L3 (+0.2 %)."
    ) in said(comparisons())


def test_what_the_base_is_worth_against_no_distillation_comes_first() -> None:
    assert said(comparisons(**{"L1 none": "better"})).startswith(
        "TTransE: L1 raises MRR from 0.295 (no distillation) to 0.310: +1.2 % (−0.4 % to +2.9 %; 3 of 3 seeds). "
        "L1 + L2 has MRR 0.314"
    )
    frame = comparisons()
    assert said(frame[frame["base"] != "none"]).startswith("TTransE: L1 + L2 has MRR 0.314")


def test_decided_comparisons_say_the_direction_and_the_seeds_that_agree() -> None:
    words = said(comparisons(**{"L1+L2 L1": "better", "L1+L3 L1": "worse", "L1+L2+L3 L1": "better"}))
    assert "L1 + L2 raises MRR from 0.310 (L1) to 0.314: +1.2 % (−0.4 % to +2.9 %; 3 of 3 seeds)." in words
    assert "Also better than L1: L1 + L2 + L3 (+1.2 %). Worse than L1: L1 + L3 (−1.2 %)." in words
    assert words.endswith("MRR of 0.388 the student keeps 76.1 % (no distillation) and 80.0 % (L1).")


def test_equivalence_names_its_margin_and_futility_its_chance() -> None:
    words = said(comparisons(**{"L1+L2 L1": "equivalent", "L1+L3 L1": "equivalent"}))
    assert "L1 + L2 has MRR 0.314, L1 0.310: equivalent (+0.1 %, −0.4 % to +2.9 %; the margin is 1.0 %)." in words
    assert "Equivalent to L1: L1 + L3 (+0.1 %)." in words
    assert "More seeds would hardly decide it: the chance is 4.0 %." in said(comparisons().assign(chance=0.04))


def test_a_test_without_its_interval_is_explained() -> None:
    assert "Significant for these students" in said(comparisons().assign(p_holm=0.003))


STEPS = ["L1+L2 L1", "L1+L3 L1", "L1+L2+L3 L1+L2", "L1+L2+L3 L1+L3"]


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (dict.fromkeys(STEPS, "better"), "supported"),
        (dict.fromkeys(STEPS[:3], "better"), "partly supported"),
        (dict.fromkeys(STEPS[:2], "better"), "undecided"),
        (dict.fromkeys(STEPS, "equivalent"), "equivalent"),
        (dict.fromkeys(STEPS[:3], "better") | {STEPS[3]: "worse"}, "contradicted"),
        ({}, "undecided"),
    ],
)
def test_c2_needs_every_step(verdicts: dict[str, str], expected: str) -> None:
    assert verdict_of(comparisons(**verdicts), "C2") == expected


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ({"L1+L2 L1 mr": "worse", "L1+L2 L1 hits10": "better"}, "supported"),
        ({"L1+L2 L1 mr": "worse", "L1+L3 L1 hits10": "better"}, "undecided"),
        ({f"{arm} L1 mr": "better" for arm in ("L1+L2", "L1+L3", "L1+L2+L3")}, "not reproduced"),
        ({"L1+L2 L1 mr": "better"}, "undecided"),
    ],
)
def test_c6_is_a_matter_of_one_arm(verdicts: dict[str, str], expected: str) -> None:
    assert verdict_of(comparisons(**verdicts), "C6") == expected


FULL = "L1+L2+L3 L1"


@pytest.mark.parametrize(
    ("verdicts", "hits10", "expected"),
    [
        ({f"{FULL} hits1": "better", f"{FULL} hits3": "better"}, 0.01, "supported"),
        ({f"{FULL} hits1": "better", f"{FULL} hits3": "better"}, 0.02, "partly supported"),
        ({f"{FULL} hits1": "better", f"{FULL} hits3": "worse"}, 0.0, "contradicted"),
        ({f"{FULL} hits1": "equivalent", f"{FULL} hits3": "equivalent", f"{FULL} mr": "better"}, 0.0, "contradicted"),
        (dict.fromkeys([f"{FULL} hits{k}" for k in (1, 3, 10)], "equivalent"), 0.0, "equivalent"),
        ({f"{FULL} hits1": "better", f"{FULL} mr": "better"}, 0.0, "undecided"),
    ],
)
def test_c21_is_about_the_first_ranks(verdicts: dict[str, str], hits10: float, expected: str) -> None:
    frame = comparisons(**verdicts)
    frame.loc[frame["metric"] == "hits10", "relative"] = hits10
    assert verdict_of(frame, "C21") == expected
    assert verdict_of(frame[frame["arm"] == "L1+L2"], "C21") == "not tested"


@pytest.mark.parametrize(("worse", "expected"), [("mr", "supported"), ("hits3", "contradicted")])
def test_c1_is_decided_by_the_measures_that_the_paper_names(worse: str, expected: str) -> None:
    """MR is shown beside, whatever it says."""
    parts = [comparisons(**{"L1+L2+L3 L1": "better", f"L1+L2+L3 L1 {worse}": "worse"})]
    one = parts[0][(parts[0]["arm"] == "L1+L2+L3") & (parts[0]["base"] == "L1")]
    bases = ["L1", "L1+FitNet", "L1+RKD-D", "L1+RKD-A"]
    assert verdict_of(pd.concat([one.assign(base=base) for base in bases]), "C1") == expected


def asked(claim: str, **verdicts: str) -> pd.DataFrame:
    """The comparisons of a claim on MRR by their names, those that are not named left out."""
    base = comparisons().query("arm == 'L1' and base == 'none' and metric == 'mrr'")
    parts = [
        base.assign(arm=arm, base=other, verdict=verdicts[name])
        for name, (arm, other) in QUESTIONS[claim].steps.items()
        if name in verdicts
    ]
    return pd.concat(parts or [base], ignore_index=True)


SMALL = [f"{kind}{wide} against 12-d of 32 bits" for kind in ("", "undistilled ") for wide in WIDTHS[0][1:]]
TEACHERS = ("born-again teacher against one", "ensemble against one")


@pytest.mark.parametrize(
    ("claim", "verdicts", "expected"),
    [
        ("C15", dict.fromkeys(SMALL, "better"), "supported"),  # those of 96 bytes were not tried
        ("C15", dict.fromkeys(SMALL, "better") | {SMALL[0]: "worse"}, "contradicted"),
        ("C15", {}, "not tested"),
        ("C16", dict(zip(TEACHERS, ("undecided", "better"), strict=True)), "undecided"),
        ("C17", dict.fromkeys(QUESTIONS["C17"].steps, "better"), "supported"),
        ("C17", {"against L1": "better"}, "not tested"),
        ("C18", dict.fromkeys(QUESTIONS["C18"].steps, "better"), "supported"),
        ("C19", {"DKD": "worse", "DIST": "better", "L1 + L3": "undecided"}, "supported"),
        ("C19", {"DKD": "worse", "DIST": "equivalent"}, "contradicted"),
        ("C19", {"DKD": "worse", "DIST": "undecided"}, "undecided"),
        ("C19", {}, "not tested"),
    ],
)
def test_claims_of_the_harness(claim: str, verdicts: dict[str, str], expected: str) -> None:
    assert verdict_of(asked(claim, **verdicts), claim) == expected


def test_c19_ranks_the_losses() -> None:
    frame = asked("C19", DKD="better", DIST="worse").assign(relative=[0.01, 0.02])
    (claim,) = judge(["C19"], frame, ["ttranse"])
    assert claim.reason.replace("\N{NO-BREAK SPACE}", " ") == "DIST +2.0 % (worse); DKD +1.0 % (better)"


def test_claims_ask_for_arms_that_their_studies_compare() -> None:
    for name in files.files():
        design = files.load(name)
        for claim in set(design.claims) & set(QUESTIONS):
            compared = {(arm, base) for base, arms in design.compare.items() for arm in arms}
            compared |= {(name, "") for name in design.contrasts}
            assert set(QUESTIONS[claim].steps.values()) <= compared, (name, claim)


def test_one_seed_gives_no_verdict_on_the_method() -> None:
    judged = judge(["C2"], comparisons(seeds=1, **dict.fromkeys(STEPS, "better")), ["ttranse"])
    assert judged[0].verdict == "undecided"
    assert "it would read: supported" in judged[0].reason


def test_a_reason_says_which_part_of_the_rule_is_met() -> None:
    frame = comparisons()
    frame.loc[(frame["arm"] == "L1+L2") & (frame["metric"] == "mrr"), "p_holm"] = 0.001
    (claim,) = judge(["C2"], frame, ["ttranse"])
    assert claim.reason.startswith("L2 added to L1: undecided (p alone); L3 added to L1: undecided; ")


@pytest.mark.parametrize(("other", "expected"), [(None, "supported"), ("undecided", "undecided")])
def test_c3_is_about_both_ways_to_have_one_stage_if_both_ran(other: str | None, expected: str) -> None:
    verdicts = {"two stages against one": "better"}
    verdicts |= {"against one without an exact epoch": other} if other else {}
    assert verdict_of(asked("C3", **verdicts), "C3") == expected


def test_missing_arms_leave_a_claim_untested() -> None:
    frame = comparisons()
    some = frame[frame["arm"].isin(["L1", "L1+L2"])]
    assert verdict_of(some, "C2") == "not tested"
    assert verdict_of(frame[frame["base"] == "none"], "C6") == "not tested"


def test_share_of_the_teacher_that_is_kept() -> None:
    means = pd.DataFrame(
        [("ttranse", "teacher", "mrr", 0.4), ("ttranse", "none", "mrr", 0.3), ("ttranse", "L1", "mrr", 0.36)],
        columns=["backbone", "arm", "metric", "mean"],
    )
    sentence = kept(means, "ttranse")
    assert sentence is not None
    assert sentence.replace("\N{NO-BREAK SPACE}", " ").endswith("keeps 75.0 % (no distillation) and 90.0 % (L1).")
    assert kept(means[means["arm"] != "teacher"], "ttranse") is None
