"""C20: where distillation harms, and what foretells it, over the cases of all studies."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from harness.reporting.claims import Verdict, claim
from harness.reporting.data.frames import records, where
from harness.reporting.data.layout import Layout
from harness.reporting.data.results import EQUAL, INSIDE, Frames, Results, comparison_row, decided, decisions, with_role
from harness.reporting.data.text import interval, number, p_equals, percent
from harness.reporting.evidence import Evidence
from harness.reporting.output.figures import figure, signed_ticks
from harness.reporting.output.tables import Cell, Column, table_of, verdict_cell
from harness.reporting.sensitivity.points import has_several
from harness.stats import holm
from harness.vocabulary import GRAY, LEVELS, MORE_COLORS, backbone_name, dataset_name

#: in place of a data set and of a backbone, where all count together
ALL = "all"
#: how many cases a rank correlation takes
FEWEST = 8
#: what may foretell where distillation harms, known before a student is distilled: columns of `cases`
PROPERTIES = {
    "ahead": "how far the teacher is ahead of the undistilled student",
    "teacher": "the teacher's validation MRR",
    "undistilled": "the undistilled student's validation MRR",
    "bytes": "bytes of an entity in the student",
    "density": "training facts an entity",
}
LAYOUT = Layout(
    name=ALL,
    title="Where distillation harms",
    about=(
        "Every student that some study trained both with L1 and undistilled: one case for each data set, backbone, "
        "size and teacher, with two seeds or more. The gain is that of L1 in test MRR, with Holm's correction over all "
        "cases. What may foretell it is known beforehand: validation MRR and counts."
    ),
    claims=("C20",),
)


def cases(frames: Frames) -> pd.DataFrame:
    """The undistilled students of a study beside the same students with L1; no rows without any.

    Columns: study, dataset, backbone, dim, bits, gaps and of (settings of the teacher), which together name a case;
    teacher, undistilled (validation MRR, means over seeds; NaN without), ahead (teacher / undistilled - 1), bytes (of
    an entity), density (training facts an entity); seeds, and what `decided` needs of the difference of test MRR, L1
    minus undistilled.

    Raises:
        UserError: the frames do not pass their checks.
    """
    trials = frames.trials
    if "losses" not in trials:
        return pd.DataFrame()
    wanted = trials["losses"].isin(["none", "L1", "teacher"]) & ~with_role(trials, *INSIDE)
    wanted &= trials["state"] == "complete"
    if not (trials["losses"][wanted] == "none").any():
        return pd.DataFrame()
    results = Results.load(trials[wanted], frames.load_ranks, frames.layout)
    rows = []
    for backbone in results.backbones:
        of_backbone = where(results.trials, backbone=backbone)
        losses = dict(zip(of_backbone["arm"], of_backbone["losses"], strict=True))
        teachers = {_part(row, "teacher"): row["arm"] for row in records(where(of_backbone, losses="teacher"))}
        for arm, base in _pairs(frames.layout, losses):
            seeds = results.common_seeds(backbone, arm, base)
            if not seeds:
                continue
            first, second = (results.by_fact(backbone, name, seeds) for name in (arm, base))
            trial = records(where(of_backbone, arm=arm))[0]
            valid = of_backbone.groupby("arm")["valid_mrr"].mean()
            taught, plain = valid.get(teachers.get(_part(trial, "teacher"), ""), math.nan), valid[base]
            student, counts = json.loads(trial["spec"])["student"], frames.meta.data
            rows.append(
                {"study": frames.layout.name, "dataset": str(trial["dataset"]), "backbone": backbone}
                | {"dim": int(trial["dim"]), "bits": str(student.get("bits", 32)), "gaps": bool(student.get("gaps"))}
                | {"of": _part(trial, "teacher"), "teacher": taught, "undistilled": plain, "ahead": taught / plain - 1}
                | {"bytes": float(trial.get("bytes_entity", 4 * trial["dim"]))}
                | {"density": counts.get("training facts", math.nan) / counts.get("entities", math.nan)}
                | {"metric": "mrr", "seeds": len(seeds)}
                | comparison_row(results.compared(backbone, arm, base, seeds)[0])
                | decisions(results, backbone, first - second, second.mean(axis=(0, 1)), seeds)[0]
            )
    return pd.DataFrame(rows)


def _part(trial: dict[str, Any], name: str) -> str:
    return json.dumps(json.loads(trial["spec"])[name], sort_keys=True)


def _pairs(layout: Layout, losses: dict[str, str]) -> Sequence[tuple[str, str]]:
    """Labels of arms with L1 and undistilled ones that the study compares, at the same levels of its factors."""
    pairs = []
    for label in losses:
        arm, separator, levels = label.partition(LEVELS)
        for base in (base for base, arms in layout.compare.items() if arm in arms):
            # a factor may act in one of them alone
            other = next((n for n in (base + separator + levels, base) if n in losses), None)
            if other is not None and (losses[label], losses[other]) == ("L1", "none"):
                pairs.append((label, other))
    return pairs


def together(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The cases of all studies with two seeds or more, with their verdicts; of equal ones that with most seeds."""
    filled = [several for part in parts if len(part) and len(several := part[part["seeds"] > 1])]
    if not filled:
        return pd.DataFrame()
    frame = pd.concat(filled, ignore_index=True).sort_values("seeds", ascending=False, kind="stable")
    frame = frame.drop_duplicates(["dataset", "backbone", "dim", "bits", "gaps", "of"])
    return decided(frame.sort_values("relative", kind="stable", ignore_index=True), ["metric"])


