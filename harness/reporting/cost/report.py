"""The report of a study on what distillation costs: stages, teachers in the loop, inference, exports, amortisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.reporting.claims import Claim
from harness.reporting.comparison.document import Meta, claims_box, figure_path, heading
from harness.reporting.comparison.figures import stage_costs
from harness.reporting.cost import numbers as costing
from harness.reporting.cost import tables as cost_tables
from harness.reporting.cost.figures import accuracy_cost
from harness.reporting.cost.measured import Measured, cells_of, first_reason, measured
from harness.reporting.cost.verdicts import Costs, judge
from harness.reporting.data.layout import Layout
from harness.reporting.data.results import LoadRanks, Results, costs, means
from harness.reporting.data.text import number
from harness.reporting.output.tables import Table
from harness.reporting.output.writing import write_report
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
    def of(cls, results: Results, found: Measured) -> Numbers:
        """All that is said in numbers."""
        stages = costs(results)
        training = costing.training(results, stages, means(results), found)
        loops, inference = costing.loops(found, stages, training), costing.inference(found)
        front = costing.front(training, inference, found.export)
        return cls(found, stages, training, loops, inference, costing.amortised(training), front)


def cost_report(
    layout: Layout,
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    load_ranks: LoadRanks,
    output: Path,
    meta: Mapping[str, Any],
) -> Path:
    """Write the report of a study on costs into a folder and return the path of its PDF.

    Beside ``STUDY.pdf`` lie ``STUDY_stages``, ``STUDY_memory``, ``STUDY_training``, ``STUDY_loop``,
    ``STUDY_inference``, ``STUDY_export``, ``STUDY_amortised`` and ``STUDY_front`` (each .csv, .parquet and .tex), and
    ``figures/`` (.pdf and .png). The files appear when all are done; after an error the folder is as before. The same
    input gives the same numbers. What was not measured is left out.

    Args:
        layout: the study's words.
        trials: one row a trial, of one data set and one design (`harness.reporting.data.frames.TRIALS`), with ``cell``,
            ``losses`` and ``spec``.
        curves: not looked at.
        load_ranks: takes the index label of a row of ``trials`` and returns the trial's ranks, one row a test query.
        output: folder, made if it is not there.
        meta: fields of `harness.reporting.comparison.document.Meta`; ``measured``: what was measured beside the trials.

    Raises:
        UserError: the frames do not pass their checks, or the folder cannot be written.
    """
    about = Meta.model_validate(dict(meta))
    results = Results.load(trials, load_ranks, layout)
    numbers = numbers_of(results, about)
    found = numbers.measured
    shown = {backbone: _tables(results, numbers, backbone) for backbone in results.backbones}

    def content(folder: Path) -> dict[str, Any]:
        drawn = {backbone: _draw(numbers, backbone, k, folder) for k, backbone in enumerate(results.backbones)}
        return _document(results, numbers, shown, drawn, about)

    return write_report(
        "cost.typ",
        layout.name,
        output,
        trials=results.trials,
        frames={
            "stages": (numbers.stages, "stages"),
            "memory": (found.stage, None),
            "training": (numbers.training, "batches"),
            "loop": (numbers.loops, "loop"),
            "inference": (numbers.inference, "inference"),
            "export": (found.export, "export"),
            "amortised": (numbers.amortised, "amortised"),
            "front": (numbers.front, None),
        },
        shown=shown,
        content=content,
    )


def numbers_of(results: Results, meta: Meta) -> Numbers:
    """All numbers of the report."""
    return Numbers.of(results, measured(meta.measured, cells_of(results.trials)))


def judged(results: Results, numbers: Numbers) -> list[Claim]:
    """The claims of the study with their verdicts."""
    costs = Costs(numbers.training, numbers.loops, numbers.inference, numbers.amortised)
    return judge(results.layout.claims, costs, results.backbones)


def _labels(numbers: Numbers, backbone: str) -> dict[str, str]:
    """The arm (losses) of each label at the batch size that is shown, reference rows last."""
    rows = costing.at(numbers.training, backbone, costing.reference_size(numbers.training))
    arms = dict(zip(rows["label"], rows["arm"], strict=True))
    places = by_level(arms.values())
    return {label: arms[label] for label in sorted(arms, key=lambda label: places.index(arms[label]))}


def _of(frame: pd.DataFrame, backbone: str) -> pd.DataFrame:
    return frame[frame["backbone"] == backbone]


def _tables(results: Results, numbers: Numbers, backbone: str) -> dict[str, Table]:
    """Display tables by name; empty ones are left out."""
    found, size = numbers.measured, costing.reference_size(numbers.training)
    made = {
        "stages": cost_tables.stages_table(
            _of(numbers.stages, backbone), costing.memory(found, backbone, size), _labels(numbers, backbone)
        ),
        "batches": cost_tables.batches_table(_of(numbers.training, backbone)),
        "loop": cost_tables.loop_table(_of(numbers.loops, backbone)),
        "inference": cost_tables.inference_table(_of(numbers.inference, backbone)),
        "export": cost_tables.export_table(_of(found.export, backbone)),
        "amortised": cost_tables.amortised_table(_of(numbers.amortised, backbone)),
    }
    return {name: table for name, table in made.items() if table.rows}


def _draw(numbers: Numbers, backbone: str, position: int, folder: Path) -> dict[str, str]:
    """Draw the figures of a backbone into ``folder/figures``; their paths by kind, relative to ``folder``."""
    labels = _labels(numbers, backbone)
    own = _of(numbers.stages, backbone)
    own = own[own["arm"].isin(labels)]
    # whether a trial found a stage in the cache is no matter here
    in_order = own.assign(arm=own["arm"].map(labels), cached=0.0).sort_values(
        "arm", key=lambda arms: arms.map(list(labels.values()).index), kind="stable"
    )
    paths = {kind: figure_path(folder, backbone, position, kind) for kind in ("stages", "front")}
    made = {
        "stages": stage_costs(in_order, backbone, paths["stages"]),
        "front": accuracy_cost(numbers.front, backbone, paths["front"]),
    }
    return {kind: f"figures/{paths[kind].name}.pdf" for kind, is_made in made.items() if is_made}


def _document(
    results: Results,
    numbers: Numbers,
    shown: dict[str, dict[str, Table]],
    drawn: dict[str, dict[str, str]],
    meta: Meta,
) -> dict[str, Any]:
    """Everything the template needs, as JSON values; texts are plain, none is read as markup."""
    found, size = numbers.measured, costing.reference_size(numbers.training)
    content = heading(results, meta)
    content["facts"] = [
        [label, _arms(numbers, value) if label == "Arms" else value] for label, value in content["facts"]
    ]
    return content | {
        "claims": claims_box(judged(results, numbers)),
        "batch_size": number(size, 0),
        "sections": [
            {
                "backbone": backbone_name(backbone),
                "tables": {key: asdict(table) for key, table in shown[backbone].items()},
                "figures": drawn[backbone],
                "energy": _energy(numbers, backbone, size),
            }
            for backbone in results.backbones
        ],
        "lost": asdict(cost_tables.failed_table(found.failed)) if found.failed else None,
    }


def _arms(numbers: Numbers, told: str) -> str:
    """The arms once, with the batch sizes; ``told`` has the seeds after a semicolon."""
    arms = [arm_name(arm) for arm in student_arms(numbers.training["arm"])]
    sizes = sorted(numbers.training["batch_size"].dropna().unique())
    batches = ", ".join(number(size, 0) for size in sizes)
    return f"{', '.join(arms)}, each with batches of {batches};{told.rpartition(';')[2]}"


def _energy(numbers: Numbers, backbone: str, size: float) -> str:
    memory = costing.memory(numbers.measured, backbone, size)
    arms = student_arms(numbers.training[numbers.training["backbone"] == backbone]["arm"])
    return cost_tables.energy_sentence(memory, arms[-1], first_reason(numbers.measured.stage)) if arms else ""
