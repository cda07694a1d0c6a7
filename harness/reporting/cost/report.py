"""The report of a study on what distillation costs: stages, teachers in the loop, inference, exports, amortisation."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from harness.reporting.claims import Claim
from harness.reporting.content import claims_box, figure_path, heading
from harness.reporting.cost import numbers, tables
from harness.reporting.cost.figures import accuracy_cost
from harness.reporting.cost.numbers import Measured, cells_of, first_reason, measured
from harness.reporting.cost.verdicts import Costs, judge
from harness.reporting.data.layout import Meta
from harness.reporting.data.results import Frames, Results, costs_by_stage, means
from harness.reporting.data.text import number
from harness.reporting.evidence import Evidence, side_by_side
from harness.reporting.kinds import report_kind
from harness.reporting.output.figures import stage_costs
from harness.reporting.output.tables import Table
from harness.reporting.output.typst import Document
from harness.vocabulary import arm_name, backbone_name, by_level, student_arms


@dataclass(frozen=True, eq=False)
class Numbers:
    """The frames of a report on costs: see `harness.reporting.cost.numbers`; ``stages`` are those of results."""

    measured: Measured
    stages: pd.DataFrame
    training: pd.DataFrame
    loops: pd.DataFrame
    inference: pd.DataFrame
    amortised: pd.DataFrame
    front: pd.DataFrame

    @classmethod
    def of(cls, results: Results, beside: Measured) -> Numbers:
        """All that is said in numbers."""
        stages = costs_by_stage(results)
        training = numbers.training(results, stages, means(results), beside)
        loops, inference = numbers.loops(beside, stages, training), numbers.inference(beside)
        front = numbers.front(training, inference, beside.export)
        return cls(beside, stages, training, loops, inference, numbers.amortised(training), front)


def numbers_of(results: Results, meta: Meta) -> Numbers:
    """All numbers of the report."""
    return Numbers.of(results, measured(meta.measured, cells_of(results.trials)))


def judged(results: Results, costs: Numbers) -> list[Claim]:
    """The claims of the study with their verdicts."""
    judged_costs = Costs(costs.training, costs.loops, costs.inference, costs.amortised)
    return judge(results.layout.claims, judged_costs, results.backbones)


def _labels(costs: Numbers, backbone: str) -> dict[str, str]:
    """The arm (losses) of each label at the batch size that is shown, reference rows last."""
    rows = numbers.at(costs.training, backbone, numbers.reference_size(costs.training))
    arms = dict(zip(rows["label"], rows["arm"], strict=True))
    places = by_level(arms.values())
    return {label: arms[label] for label in sorted(arms, key=lambda label: places.index(arms[label]))}


def _of(frame: pd.DataFrame, backbone: str) -> pd.DataFrame:
    return frame[frame["backbone"] == backbone]


def _tables(results: Results, costs: Numbers, backbone: str) -> dict[str, Table]:
    """Display tables by name; empty ones are left out."""
    beside, size = costs.measured, numbers.reference_size(costs.training)
    made = {
        "stages": tables.stages_table(
            _of(costs.stages, backbone), numbers.memory(beside, backbone, size), _labels(costs, backbone)
        ),
        "batches": tables.batches_table(_of(costs.training, backbone)),
        "loop": tables.loop_table(_of(costs.loops, backbone)),
        "inference": tables.inference_table(_of(costs.inference, backbone)),
        "export": tables.export_table(_of(beside.export, backbone)),
        "amortised": tables.amortised_table(_of(costs.amortised, backbone)),
    }
    return {name: table for name, table in made.items() if table.rows}


def _draw(costs: Numbers, backbone: str, position: int, folder: Path) -> dict[str, str]:
    """Draw the figures of a backbone into ``folder/figures``; their paths by kind, relative to ``folder``."""
    labels = _labels(costs, backbone)
    stages = _of(costs.stages, backbone)
    stages = stages[stages["arm"].isin(labels)]
    # whether a trial found a stage in the cache is no matter here
    in_order = stages.assign(arm=stages["arm"].map(labels), cached=0.0).sort_values(
        "arm", key=lambda arms: arms.map(list(labels.values()).index), kind="stable"
    )
    paths = {kind: figure_path(folder, backbone, position, kind) for kind in ("stages", "front")}
    made = {
        "stages": stage_costs(in_order, backbone, paths["stages"]),
        "front": accuracy_cost(costs.front, backbone, paths["front"]),
    }
    return {kind: f"figures/{paths[kind].name}.pdf" for kind, is_made in made.items() if is_made}


def _content(
    results: Results,
    costs: Numbers,
    shown: dict[str, dict[str, Table]],
    drawn: dict[str, dict[str, str]],
    meta: Meta,
) -> dict[str, Any]:
    """Everything the template needs, as JSON values; texts are plain, none is read as markup."""
    beside, size = costs.measured, numbers.reference_size(costs.training)
    content = heading(results, meta)
    content["facts"] = [[label, _arms(costs, value) if label == "Arms" else value] for label, value in content["facts"]]
    return content | {
        "claims": claims_box(judged(results, costs)),
        "batch_size": number(size, 0),
        "sections": [
            {
                "backbone": backbone_name(backbone),
                "tables": {key: asdict(table) for key, table in shown[backbone].items()},
                "figures": drawn[backbone],
                "energy": _energy(costs, backbone, size),
            }
            for backbone in results.backbones
        ],
        "lost": asdict(tables.failed_table(beside.failed)) if beside.failed else None,
    }


def _arms(costs: Numbers, arms_and_seeds: str) -> str:
    """The arms once, with the batch sizes; ``told`` has the seeds after a semicolon."""
    arms = [arm_name(arm) for arm in student_arms(costs.training["arm"])]
    sizes = sorted(costs.training["batch_size"].dropna().unique())
    batches = ", ".join(number(size, 0) for size in sizes)
    return f"{', '.join(arms)}, each with batches of {batches};{arms_and_seeds.rpartition(';')[2]}"


def _energy(costs: Numbers, backbone: str, size: float) -> str:
    memory = numbers.memory(costs.measured, backbone, size)
    arms = student_arms(costs.training[costs.training["backbone"] == backbone]["arm"])
    return tables.energy_sentence(memory, arms[-1], first_reason(costs.measured.stage)) if arms else ""


def evidence_of(frames: Frames) -> dict[str, Evidence]:
    """The evidence of a study on costs, by claim.

    Raises:
        UserError: the frames do not pass their checks.
    """
    results = frames.results()
    costs = numbers_of(results, frames.meta)
    verdicts = judged(results, costs)
    shown = {"C11": (tables.inference_table, costs.inference), "C12": (tables.loop_table, costs.loops)}
    figures = {f"_{k}": partial(accuracy_cost, costs.front, name) for k, name in enumerate(results.backbones)}
    evidence = {}
    for claim in frames.layout.claims:
        make, frame = shown.get(claim, (tables.amortised_table, costs.amortised))
        evidence[claim] = Evidence(
            verdicts=[verdict for verdict in verdicts if verdict.id == claim],
            table=side_by_side([(name, make(frame[frame["backbone"] == name])) for name in results.backbones]),
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
    results = frames.results()
    costs = numbers_of(results, frames.meta)
    measured = costs.measured
    shown = {backbone: _tables(results, costs, backbone) for backbone in results.backbones}

    def set_content(folder: Path) -> dict[str, Any]:
        drawn = {backbone: _draw(costs, backbone, k, folder) for k, backbone in enumerate(results.backbones)}
        return _content(results, costs, shown, drawn, frames.meta)

    return Document(
        "cost.typ",
        frames.layout.name,
        trials=results.trials,
        frames={
            "stages": (costs.stages, "stages"),
            "memory": (measured.stage, None),
            "training": (costs.training, "batches"),
            "loop": (costs.loops, "loop"),
            "inference": (costs.inference, "inference"),
            "export": (measured.export, "export"),
            "amortised": (costs.amortised, "amortised"),
            "front": (costs.front, None),
        },
        tables=shown,
        content=set_content,
    )
