"""The claims C11, C12 and C14 by the numbers of a study on costs: a verdict with its reason."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from harness.reporting.claims import Claim, Verdict, in_order
from harness.reporting.cost.numbers import Numbers, keyed
from harness.reporting.data.frames import rows_of, where
from harness.reporting.data.text import NBSP, duration, interval, number, percent
from harness.vocabulary import CLAIMS, arm_name, backbone_name, student_arms

#: latencies whose ratio lies within 1 ± this, with its 95 % interval, are equal within noise
NOISE = 0.1
#: a student whose MRR is lower by no more than this share of the other's has equal quality
MARGIN = 0.02


def judge(names: Sequence[str], costs: Numbers, backbones: Sequence[str]) -> list[Claim]:
    """The claims ``names`` on each backbone; those that are not about costs are left out."""
    judges = {"C11": _inference_is_free, "C12": _storing_saves, "C14": _total}
    return [
        Claim(name, CLAIMS[name], backbone_name(backbone), *judges[name](costs, backbone))
        for name in in_order(names)
        if name in judges
        for backbone in backbones
    ]


def summary(costs: Numbers, backbone: str) -> list[str]:
    """What distillation costs on a backbone, in sentences: training, inference, and what storing saves."""
    students = _students(costs, backbone)
    arm = _fullest(students)
    if arm is None or "none" not in students:
        return []
    full, plain = students[arm], students["none"]
    words = f"{backbone_name(backbone)}: a student with {arm_name(arm)} takes {duration(full['seconds'])} to train, "
    words += f"teachers included, {_times(full['seconds'] / plain['seconds'])} the {duration(plain['seconds'])} "
    words += "without distillation; "
    words += f"{duration(full['student_seconds'])} of it are the student's own stages."
    models = keyed(where(costs.inference, backbone=backbone), "model")
    if {"none", arm} <= models.keys():
        latency = models[arm]
        words += f" It answers a query in {number(latency['latency_ms'], 2)}{NBSP}ms, "
        words += f"{number(latency['ratio'], 3)} times the undistilled student "
        words += f"(95{NBSP}% interval {interval(latency['ratio_low'], latency['ratio_high'], 3)})."
    return [words]


def _students(costs: Numbers, backbone: str) -> dict[str, dict[str, Any]]:
    """The rows of the students of the reference batch size by arm."""
    by_arm = keyed(costs.at_size(backbone), "arm")
    return {arm: by_arm[arm] for arm in student_arms(by_arm)}


def _fullest(students: dict[str, dict[str, Any]]) -> str | None:
    """The last distilled arm."""
    return next((arm for arm in reversed(students) if arm != "none"), None)


def _inference_is_free(costs: Numbers, backbone: str) -> Verdict:
    """C11: training costs more time and memory, and inference takes as long and as much room within noise."""
    students = _students(costs, backbone)
    arm = _fullest(students)
    if arm is None or "none" not in students:
        return "not tested", "no distilled and undistilled students to compare"
    full, plain = students[arm], students["none"]
    reason = f"training with {arm_name(arm)} takes {_times(full['seconds'] / plain['seconds'])} the time of training "
    reason += "without, teachers included (the student's own stages: "
    reason += f"{_times(full['student_seconds'] / plain['student_seconds'])})"
    dearer = [full["seconds"] > plain["seconds"]]
    if not math.isnan(full["peak_mib"]) and not math.isnan(plain["peak_mib"]):
        dearer.append(full["peak_mib"] > plain["peak_mib"])
        reason += f", and {number(full['peak_mib'], 0)} instead of {number(plain['peak_mib'], 0)}{NBSP}MiB"
    models = keyed(where(costs.inference, backbone=backbone), "model")
    if not {"none", arm} <= models.keys():
        return "not tested", f"{reason}; inference was not measured"
    distilled = models[arm]
    same_size = distilled["size_mb"] == models["none"]["size_mb"]
    low, high = distilled["ratio_low"], distilled["ratio_high"]
    sizes = f"both have {number(distilled['size_mb'], 2)}{NBSP}MB" if same_size else "their sizes differ"
    reason += f"; at inference {sizes}, and the ratio of their latencies is "
    reason += f"{number(distilled['ratio'], 3)} {interval(low, high, 3)}"
    if not same_size or low > 1 + NOISE or high < 1 - NOISE or not any(dearer):
        return "contradicted", reason
    return ("supported" if all(dearer) and low > 1 - NOISE and high < 1 + NOISE else "undecided"), reason


def _storing_saves(costs: Numbers, backbone: str) -> Verdict:
    """C12: of the time that distillation adds with online teachers, storing saves most; MRR is not lower."""
    by_way = {(row["arm"], row["way"]): row for row in rows_of(costs.loops, backbone=backbone)}
    arm = next((arm for arm, way in by_way if arm != "none" and way == "loop"), None)
    if arm is None:
        return "not tested", "students with online teachers were not measured"
    loop, stored = by_way[arm, "loop"], by_way[arm, "stored"]
    added = loop["seconds"] - by_way["none", "loop"]["seconds"]
    left = stored["seconds"] + stored["storing_seconds"] - by_way["none", "stored"]["seconds"]
    reason = f"with online teachers a student takes {_times(loop['ratio'])} the time"
    reason += "" if loop["trained"] else " (extrapolated from steps)"
    if added <= 0:
        return "undecided", f"{reason}, but no more than without teachers"
    share = 1 - left / added
    reason += f"; of what distillation adds, storing saves {percent(share, signed=False)}, the storing itself counted"
    if share < 0.5:
        return "contradicted", reason
    if not loop["trained"]:
        return "undecided", f"{reason}; quality was not compared, since no student was trained that way to its end"
    margin = MARGIN * loop["mrr"]
    reason += f"; from what is stored MRR is {number(loop['difference'], 4, signed=True)}"
    if loop["seeds"] < 2:
        return "undecided", f"{reason} apart, with one seed, which is no verdict on the method"
    low, high = loop["difference_low"], loop["difference_high"]
    reason += f" {interval(low, high, 4)} apart, and less than {number(-margin, 4)} would count as lower"
    return ("supported" if low > -margin else "contradicted" if high < -margin else "undecided"), reason


def _total(costs: Numbers, backbone: str) -> Verdict:
    """C14 is a question: its answer is a ratio."""
    arm = _fullest(_students(costs, backbone))
    by_arm = keyed(where(costs.amortised, backbone=backbone), "arm")
    if arm is None or arm not in by_arm:
        return "not tested", "no teacher and distilled student to compare"
    row = by_arm[arm]
    total = duration(row["shared_seconds"] + row["student_seconds"])
    reason = f"all of it for one student takes {total}, {_times(row['ratio'])} the {duration(row['teacher_seconds'])} "
    reason += f"of the teacher alone; a further student takes {duration(row['student_seconds'])}, "
    if math.isnan(row["students"]):
        return "measured", reason + "no less than another teacher, so that no number of students makes up for the rest"
    enough = number(row["students"], 0)
    return "measured", f"{reason}so that from {enough} students on each costs less than training a teacher would"


def _times(ratio: float) -> str:
    return f"{number(ratio, 2 if ratio < 10 else 1)}{NBSP}times"
