"""Display tables of a report on costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from harness.reporting.data.frames import records
from harness.reporting.data.text import duration, number, percent
from harness.reporting.output.tables import Cell, Column, Row, Table, ends, table_of
from harness.vocabulary import METRICS, REFERENCES, STAGES, arm_name, ordered, stage_name

WAYS = {
    "loop": "online teachers, all entities",
    "stored, all entities": "stored, all entities",
    "stored": "stored, sampled entities, as in trials",
}
ALONE = {"loop": "none; all entities", "stored": "none; sampled entities"}
MODELS = {"llm-teacher": "LLM teacher, encodings stored", "language model": "language model, one query's text"}

STAGES_NOTE = (
    "Seconds: mean of the trials, one thread each, as many at a time as workers. Small print: most memory (MiB) "
    "that a separate process held after that stage, interpreter, libraries and data included; one seed."
)
BATCHES_NOTE = (
    "Student: stages 1 and 2 with their validations. All pass over the facts as often, so larger batches make "
    "fewer updates. ±: half of the 95 % interval over seeds († one seed: over test facts)."
)
LOOP_NOTE = (
    "Both stages of a student, alone on the machine, one thread. Online: both teachers and the student score "
    "all entities in every step, in plain tensor operations. Storing: once for all students, not in the seconds. "
    "Ratio: to the same student trained from what is stored. Extrapolated: from steps of each stage, measured in "
    "turns. MiB: the most that a process held in the last stage."
)
INFERENCE_NOTE = (
    "Medians of turns in which all models take part, in small print the quartiles; one thread of the processor. A "
    "query is answered when all entities have their scores; for the language model, when the text of its subject "
    "and relation is encoded. Ratio: to the undistilled student in the same turn, with 95 % interval."
)
EXPORT_NOTE = (
    "Test metrics of the student loaded back from its file, one seed, same protocol. int8: tables of vectors with "
    "a byte a number and a scale a row; ONNX or torch.export: one graph that scores all entities, vectors included."
)
AMORTISED_NOTE = (
    "Shared: structural teacher, language model, and storing their outputs. Ratio: of all stages for one student "
    "to the teacher alone. To amortise: students from which on one of them, with its part of what is shared, "
    "takes no longer than training a teacher."
)


def stages_table(costs: pd.DataFrame, memory: pd.DataFrame, names: dict[str, str]) -> Table:
    """Time of each stage by arm, and its most memory, of one backbone.

    ``names``: the arm (losses) of each label of ``costs`` (`costs_by_stage`) that is shown, in order.
    """
    spent = {(row["arm"], row["stage"]): row["seconds"] for row in records(costs) if row["arm"] in names}
    by_arm = {(row["arm"], row["stage"]): row["peak_mib"] for row in records(memory)}
    peaks = {(label, stage): by_arm.get((names[label], stage), math.nan) for label, stage in spent}
    rows = []
    for stage in ordered((stage for _, stage in spent), STAGES):
        cells = [Cell(stage_name(stage))]
        for key in ((label, stage) for label in names):
            small = number(peaks[key], 0) if key in peaks and not math.isnan(peaks[key]) else ""
            cells.append(Cell(duration(spent.get(key, math.nan)), small))
        rows.append(Row(tuple(cells)))
    totals, most = [Cell("from nothing", strong=True)], [Cell("most memory, MiB")]
    for label in names:
        totals.append(Cell(duration(sum(value for (of, _), value in spent.items() if of == label)), strong=True))
        known = [peak for (of, _), peak in peaks.items() if of == label and not math.isnan(peak)]
        most.append(Cell(number(max(known, default=math.nan), 0)))
    rows += [Row(tuple(totals), rule=True), Row(tuple(most))]
    header = ("", *map(arm_name, names.values()))
    return Table("Time and memory of each stage", header, "l" + "r" * len(names), tuple(rows), STAGES_NOTE)


ARM: Column = ("", "l", lambda row: arm_name(row["arm"]))


def _by_arm(row: dict[str, Any]) -> str:
    return str(row["arm"])


def batches_table(training: pd.DataFrame) -> Table:
    """Students by arm and batch size: seconds, memory, MRR; of one backbone."""

    def student(row: dict[str, Any]) -> Cell:
        half = (row["student_seconds_high"] - row["student_seconds_low"]) / 2
        return Cell(duration(row["student_seconds"]), f"±{duration(half)}" if row["seeds"] > 1 else "")

    def mrr(row: dict[str, Any]) -> Cell:
        half = number((row["mrr_high"] - row["mrr_low"]) / 2, 4)
        return Cell(number(row["mrr"], 4), f"±{half}{'' if row['seeds'] > 1 else ' †'}")

    columns: list[Column] = [
        ARM,
        ("queries a step", "r", lambda row: number(row["batch_size"], 0)),
        ("student", "r", student),
        ("with teachers", "r", lambda row: duration(row["seconds"])),
        ("student, MiB", "r", lambda row: number(row["student_mib"], 0)),
        ("test MRR", "r", mrr),
    ]
    lines = records(training[~training["arm"].isin(REFERENCES)])
    return table_of("Students by batch size", lines, columns, BATCHES_NOTE, group=_by_arm, once=True)


def loop_table(loops: pd.DataFrame) -> Table:
    """Online teachers beside cached targets; of one backbone."""

    def way(row: dict[str, Any]) -> str:
        return str((WAYS if row["arm"] != "none" else ALONE).get(row["way"], row["way"]))

    def difference(row: dict[str, Any]) -> Cell:
        known = not math.isnan(row["difference_low"])
        return Cell(number(row["difference"], 4, signed=True), ends(row, "difference", 4) if known else "")

    columns: list[Column] = [
        ARM,
        ("teachers", "l", way),
        ("seconds", "r", lambda row: Cell(duration(row["seconds"]), "" if row["trained"] else "extrapolated")),
        ("storing", "r", lambda row: duration(row["storing_seconds"]) if row["storing_seconds"] else "–"),
        ("ratio", "r", lambda row: number(row["ratio"], 1 if row["ratio"] >= 10 else 2)),
        ("MiB", "r", lambda row: number(row["peak_mib"], 0)),
        ("test MRR", "r", lambda row: number(row["mrr"], 4)),
        ("stored − this", "r", difference),
    ]
    caption = "Online teachers, and cached targets"
    return table_of(caption, records(loops), columns, LOOP_NOTE, group=_by_arm, once=True)


def inference_table(inference: pd.DataFrame) -> Table:
    """Latency, throughput and size of each model; of one backbone."""

    def model(row: dict[str, Any]) -> str:
        name = str(row["model"])
        return MODELS.get(name) or (arm_name(name) if name in REFERENCES else f"student, {arm_name(name)}")

    def latency(row: dict[str, Any]) -> Cell:
        middle = number(row["latency_ms"], 2 if row["latency_ms"] < 100 else 0)
        return Cell(middle, f"{number(row['latency_ms_low'], 2)}–{number(row['latency_ms_high'], 2)}")

    def ratio(row: dict[str, Any]) -> Cell:
        if row["model"] == "none" or math.isnan(row["ratio"]):
            return Cell("–")
        decimals = 3 if row["ratio"] < 10 else 1
        return Cell(number(row["ratio"], decimals), ends(row, "ratio", decimals))

    columns: list[Column] = [
        ("", "l", model),
        ("parameters", "r", lambda row: number(row["parameters"], 0)),
        ("MB", "r", lambda row: number(row["size_mb"], 2 if row["size_mb"] < 100 else 0)),
        ("one query, ms", "r", latency),
        ("ratio of latencies", "r", ratio),
        ("queries/s, in batches", "r", lambda row: number(row["queries_per_second"], 0)),
    ]

    def group(row: dict[str, Any]) -> int:
        return 2 if row["model"] == "language model" else int(row["model"] in REFERENCES)

    return table_of("Inference", records(inference), columns, INFERENCE_NOTE, group=group)


def export_table(exports: pd.DataFrame) -> Table:
    """The student in each format: size and metrics; of one backbone."""

    def form(row: dict[str, Any]) -> Cell:
        return Cell(row["format"], f"failed: {row['reason'][:60]}" if row["reason"] else "")

    columns: list[Column] = [
        ("", "l", form),
        ("MB", "r", lambda row: number(row["size_mb"], 2)),
        *((m.label, "r", lambda row, m=m: number(row[m.key], 1 if m.key == "mr" else m.decimals)) for m in METRICS),
        ("ranks moved", "r", lambda row: "–" if math.isnan(row["moved"]) else percent(row["moved"], signed=False)),
        ("by at most", "r", lambda row: number(row["largest"], 1)),
    ]
    lines = [row | {"reason": row["reason"] if isinstance(row["reason"], str) else ""} for row in records(exports)]
    note = EXPORT_NOTE
    if "torch.export" in set(exports["format"]):
        note += " torch.export is in the place of ONNX, whose packages are not installed."
    return table_of("The student exported", lines, columns, note)


def amortised_table(amortised: pd.DataFrame) -> Table:
    """What all stages cost against training the teacher alone; of one backbone."""
    columns: list[Column] = [
        ARM,
        ("teacher alone", "r", lambda row: duration(row["teacher_seconds"])),
        ("shared by all students", "r", lambda row: duration(row["shared_seconds"])),
        ("one student", "r", lambda row: duration(row["student_seconds"])),
        ("all for one, ratio", "r", lambda row: number(row["ratio"], 2)),
        (
            "students to amortise",
            "r",
            lambda row: "never" if math.isnan(row["students"]) else number(row["students"], 0),
        ),
    ]
    caption = "All stages against training the teacher alone"
    return table_of(caption, records(amortised), columns, AMORTISED_NOTE)


def failed_table(failed: Sequence[tuple[str, str]]) -> Table:
    """Measurements that failed, with the reason."""
    columns: list[Column] = [("measurement", "l", lambda pair: pair[0]), ("reason", "l", lambda pair: pair[1])]
    note = "The next start of the study tries them again."
    return table_of("Measurements that failed", failed, columns, note)


def energy_sentence(memory: pd.DataFrame, arm: str, reason: str) -> str:
    """What energy each stage of an arm took, or why that is not known; "" where no stage was measured."""
    rows = memory[(memory["arm"] == arm) & memory["stage"].isin(STAGES)]
    if rows.empty:
        return ""
    if reason:
        return f"Energy: not measured ({reason})."
    known = rows.dropna(subset=["energy_wh"]).set_index("stage")["energy_wh"]
    readings = [f"{stage_name(stage)} {number(float(known[stage]), 2)}" for stage in ordered(known.index, STAGES)]
    return f"Energy that codecarbon read, Wh ({arm_name(arm)}): {', '.join(readings)}."
