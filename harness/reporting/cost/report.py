"""The report of a study on what distillation costs: stages, online teachers, inference, exports, amortisation."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd

from harness.reporting.content import Front, case_of, figure_name, report
from harness.reporting.cost import tables
from harness.reporting.cost.figures import accuracy_cost
from harness.reporting.cost.numbers import Numbers, first_reason, measured, memory, with_batch_size
from harness.reporting.cost.verdicts import judge, summary
from harness.reporting.data.about import facts
from harness.reporting.data.frames import where
from harness.reporting.data.results import Frames, Results
from harness.reporting.data.text import number
from harness.reporting.evidence import Evidence, side_by_side
from harness.reporting.kinds import report_kind
from harness.reporting.output.document import Document, Figure, Section, Text
from harness.reporting.output.figures import stage_costs
from harness.reporting.output.tables import Table
from harness.vocabulary import arm_name, backbone_name, by_level, dataset_name, student_arms


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
    shown = {backbone: _tables(costs, backbone) for backbone in results.backbones}
    size = number(costs.batch_size, 0)

    def section(backbone: str) -> Section:
        of = shown[backbone]
        stages, front = (figure_name(results, backbone, kind) for kind in ("stages", "front"))
        return Section(
            backbone_name(backbone),
            [
                Figure(stages, partial(_draw_stages, costs, backbone), STAGES.format(size=size)),
                of["stages"],
                _energy(costs, backbone),
                of["batches"],
                of["loop"],
                of["inference"],
                of["export"],
                of["amortised"],
                Figure(front, partial(accuracy_cost, costs.front, backbone), FRONT),
            ],
            case=case_of(results, backbone),
        )

    failed = costs.measured.failed
    lost = [Section("Measurements without a result", [tables.failed_table(failed)])] if failed else []
    dataset = dataset_name(str(results.trials["dataset"].iloc[0]))
    run = [
        [label, _arms(costs, value) if label == "Arms" else value]
        for label, value in facts(results, frames.meta.data, dataset)
    ]
    findings = [words for backbone in results.backbones for words in summary(costs, backbone)]
    return report(
        frames,
        results,
        [*map(section, results.backbones), *lost],
        files=files,
        tables=shown,
        front=Front(findings, judge(frames.layout.claims, costs, results.backbones)),
        reading=READING,
        run=run,
    )


STAGES = (
    "Time of one trial by stage, as if nothing had been cached. Students have batches of {size}; teachers and what is "
    "stored of them are computed once and shared by all trials that need them."
)
FRONT = (
    "Accuracy against cost. Mean test MRR over seeds; the line joins the points that no other is both cheaper and "
    "better than. int8: the student that was exported, one seed. Size of the LLM teacher: language model and head."
)
READING = (
    Text(
        "are those that the trials took, with as many trials at a time as the study had workers, one thread each. A "
        "stage that came from the cache counts with the seconds in which it was once computed. Reading the data and "
        "evaluating are shown, but count neither in ratios nor in the figure of accuracy against cost.",
        "Seconds of stages",
    ),
    Text(
        "online teachers, inference and exports were measured after the trials, one at a time and each in a process "
        "of its own. Memory is the most that the process ever held; the interpreter, the libraries and the data are "
        "the larger part of it for a student.",
        "Memory,",
    ),
    Text(
        "score all entities for each batch, as in textbook distillation; the language model itself does not run in a "
        "step, its encodings are computed once. Part of what storing saves comes from sampled candidates and compiled "
        "passes: the row “stored, all entities” has the compiled passes and no sampling. What distillation adds is "
        "the difference to the undistilled student trained the same way.",
        "Online teachers",
    ),
    Text(
        "C11: supported if the full method takes more time and memory than no distillation, all stages counted, and "
        "its student has the same size as the undistilled one and a latency that differs by less than 10 %, the 95 % "
        "interval over turns included. C12: supported if storing saves more than half of the time that distillation "
        "adds, and the stored way's MRR is not lower by more than 2 % (95 % interval over seeds); without students "
        "trained to their end with online teachers it is undecided. C14 is a question, and is answered with a ratio.",
        "Verdicts.",
    ),
)
