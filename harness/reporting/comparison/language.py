"""What the language model is good for by the way it is read: as a teacher, to its student, and at which cost."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from harness.reporting.data.frames import records, where
from harness.reporting.data.results import Results
from harness.reporting.data.text import duration, number
from harness.reporting.output.tables import Column, Table, difference_cell, mean_cell, table_of, verdict_cell
from harness.vocabulary import METRIC, arm_name

#: the row of a language model that teaches alone, and the losses that it teaches students with
_TEACHER, _LOSSES = "llm-teacher", {"L2", "L3"}
_COLUMNS = ["backbone", "arm", "mean", "low", "high", "metric", "n", "student", "difference", "difference_low",
            "difference_high", "verdict", "seconds", "peak_mib"]  # fmt: skip


def ways(results: Results, averages: pd.DataFrame, compared: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """A row for each row of the LLM teacher, of any variant; none where there is one way alone.

    Columns: backbone, arm, mean, low and high (test MRR, see `means`), n; student, the first arm that learns from it
    and is compared with L1, "" if there is none, and its difference to L1 in MRR as in `paired`; seconds (fine-tuning,
    encoding and f_LLM, from nothing) and peak_mib of the teacher (NaN: always taken from the cache).
    """
    done = where(results.trials, state="complete")
    if not {"losses", "spec"} <= set(done):
        return pd.DataFrame(columns=_COLUMNS)
    read = {(row["backbone"], row["arm"]): (str(row["losses"]), _read(row["spec"])) for row in records(done)}
    gains = {(row["backbone"], row["arm"]): row for row in records(where(compared, base="L1", metric="mrr"))}
    rows = []
    for row in records(where(averages, metric="mrr")):
        losses, way = read[row["backbone"], row["arm"]]
        if losses != _TEACHER:
            continue
        student = _student(row["backbone"], way, read, gains)
        gain = gains.get((row["backbone"], student), dict.fromkeys(_COLUMNS[8:11], math.nan) | {"verdict": ""})
        of_stages = where(costs, backbone=row["backbone"], arm=row["arm"])
        total = {"seconds": float(of_stages["seconds"].sum()), "peak_mib": float(of_stages["peak_mib"].max())}
        rows.append(row | {name: gain[name] for name in _COLUMNS[8:12]} | {"student": student} | total)
    table = pd.DataFrame(rows, columns=_COLUMNS)
    return table[table.groupby("backbone")["arm"].transform("size") > 1]


def _read(spec: object) -> dict[str, Any]:
    """What identifies an LLM teacher in the settings of a trial."""
    settings = json.loads(str(spec))
    return {name: settings.get(name) for name in ("llm", "semantic")}


def _student(
    backbone: str, way: dict[str, Any], read: dict[tuple[str, str], tuple[str, dict[str, Any]]], arms: Iterable[Any]
) -> str:
    for name, arm in arms:
        losses, of_arm = read.get((name, arm), ("", {}))
        if name == backbone and of_arm == way and _LOSSES & set(losses.split("+")):
            return str(arm)
    return ""


def ways_table(ways: pd.DataFrame, backbone: str) -> Table:
    """The ways of one backbone: MRR of the teacher, gain of the student, minutes and memory."""
    columns: list[Column] = [
        ("teacher", "l", lambda row: arm_name(row["arm"])),
        (f"{METRIC['mrr'].label}, alone", "r", mean_cell),
        ("student", "l", lambda row: arm_name(row["student"]) if row["student"] else "–"),
        ("Δ MRR to L1", "r", difference_cell),
        ("verdict", "l", verdict_cell),
        ("time", "r", lambda row: duration(row["seconds"])),
        ("memory (MiB)", "r", lambda row: number(row["peak_mib"], 0)),
    ]
    note = "Time: fine-tuning, encoding and f_LLM, from nothing, on one core. Memory: the largest of these stages."
    lines = records(where(ways, backbone=backbone))
    return table_of("The language model by the way it is read", lines, columns, note)
