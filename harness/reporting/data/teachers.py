"""Whether a teacher is good enough to learn from."""

from __future__ import annotations

from typing import Any

import pandas as pd

from harness.reporting.data.frames import records, where
from harness.reporting.data.text import number
from harness.vocabulary import joined


def weak_teacher(trials: pd.DataFrame, backbone: str) -> str | None:
    """A warning where an undistilled student is at least as good as the structural teacher in test MRR, else None.

    Args:
        trials: of a study; beside the columns of every study ``losses`` and ``dim`` where there are any.
        backbone: of the students.
    """
    done = where(trials, backbone=backbone, state="complete")
    done = done[done["test_mrr"].notna()]
    done = done.assign(losses=done.get("losses", done["arm"]), dim=done.get("dim", pd.Series(index=done.index)))
    means = done.groupby(["losses", "arm", "dim"], dropna=False, sort=False)["test_mrr"].mean().reset_index()
    teachers, students = records(where(means, losses="teacher")), records(where(means, losses="none"))
    if not teachers:
        return None
    teacher = max(teachers, key=lambda row: float(row["test_mrr"]))
    better = sorted((row for row in students if row["test_mrr"] >= teacher["test_mrr"]), key=lambda row: row["dim"])
    if not better:
        return None
    (mrr, size), (least, small) = ((number(row["test_mrr"], 4), _size(row)) for row in (teacher, better[0]))
    dims = [f"{row['dim']:g}" for row in better if pd.notna(row["dim"])]
    to_whom = f" students of {joined(list(dict.fromkeys(dims)))} dimensions" if len(students) > 1 and dims else ""
    warning = f"The teacher ({mrr}{size}) is not better than the undistilled student ({least}{small}): "
    return f"{warning}distillation from it cannot be expected to help{to_whom}."


def _size(row: dict[str, Any]) -> str:
    return "" if pd.isna(row["dim"]) else f", {row['dim']:g}-d"
