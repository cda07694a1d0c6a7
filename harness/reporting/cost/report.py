"""The report of a study on what distillation costs: stages, online teachers, inference, exports, amortisation."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from harness.reporting.content import claims_box, document, heading
from harness.reporting.cost import tables
from harness.reporting.cost.figures import accuracy_cost
from harness.reporting.cost.numbers import Numbers, first_reason, measured, memory, with_batch_size
from harness.reporting.cost.verdicts import judge
from harness.reporting.data.frames import where
from harness.reporting.data.results import Frames, Results
from harness.reporting.data.text import number
from harness.reporting.evidence import Evidence, side_by_side
from harness.reporting.kinds import report_kind
from harness.reporting.output.figures import stage_costs
from harness.reporting.output.tables import Table
from harness.reporting.output.typst import Document
from harness.vocabulary import arm_name, by_level, student_arms


def _loaded(frames: Frames) -> tuple[Results, Numbers]:
    results = frames.results()
    return results, Numbers.of(results, measured(frames.meta.measured, with_batch_size(results.trials)))


def _labels(costs: Numbers, backbone: str) -> dict[str, str]:
    """The arm (losses) of each label at the batch size that is shown, reference rows last."""
    rows = costs.at_size(backbone)
    arms = dict(zip(rows["label"], rows["arm"], strict=True))
    return dict(sorted(arms.items(), key=lambda pair: by_level(arms.values()).index(pair[1])))


def _tables(costs: Numbers, backbone: str) -> dict[str, Table]:
    """Display tables of a backbone by name."""
    used = memory(costs.measured, backbone, costs.batch_size)
    return {
        "stages": tables.stages_table(where(costs.stages, backbone=backbone), used, _labels(costs, backbone)),
        "batches": tables.batches_table(where(costs.training, backbone=backbone)),
        "loop": tables.loop_table(where(costs.loops, backbone=backbone)),
        "inference": tables.inference_table(where(costs.inference, backbone=backbone)),
        "export": tables.export_table(where(costs.measured.export, backbone=backbone)),
        "amortised": tables.amortised_table(where(costs.amortised, backbone=backbone)),
    }


def _draw_stages(costs: Numbers, backbone: str, path: Path) -> bool:
    """Draw the stages of the arms at one batch size; that a trial took a stage from the cache is no matter here."""
    labels = _labels(costs, backbone)
    stages = costs.stages[costs.stages["arm"].isin(labels)]
    in_order = stages.assign(arm=stages["arm"].map(labels), cached=0.0).sort_values(
        "arm", key=lambda arms: arms.map(list(labels.values()).index), kind="stable"
    )
    return stage_costs(in_order, backbone, path)


def _arms(costs: Numbers, arms_and_seeds: str) -> str:
    """The arms once, with the batch sizes; ``arms_and_seeds`` has the seeds after a semicolon."""
    arms = [arm_name(arm) for arm in student_arms(costs.training["arm"])]
    batches = ", ".join(number(size, 0) for size in sorted(costs.training["batch_size"].dropna().unique()))
    return f"{', '.join(arms)}, each with batches of {batches};{arms_and_seeds.rpartition(';')[2]}"


def _energy(costs: Numbers, backbone: str) -> str:
    used = memory(costs.measured, backbone, costs.batch_size)
    arms = student_arms(where(costs.training, backbone=backbone)["arm"])
    return tables.energy_sentence(used, arms[-1], first_reason(costs.measured.stage)) if arms else ""


def evidence_of(frames: Frames) -> dict[str, Evidence]:
    """The evidence of a study on costs, by claim.

    Raises:
        UserError: the frames do not pass their checks.
    """
    results, costs = _loaded(frames)
    verdicts = judge(frames.layout.claims, costs, results.backbones)
    shown = {"C11": (tables.inference_table, costs.inference), "C12": (tables.loop_table, costs.loops)}
    figures = {f"_{k}": partial(accuracy_cost, costs.front, name) for k, name in enumerate(results.backbones)}
    evidence = {}
    for claim in frames.layout.claims:
        make, frame = shown.get(claim, (tables.amortised_table, costs.amortised))
        evidence[claim] = Evidence(
            verdicts=[verdict for verdict in verdicts if verdict.id == claim],
            table=side_by_side([(name, make(where(frame, backbone=name))) for name in results.backbones]),
            numbers=frame,
            figures=figures,
            trials=results.trials,
        )
    return evidence


@report_kind("cost", label="what distillation costs", evidence=evidence_of)
def content(frames: Frames) -> Document:
    """The report of a study on costs.

    Beside ``STUDY.pdf`` lie ``STUDY_stages``, ``STUDY_memory``, ``STUDY_training``, ``STUDY_loop``,
    ``STUDY_inference``, ``STUDY_export``, ``STUDY_amortised`` and ``STUDY_front`` (each .csv, .parquet and .tex), and
    ``figures/`` (.pdf and .png). What was not measured is left out.

    Raises:
        UserError: the frames do not pass their checks.
    """
    results, costs = _loaded(frames)
    top = heading(results, frames.meta)
    failed = costs.measured.failed
    content = top | {
        "facts": [[label, _arms(costs, value) if label == "Arms" else value] for label, value in top["facts"]],
        "claims": claims_box(judge(frames.layout.claims, costs, results.backbones)),
        "batch_size": number(costs.batch_size, 0),
        "lost": asdict(tables.failed_table(failed)) if failed else None,
    }
    files: dict[str, tuple[pd.DataFrame, str | None]] = {
        "stages": (costs.stages, "stages"),
        "memory": (costs.measured.stage, None),
        "training": (costs.training, "batches"),
        "loop": (costs.loops, "loop"),
        "inference": (costs.inference, "inference"),
        "export": (costs.measured.export, "export"),
        "amortised": (costs.amortised, "amortised"),
        "front": (costs.front, None),
    }
    drawings = {
        backbone: {
            "stages": partial(_draw_stages, costs, backbone),
            "front": partial(accuracy_cost, costs.front, backbone),
        }
        for backbone in results.backbones
    }

    def section(backbone: str) -> dict[str, Any]:
        return {"energy": _energy(costs, backbone)}

    shown, name = {backbone: _tables(costs, backbone) for backbone in results.backbones}, frames.layout.name
    return document("cost.typ", name, results.trials, content, files, shown, drawings, section)
