"""The claims of the paper and our own, and the verdict of a study's comparisons on each, with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from harness.reporting.data.frames import records
from harness.reporting.data.results import EQUAL, alone
from harness.reporting.data.text import NBSP, number, percent
from harness.vocabulary import CLAIMS, METRIC, arm_name, backbone_name, joined

#: whose claims these are
PAPER = {
    "title": "Knowledge Distillation for Temporal Knowledge Graph Reasoning with Large Language Models",
    "authors": "Wang Xing, Wei Song, Siyu Lin, Chen Wu, Zhesi Li, Man Wang",
    "id": "arXiv:2601.00202",
    "year": "2026",
    "url": "https://arxiv.org/abs/2601.00202",
}
HITS = ("hits1", "hits3", "hits10")
#: what decides each claim, on each data set and backbone. Where all must be better, one that is worse contradicts it
RULES = {
    "C1": "The full method against L1, FitNet, RKD-D and RKD-A, by MRR, Hits@1, Hits@3 and Hits@10: all better.",
    "C2": "L1 + L2 and L1 + L3 against L1, all three losses against both: all better.",
    "C3": "The full method that switches at half of the epochs, against one stage with and without an exact first "
    "epoch: better.",
    "C4": "What Huber keeps under outliers, against KL and MSE: both better.",
    "C5": "The full method against L1, shuffled and random vectors: all better.",
    "C6": "Against L1. Supported: an arm has a worse MR and a better Hits@k. Not reproduced: in every arm MR is "
    "better, or all Hits@k worse.",
    "C7": "Supported: a main effect is decided, and the default chosen by validation beats L1 on every backbone. "
    "Partly: on some, and it is equivalent on the others; equivalent: on all. Contradicted: no effect can "
    "exceed 0.002, no point is stable, or the default is worse somewhere.",
    "C8": "Supported: T above 10.5 is worse than around 7, and T below 4.5 not better. Contradicted: either is "
    "better. Equivalent: both are.",
    "C9": "The full method against L1. Supported: better at one dimension, not at a smaller one, and the difference "
    "of the gains is decided. Contradicted: better at all. Equivalent: at all.",
    "C10": "Our reading: the share of its teacher's MRR that the full method keeps. Supported: its interval lies at "
    "or above 0.95. Contradicted: below.",
    "C11": "The full method against no distillation. Supported: more time and memory, teachers included; equal size; "
    "the interval of the latency ratio within 0.9 to 1.1. Contradicted: sizes differ, the interval lies "
    "outside, or neither costs more.",
    "C12": "Supported: storing saves over half of the time that online teachers add, and MRR falls by no more than 2 "
    "%. Contradicted: one of the two fails.",
    "C13": "The full method against L1 and no distillation: both better.",
    "C14": "No verdict: the ratio of seconds, and from how many students on each takes no longer than training a "
    "teacher.",
    "C15": "Each wide student against the narrow one of equal bytes, distilled and undistilled: all better.",
    "C16": "The student of the born-again teacher, and that of the ensemble, against that of one teacher: both better.",
    "C17": "The full method with neighbourhood texts against L1, L1 for 32 epochs, labels as texts, and static "
    "vectors of the same texts: all better.",
    "C18": "Gaps in the teacher against L1, in the student against L1, in both against the teacher alone, and in an "
    "undistilled student against none: all better.",
    "C19": "Each loss against L1, all tuned with equal budgets. Supported: one is better (Holm over all). "
    "Contradicted: each is worse or equivalent.",
    "C20": "The claim foretells harm where the undistilled student's validation MRR is above its teacher's less 1 %. "
    "Supported: it foretells most cases that are worse than undistilled, and more of these than of the better "
    "ones. Contradicted: at most half.",
    "C21": "The full method against L1. Supported: Hits@1 and Hits@3 are better, and by no smaller share than Hits@10 "
    "(else partly). Contradicted: one of them is worse, or both are equivalent and Hits@10 or MR is better.",
}

#: comparisons of one backbone by (arm, base, metric)
Rows = Mapping[tuple[str, str, str], dict[str, Any]]
#: (verdict, reason)
Verdict = tuple[str, str]


@dataclass(frozen=True)
class Claim:
    """A claim with its verdict on one backbone: "supported", "partly supported", "equivalent" (shown to make no
    difference beyond the margin), "contradicted", "not reproduced" (of what may happen: shown not to happen here),
    "undecided" or "not tested"."""

    id: str
    text: str
    backbone: str
    verdict: str
    reason: str


@dataclass(frozen=True)
class Question:
    """What a claim asks of comparisons of arms: which of them, as (arm, base) by name, and by which metrics.

    ``decide`` makes the verdict; without it, all steps have to be better by all metrics. ``beside`` are metrics that
    are shown and decide nothing.
    """

    steps: Mapping[str, tuple[str, str]]
    metrics: tuple[str, ...] = ("mrr",)
    beside: tuple[str, ...] = ()
    decide: Callable[[Rows, Question], Verdict] | None = None


def judge(names: Sequence[str], paired: pd.DataFrame, backbones: Sequence[str]) -> list[Claim]:
    """The claims ``names`` on each backbone; those that are not about comparisons of arms are left out."""
    judged = []
    for name in in_order(names):
        if (question := QUESTIONS.get(name)) is None:
            continue
        for backbone in backbones:
            rows = paired[paired["backbone"] == backbone]
            by_key = {(row["arm"], row["base"], row["metric"]): row for row in records(rows)}
            judged.append(claim(name, backbone, (question.decide or _all)(by_key, question), rows["seeds"]))
    return judged


def in_order(names: Iterable[str]) -> list[str]:
    """Ids of claims by their number."""
    return sorted(names, key=lambda name: int(name[1:]))


def claim(name: str, backbone: str, verdict: Verdict, seeds: Iterable[int]) -> Claim:
    """A claim with its verdict on a backbone, by comparisons with these numbers of seeds.

    A single seed anywhere is never a verdict on the method.
    """
    if verdict[0] not in ("undecided", "not tested", "measured") and min(seeds, default=2) < 2:
        verdict = no_verdict(verdict)
    return Claim(name, CLAIMS[name], backbone_name(backbone), *verdict)


def no_verdict(verdict: Verdict) -> Verdict:
    """What one seed leaves of a verdict."""
    word, reason = verdict
    return "undecided", f"{reason}; with one seed this is no verdict on the method (it would read: {word})"


def _all(rows: Rows, question: Question) -> Verdict:
    """Supported if every step is better by every metric (an intersection: no correction between them), partly if most
    are and none is worse, contradicted if one is worse, equivalent if every step is."""
    missing = [step for step, (arm, base) in question.steps.items() if (arm, base, "mrr") not in rows]
    if missing:
        return "not tested", f"no trials to compare for: {joined(missing)}"
    verdicts: list[str] = []
    reasons = []
    for step, (arm, base) in question.steps.items():
        of_step = {metric: rows[arm, base, metric] for metric in question.metrics}
        verdicts += [str(row["verdict"]) for row in of_step.values()]
        by_metric = {metric: _with_part(row) for metric, row in of_step.items()}
        words = [f"{METRIC[metric].label} {verdict}" for metric, verdict in by_metric.items()]
        same = set(by_metric.values())
        reasons.append(f"{step}: {same.pop() if len(same) == 1 else joined(words)}")
    distinct = set(verdicts)
    if "worse" in distinct:
        verdict = "contradicted"
    elif distinct in ({"better"}, {EQUAL}):
        verdict = "supported" if distinct == {"better"} else EQUAL
    else:
        verdict = "partly supported" if verdicts.count("better") > len(verdicts) / 2 else "undecided"
    return verdict, "; ".join(reasons)


def _with_part(row: Mapping[str, Any]) -> str:
    """A verdict; of an undecided one, which part of the rule it meets alone."""
    part = alone(row)
    return f"{row['verdict']} ({part} alone)" if part else str(row["verdict"])


def _rank_against_hits(rows: Rows, question: Question) -> Verdict:
    """C6: an arm with a worse MR and better Hits@k than L1, which may happen; excluded where in every arm MR got better
    or every Hits@k worse."""
    steps = [step for step in question.steps.values() if (*step, "mr") in rows]
    if not steps:
        return "not tested", "no trials to compare with L1"
    shown, excluded, reasons = False, True, []
    for arm, base in steps:
        rank = rows[arm, base, "mr"]
        hits = {key: rows[arm, base, key]["verdict"] for key in HITS}
        better = [METRIC[key].label for key, verdict in hits.items() if verdict == "better"]
        shown |= rank["verdict"] == "worse" and bool(better)
        excluded &= rank["verdict"] == "better" or set(hits.values()) == {"worse"}
        change = number(rank["difference"], 1, signed=True)
        gained = f"{joined(better)} better" if better else "no Hits@k better"
        reasons.append(f"{arm_name(arm)}: MR {change} ({rank['verdict']}), {gained}".replace(" (", f"{NBSP}("))
    return ("supported" if shown else "not reproduced" if excluded else "undecided"), "; ".join(reasons)


def _top_ranks(rows: Rows, question: Question) -> Verdict:
    """C21: the language model's gain over L1 lies in Hits@1 and Hits@3.

    Supported if both are better, and by no smaller share than Hits@10. Contradicted if one of them is worse, or if
    Hits@10 or MR is better while both are shown to gain no more than the margin.
    """
    (step,) = question.steps.values()
    if (*step, "mr") not in rows:
        return "not tested", "no trials to compare with L1"
    by_metric = {metric: rows[*step, metric] for metric in question.metrics}
    words = {metric: str(row["verdict"]) for metric, row in by_metric.items()}
    reason = "; ".join(
        f"{METRIC[metric].label} {percent(row['relative'])} ({words[metric]})" for metric, row in by_metric.items()
    )
    top = {words["hits1"], words["hits3"]}
    if top == {"better"}:
        least = min(by_metric[key]["relative"] for key in ("hits1", "hits3"))
        return ("supported" if least >= by_metric["hits10"]["relative"] else "partly supported"), reason
    if "worse" in top or (top == {EQUAL} and "better" in (words["hits10"], words["mr"])):
        return "contradicted", reason
    return (EQUAL if {words[key] for key in HITS} == {EQUAL} else "undecided"), reason


def _tried(rows: Rows, question: Question) -> Verdict:
    """As `_all`, of the steps that were tried."""
    steps = {name: step for name, step in question.steps.items() if (*step, "mrr") in rows}
    return _all(rows, replace(question, steps=steps or question.steps))


def _some(rows: Rows, question: Question) -> Verdict:
    """C19: supported if one step is better (Holm's correction is over all of them), contradicted if every one is worse
    or equivalent. The reason ranks them."""
    tried = {name: rows[*step, "mrr"] for name, step in question.steps.items() if (*step, "mrr") in rows}
    if not tried:
        return "not tested", "no trials to compare with L1"
    words = {str(row["verdict"]) for row in tried.values()}
    ranked = sorted(tried.items(), key=lambda item: -item[1]["relative"])
    reason = "; ".join(f"{name} {percent(row['relative'])} ({row['verdict']})" for name, row in ranked)
    return ("supported" if "better" in words else "undecided" if "undecided" in words else "contradicted"), reason


#: students of equal bytes in study `bytes`: the narrow one, and those that have more dimensions of fewer bits
WIDTHS = (
    ("12-d of 32 bits", "46-d of 8 bits", "92-d of 4 bits", "184-d of 2 bits"),
    ("24-d of 32 bits", "94-d of 8 bits", "188-d of 4 bits", "376-d of 2 bits"),
)
#: what study `losses` tunes beside L1
LOSSES = ("DKD", "DIST", "LSKD", "CTKD", "RCE-KD", "L1+FitNet", "L1+RKD-D", "L1+RKD-A", "L1+L2", "L1+L3")
#: the claims that comparisons of arms decide
QUESTIONS = {
    "C1": Question(
        {
            "against L1 (BKD)": ("L1+L2+L3", "L1"),
            "against FitNet": ("L1+L2+L3", "L1+FitNet"),
            "against RKD-D": ("L1+L2+L3", "L1+RKD-D"),
            "against RKD-A": ("L1+L2+L3", "L1+RKD-A"),
        },
        ("mrr", *HITS),
        beside=("mr",),
    ),
    "C2": Question(
        {
            "L2 added to L1": ("L1+L2", "L1"),
            "L3 added to L1": ("L1+L3", "L1"),
            "all three against L1 + L2": ("L1+L2+L3", "L1+L2"),
            "all three against L1 + L3": ("L1+L2+L3", "L1+L3"),
        }
    ),
    # a first epoch with all losses that scores all entities may be what harms a single stage
    "C3": Question(
        {
            "two stages against one": ("switch after 1/2", "one stage"),
            "against one without an exact epoch": ("switch after 1/2", "one stage without an exact epoch"),
        },
        decide=_tried,
    ),
    "C4": Question({name: (name, "") for name in ("Huber keeps more than KL", "Huber keeps more than MSE")}),
    "C5": Question(
        {
            "full method against L1": ("L1+L2+L3", "L1"),
            "against shuffled vectors": ("L1+L2+L3", "shuffled vectors"),
            "against random vectors": ("L1+L2+L3", "random vectors"),
        }
    ),
    "C6": Question(
        {arm_name(arm): (arm, "L1") for arm in ("L1+L2", "L1+L3", "L1+L2+L3")},
        ("mr", *HITS),
        decide=_rank_against_hits,
    ),
    # a gain over L1 is none where distillation as a whole does harm
    "C13": Question(
        {"full method against L1": ("L1+L2+L3", "L1"), "against no distillation": ("L1+L2+L3", "none")},
    ),
    "C15": Question(
        {
            f"{kind}{wide} against {narrow}": (f"{kind}{wide}", f"{kind}{narrow}")
            for narrow, *wider in WIDTHS
            for kind in ("", "undistilled ")
            for wide in wider
        },
        decide=_tried,
    ),
    "C16": Question(
        {"born-again teacher against one": ("born again", "L1"), "ensemble against one": ("ensemble", "L1")}
    ),
    "C17": Question(
        {
            "against L1": ("neighbourhood", "L1"),
            "against L1 trained twice as long": ("neighbourhood", "L1 for 32 epochs"),
            "against labels as texts": ("neighbourhood", "sentence encoder"),
            "against static vectors of the same texts": ("neighbourhood", "static neighbourhood"),
        }
    ),
    "C18": Question(
        {
            "gaps in the teacher": ("teacher with gaps", "L1"),
            "gaps in the student": ("student with gaps", "L1"),
            "gaps in both against the teacher alone": ("both with gaps", "teacher with gaps"),
            "gaps in an undistilled student": ("undistilled with gaps", "none"),
        }
    ),
    "C19": Question({arm_name(arm): (arm, "L1") for arm in LOSSES}, decide=_some),
    "C21": Question({"full method against L1": ("L1+L2+L3", "L1")}, (*HITS, "mr"), decide=_top_ranks),
}
