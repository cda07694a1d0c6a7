"""Display tables of a report on costs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from harness.reporting.data.frames import records
from harness.reporting.data.text import duration, interval, number, percent
from harness.reporting.output.tables import Cell, Row, Table
from harness.vocabulary import METRICS, REFERENCES, STAGES, arm_name, ordered, stage_name

WAYS = {
    "loop": "in the loop, all entities",
    "stored, all entities": "stored, all entities",
    "stored": "stored, sampled entities, as trials train",
}
MODELS = {"llm-teacher": "LLM teacher, encodings stored", "language model": "language model, one query's text"}

STAGES_NOTE = (
    "Seconds: mean of the trials, one thread each, as many at a time as workers. Small print: most memory (MiB) "
    "that a process of its own held after that stage, interpreter, libraries and data included; one seed."
)
BATCHES_NOTE = (
    "Student: stages 1 and 2 with their validations. All pass over the facts as often, so larger batches make "
    "fewer updates. ±: half of the 95 % interval over seeds († one seed: over test facts)."
)
LOOP_NOTE = (
    "Both stages of a student, alone on the machine, one thread. In the loop: both teachers and the student score "
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
    "Shared: structural teacher, language model, and storing what they say. Ratio: of all stages for one student "
    "to the teacher alone. To amortise: students from which on one of them, with its part of what is shared, "
    "takes no longer than training a teacher."
)


def stages_table(costs: pd.DataFrame, memory: pd.DataFrame, names: dict[str, str]) -> Table:
    """Time of each stage by arm, and its most memory.

    Args:
        costs: of one backbone, see `harness.reporting.data.results.costs_by_stage`.
        memory: see `harness.reporting.cost.numbers.memory`.
        names: the arm (losses) of each label of ``costs`` that is shown, in order.
    """
    spent = {(row["arm"], row["stage"]): row for row in records(costs) if row["arm"] in names}
    peaks = {(row["arm"], row["stage"]): row["peak_mib"] for row in records(memory)}
    rows = []
    for stage in ordered((stage for _, stage in spent), STAGES):
        cells = [Cell(stage_name(stage))]
        for label, arm in names.items():
            seconds = spent[label, stage]["seconds"] if (label, stage) in spent else math.nan
            peak = peaks.get((arm, stage), math.nan)
            cells.append(Cell(duration(seconds), "" if math.isnan(seconds) or math.isnan(peak) else number(peak, 0)))
        rows.append(Row(tuple(cells)))
    totals, most = [Cell("from nothing", strong=True)], [Cell("most memory, MiB")]
    for label, arm in names.items():
        totals.append(
            Cell(
                duration(sum(row["seconds"] for (label_of, _), row in spent.items() if label_of == label)), strong=True
            )
        )
        known = [peak for (label_of, stage), peak in peaks.items() if label_of == arm and (label, stage) in spent]
        most.append(Cell(number(max(known, default=math.nan), 0)))
    rows += [Row(tuple(totals), rule=True), Row(tuple(most))]
    header = ("", *(arm_name(arm) for arm in names.values()))
    return Table("Time and memory of each stage", header, "l" + "r" * len(names), tuple(rows), STAGES_NOTE)


def batches_table(training: pd.DataFrame) -> Table:
    """Students by arm and batch size: seconds, memory, MRR; of one backbone."""
    rows: list[Row] = []
    last = ""
    for row in records(training[~training["arm"].isin(REFERENCES)]):
        several = row["seeds"] > 1
        span = f"±{duration((row['student_seconds_high'] - row['student_seconds_low']) / 2)}" if several else ""
        half = number((row["mrr_high"] - row["mrr_low"]) / 2, 4)
        cells = (
            Cell(arm_name(row["arm"]) if row["arm"] != last else ""),
            Cell(number(row["batch_size"], 0)),
            Cell(duration(row["student_seconds"]), span),
            Cell(duration(row["seconds"])),
            Cell(number(row["student_mib"], 0)),
            Cell(number(row["mrr"], 4), f"±{half}{'' if several else ' †'}"),
        )
        rows.append(Row(cells, rule=bool(rows) and row["arm"] != last))
        last = row["arm"]
    header = ("", "queries a step", "student", "with teachers", "student, MiB", "test MRR")
    return Table("Students by batch size", header, "lrrrrr", tuple(rows), BATCHES_NOTE)


def loop_table(loops: pd.DataFrame) -> Table:
    """Teachers in the loop beside their stored outputs; of one backbone."""
    rows: list[Row] = []
    last = ""
    for row in records(loops):
        shown = "" if row["trained"] else "extrapolated"
        span = ""
        if not math.isnan(row["difference_low"]):
            span = interval(row["difference_low"], row["difference_high"], 4)
        way = WAYS.get(row["way"], row["way"]) if row["arm"] != "none" else _alone(row["way"])
        cells = (
            Cell(arm_name(row["arm"]) if row["arm"] != last else ""),
            Cell(way),
            Cell(duration(row["seconds"]), shown),
            Cell(duration(row["storing_seconds"]) if row["storing_seconds"] else "–"),
            Cell(number(row["ratio"], 1 if row["ratio"] >= 10 else 2)),
            Cell(number(row["peak_mib"], 0)),
            Cell(number(row["mrr"], 4)),
            Cell(number(row["difference"], 4, signed=True), span),
        )
        rows.append(Row(cells, rule=bool(rows) and row["arm"] != last))
        last = row["arm"]
    header = ("", "teachers", "seconds", "storing", "ratio", "MiB", "test MRR", "stored − this")
    return Table("Teachers in the loop, and their outputs stored", header, "llrrrrrr", tuple(rows), LOOP_NOTE)


def _alone(way: str) -> str:
    return {"loop": "none; all entities", "stored": "none; sampled entities"}.get(way, way)


def inference_table(inference: pd.DataFrame) -> Table:
    """Latency, throughput and size of each model; of one backbone."""
    rows = []
    for row in records(inference):
        latency = number(row["latency_ms"], 2 if row["latency_ms"] < 100 else 0)
        ratio, ends = "–", ""
        if row["model"] != "none" and not math.isnan(row["ratio"]):
            digits = 3 if row["ratio"] < 10 else 1
            ratio, ends = number(row["ratio"], digits), interval(row["ratio_low"], row["ratio_high"], digits)
        cells = (
            Cell(_model(row["model"])),
            Cell(number(row["parameters"], 0)),
            Cell(number(row["size_mb"], 2 if row["size_mb"] < 100 else 0)),
            Cell(latency, f"{number(row['latency_ms_low'], 2)}–{number(row['latency_ms_high'], 2)}"),
            Cell(ratio, ends),
            Cell(number(row["queries_per_second"], 0)),
        )
        rows.append(Row(cells, rule=row["model"] in ("teacher", "language model")))
    header = ("", "parameters", "MB", "one query, ms", "ratio of latencies", "queries/s, in batches")
    return Table("Inference", header, "lrrrrr", tuple(rows), INFERENCE_NOTE)


def _model(name: str) -> str:
    return MODELS.get(name) or (arm_name(name) if name in REFERENCES else f"student, {arm_name(name)}")


def export_table(exports: pd.DataFrame) -> Table:
    """The student in each format: size and metrics; of one backbone."""
    rows = []
    for row in records(exports):
        if isinstance(row["reason"], str) and row["reason"]:
            cells = [Cell(row["format"], f"failed: {row['reason'][:60]}")] + [Cell("–")] * (len(METRICS) + 3)
            rows.append(Row(tuple(cells)))
            continue
        metrics = [Cell(number(row[m.key], 1 if m.key == "mr" else m.decimals)) for m in METRICS]
        cells = [Cell(row["format"]), Cell(number(row["size_mb"], 2)), *metrics]
        cells += [Cell(percent(row["moved"], signed=False)), Cell(number(row["largest"], 1))]
        rows.append(Row(tuple(cells)))
    header = ("", "MB", *(measure.label for measure in METRICS), "ranks moved", "by at most")
    without = "torch.export" in set(exports["format"])
    note = (
        f"{EXPORT_NOTE} torch.export is in the place of ONNX, whose packages are not installed."
        if without
        else EXPORT_NOTE
    )
    return Table("The student exported", header, "l" + "r" * (len(METRICS) + 3), tuple(rows), note)


def amortised_table(amortised: pd.DataFrame) -> Table:
    """What all stages cost against training the teacher alone; of one backbone."""
    rows = [
        Row(
            (
                Cell(arm_name(row["arm"])),
                Cell(duration(row["teacher_seconds"])),
                Cell(duration(row["shared_seconds"])),
                Cell(duration(row["student_seconds"])),
                Cell(number(row["ratio"], 2)),
                Cell("never" if math.isnan(row["students"]) else number(row["students"], 0)),
            )
        )
        for row in records(amortised)
    ]
    header = (
        "",
        "teacher alone",
        "shared by all students",
        "one student",
        "all for one, ratio",
        "students to amortise",
    )
    return Table("All stages against training the teacher alone", header, "lrrrrr", tuple(rows), AMORTISED_NOTE)


def failed_table(failed: Sequence[tuple[str, str]]) -> Table:
    """Measurements that failed, with the reason."""
    rows = [Row((Cell(label), Cell(reason))) for label, reason in failed]
    return Table(
        "Measurements that failed",
        ("measurement", "reason"),
        "ll",
        tuple(rows),
        "The next start of the study tries them again.",
    )


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