def foretold(cases: pd.DataFrame) -> pd.DataFrame:
    """How each property goes with the gain: Spearman's rank correlation over cases, with Holm's correction.

    Columns: property, rho, p_holm, cases. Cases that share data or a teacher are not independent: it describes.
    """
    from scipy.stats import spearmanr  # takes half a second to import

    rows = []
    for name in PROPERTIES:
        known = cases[cases[name].notna()]
        if len(known) >= FEWEST and has_several(known[name]):
            rho, p = spearmanr(known[name], known["relative"])
            rows.append({"property": name, "rho": float(rho), "p": float(p), "cases": len(known)})
    frame = pd.DataFrame(rows, columns=["property", "rho", "p", "cases"])
    return frame.assign(p_holm=holm(frame["p"].to_numpy(dtype=float)) if len(frame) else frame["p"])


def judge(cases: pd.DataFrame, margin: float) -> Verdict:
    """C20: distillation harms where the undistilled student is as good as its teacher, or within the margin.

    Of the cases whose verdict is decided. Supported if this rule foretells most cases that are worse, and most cases
    that it foretells are worse; contradicted if it foretells half of the worse ones at most; undecided where none is.
    """
    known = cases[cases["ahead"].notna()] if len(cases) else cases
    if known.empty:
        return "not tested", "no study has undistilled students, L1 and their teacher"
    worse, better = (known[known["verdict"] == word] for word in ("worse", "better"))
    hits, alarms = (int((part["ahead"] <= margin).sum()) for part in (worse, better))
    equal = int((known["verdict"] == EQUAL).sum())
    reason = f"of {len(known)} cases {len(worse)} are worse with L1, {len(better)} better and {equal} equivalent; the "
    near = percent(margin, signed=False)
    reason += f"undistilled student is as good as its teacher, or within {near}, in {hits} of the worse and {alarms} "
    reason += "of the better ones"
    if len(worse) and len(better):
        ranges = [f"{percent(part['ahead'].min())} to {percent(part['ahead'].max())}" for part in (worse, better)]
        reason += f"; the teacher is ahead by {ranges[0]} in the worse, by {ranges[1]} in the better ones"
    for row in records(foretold(known).sort_values("rho", key=abs, ascending=False).head(1)):
        rho = f"{number(row['rho'], 2, signed=True)}, {p_equals(row['p_holm'])}"
        reason += f"; the gain correlates most with {PROPERTIES[row['property']]} (rank correlation {rho})"
    if worse.empty:
        return "undecided", reason
    if 2 * hits <= len(worse):
        return "contradicted", reason
    return ("supported" if alarms < hits else "undecided"), reason


def evidence(parts: Sequence[pd.DataFrame]) -> Evidence | None:
    """The evidence of all studies on C20; None where no study has a case."""
    every = together(parts)
    if every.empty:
        return None
    columns: list[Column] = [
        ("data", "l", lambda row: dataset_name(row["dataset"])),
        ("student", "l", lambda row: backbone_name(row["backbone"])),
        ("dim", "r", lambda row: Cell(str(row["dim"]), "" if row["bits"] == "32" else f"{row['bits']} bits")),
        ("study", "l", lambda row: row["study"]),
        ("teacher", "r", lambda row: number(row["teacher"], 4)),
        ("undistilled", "r", lambda row: number(row["undistilled"], 4)),
        ("ahead", "r", lambda row: "–" if math.isnan(row["ahead"]) else percent(row["ahead"])),
        ("gain of L1", "r", lambda row: Cell(percent(row["relative"]), _ends(row))),
        ("n", "r", lambda row: str(row["seeds"])),
        ("verdict", "l", verdict_cell),
    ]
    note = "Teacher and undistilled student: validation MRR; ahead: how far the teacher is. Gain: of test MRR, with "
    note += "its 95 % interval over seeds and facts; verdicts after Holm's correction over all cases. Rank "
    note += "correlations with the gain: "
    note += "; ".join(
        f"{PROPERTIES[row['property']]} {number(row['rho'], 2, signed=True)} ({p_equals(row['p_holm'])})"
        for row in records(foretold(every))
    )
    return Evidence(
        verdicts=[claim("C20", ALL, judge(every, LAYOUT.margin), [int(n) for n in every["seeds"]])],
        table=table_of("Cases by the gain of L1", records(every), columns, f"{note}."),
        numbers=every,
        figures={"": partial(draw, every)},
        trials=pd.DataFrame({"started": []}),
        marks="Gain of L1 against how far the teacher is ahead of the undistilled student. Filled: decided.",
    )


def _ends(row: dict[str, Any]) -> str:
    return interval(100 * row["relative_low"], 100 * row["relative_high"], 1)


def draw(cases: pd.DataFrame, path: Path) -> bool:
    """The gain of L1 against how far the teacher is ahead, in percent, a colour a data set; False: nothing to draw."""
    known = cases[cases["ahead"].notna()]
    if known.empty:
        return False
    with figure(path, 2.8) as (axes,):
        for color, (dataset, rows) in zip(MORE_COLORS, known.groupby("dataset", sort=True), strict=False):
            for row in records(rows):
                x, gain, ends = (100 * row["ahead"], 100 * row["relative"], (row["relative_low"], row["relative_high"]))
                face = "white" if row["verdict"] == "undecided" else color
                axes.plot([x, x], [100 * end for end in ends], color=color, linewidth=1.2)
                axes.plot(x, gain, "o", color=color, markerfacecolor=face, markersize=4.5)
            axes.plot([], [], "o", color=color, label=dataset_name(str(dataset)))
        axes.axhline(0, color=GRAY, linewidth=0.8, zorder=0)
        axes.axvline(0, color=GRAY, linewidth=0.8, zorder=0)
        signed_ticks(axes.yaxis)
        signed_ticks(axes.xaxis)
        axes.set_xlabel("teacher ahead of the undistilled student, %")
        axes.set_ylabel("gain of L1, %")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
    return True
