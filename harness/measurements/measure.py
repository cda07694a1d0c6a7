"""Measuring what a study asks for beside its trials, one at a time, into its store."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape

from harness.console import printable
from harness.data import TemporalGraph
from harness.design.cells import Run
from harness.design.schema import Measure
from harness.engine.coordinator import Plans, counts
from harness.engine.local_workers import in_a_fresh_process
from harness.measurements.export import export
from harness.measurements.in_the_loop import loop
from harness.measurements.inference import inference
from harness.measurements.stages import stage
from harness.measurements.timer import Rows
from harness.store.store import Store
from harness.store.study import open_study
from harness.trial.provenance import provenance
from harness.trial.shared.stage import STAGES, Stage
from harness.trial.spec import StudentSpec, TrialSpec
from harness.trial.stages import Context
from harness.vocabulary import REFERENCES, arm_name, backbone_name, stage_name

#: versions of the kinds of measurement: one goes up when a change of the code moves what it yields
VERSIONS = {"stage": 1, "loop": 1, "inference": 1, "export": 1}


@dataclass(frozen=True)
class Measurement:
    """One measurement: a function that runs alone, its arguments, and the trials that what it says is about.

    ``name`` is its place in the store; ``label`` tells people what it is.
    """

    kind: str
    name: str
    label: str
    trials: tuple[str, ...]
    call: Callable[..., Rows]
    arguments: tuple[object, ...]


def wanted(run: Run, plans: Plans, kinds: Sequence[Measure], complete: set[str], context: Context) -> list[Measurement]:
    """The measurements of some kinds that the complete trials of a run allow.

    Of students those of the lowest seed are measured; with the teachers in the loop, if trained, those of all seeds.
    Where a grid varies the batch size, ``loop``, ``inference`` and ``export`` take the default one if it is a level.
    """
    specs = [spec for spec in run.specs if spec.key() in complete]
    measurements: list[Measurement] = []
    for backbone in dict.fromkeys(spec.backbone for spec in specs):
        of_backbone = [spec for spec in specs if spec.backbone == backbone]
        models = {spec.arm: spec for spec in reversed(_reference(_lowest_seed(of_backbone)))}
        arm = run.design.arms[-1] if run.design.arms else ""
        name = backbone_name(backbone)
        asked = [models[key] for key in ("none", arm, "teacher", "llm-teacher") if key in models]
        if "inference" in kinds and asked:
            measurements.append(_one("inference", f"inference, {name}", asked, inference, (asked, context)))
        if "export" in kinds and arm in models:
            spec = models[arm]
            label = f"export, {name}, {arm_name(arm)}"
            measurements.append(_one("export", label, (spec,), export, (spec, context)))
        measurements += _loops([spec for spec in _reference(of_backbone) if spec.arm == arm], kinds, context)
    if "stages" in kinds:  # last, since they take longest
        measurements += _stages(_lowest_seed(specs), specs, plans, context)
    return measurements


def _loops(students: Sequence[TrialSpec], kinds: Sequence[Measure], context: Context) -> list[Measurement]:
    """Teachers in the loop of students of one arm that has both; and the memory that this takes."""
    if not students or not {"L1", "L2"} <= set(students[0].parts) or not {"loop", "trained loop"} & set(kinds):
        return []
    first, is_trained = students[0], "trained loop" in kinds
    label = f"teachers in the loop, {backbone_name(first.backbone)}"
    measurements = [
        _one("loop", f"{label}, seed {spec.seed}", (spec,), loop, (spec, context, is_trained))
        for spec in (students if is_trained else students[:1])
    ]
    if "stages" in kinds:
        measurements.append(_one("stage", f"{label}, memory", (first,), stage, (first, "loop", context), "loop-memory"))
    return measurements


def _one(
    kind: str,
    label: str,
    specs: Sequence[TrialSpec],
    call: Callable[..., Rows],
    arguments: tuple[object, ...],
    place: str = "",
) -> Measurement:
    keys = tuple(spec.key() for spec in specs)
    return Measurement(kind, f"{place or kind}:{keys[0]}", label, keys, call, arguments)


def _lowest_seed(specs: Sequence[TrialSpec]) -> list[TrialSpec]:
    """Of trials that differ in nothing but the seed the one with the lowest, in their order."""
    lowest: dict[str, TrialSpec] = {}
    for spec in specs:
        key = spec.model_copy(update={"seed": 0}).key()
        if key not in lowest or spec.seed < lowest[key].seed:
            lowest[key] = spec
    return list(lowest.values())


def _reference(specs: Sequence[TrialSpec]) -> list[TrialSpec]:
    """The students of the default batch size, or of the first if none has it; all else as it is."""
    sizes = [spec.student.batch_size for spec in specs if spec.arm not in REFERENCES]
    usual = StudentSpec().batch_size
    size = usual if usual in sizes or not sizes else sizes[0]
    return [spec for spec in specs if spec.arm in REFERENCES or spec.student.batch_size == size]


def _stages(
    measured: Sequence[TrialSpec], every: Sequence[TrialSpec], plans: Plans, context: Context
) -> list[Measurement]:
    """Each shared stage of the trials once, and what each student has of its own."""
    measurements = []
    for name, shared in STAGES.items():
        owners: dict[str, list[TrialSpec]] = {}
        for spec in measured:
            if name in plans[spec.key()].keys:
                owners.setdefault(plans[spec.key()].keys[name], []).append(spec)
        for key, specs in owners.items():
            first = specs[0]
            keys = tuple(spec.key() for spec in every if plans[spec.key()].keys.get(name) == key)
            label = f"{stage_name(name)}, {_owner(first, shared)}"
            measurements.append(Measurement("stage", f"{name}:{key}", label, keys, stage, (first, name, context)))
    for spec in measured:
        if spec.arm not in REFERENCES:
            label = f"student, stage 2, {_student(spec)}"
            measurements.append(_one("stage", label, (spec,), stage, (spec, "student", context), "student"))
    return measurements


def _owner(spec: TrialSpec, shared: Stage) -> str:
    if shared.name != "stage1":
        return shared.whose(spec)
    taught = "L1" if spec.first_parts else "undistilled"
    return f"{shared.whose(spec)} {taught}, batches of {spec.student.batch_size}"


def _student(spec: TrialSpec) -> str:
    return f"{backbone_name(spec.backbone)} {arm_name(spec.arm)}, batches of {spec.student.batch_size}"


def measure(
    run: Run, plans: Plans, graph: TemporalGraph, store: Store, context: Context, command: str, console: Console
) -> None:
    """Measure what the run's preset asks for and the store lacks; each alone on the machine and in a fresh process.

    One that fails is stored with its reason and is tried again by the next start; it never ends the study.

    Raises:
        UserError: the store cannot be written, or another coordinator writes to it.
    """
    kinds = run.design.measured(run.preset)
    if not kinds:
        return
    with store.only_writer():
        study = open_study(store, run, command, counts(graph))
        known = study.measured()
        todo = wanted(run, plans, kinds, study.complete(), context)
        lacking = [measurement for measurement in todo if not _is_known(measurement, known.get(measurement.name))]
        for number, measurement in enumerate(lacking, 1):
            with console.status(f"measuring {number} of {len(lacking)}: {escape(measurement.label)}"):
                record = _record(measurement)
            study.measure(measurement.name, record)
            mark = "[green]measured[/]" if record["reason"] is None else "[red]failed[/]"
            outcome = printable(record["reason"] or f"{record['took']:.0f} s")
            console.print(
                f"{mark} {number}/{len(lacking)} {escape(measurement.label)}: {escape(outcome)}", highlight=False
            )


def _is_known(measurement: Measurement, record: Mapping[str, Any] | None) -> bool:
    """Whether the store has it: complete, by this code, and of all of its trials."""
    if record is None or record["reason"] is not None or record["version"] != VERSIONS[measurement.kind]:
        return False
    return set(measurement.trials) <= set(record["cells"])


def _record(measurement: Measurement) -> dict[str, Any]:
    """Measure; a record of JSON values, with the reason where that failed."""
    started, rows, reason, details = time.perf_counter(), [], None, ""
    begun = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        rows = in_a_fresh_process(measurement.call, *measurement.arguments)
    except Exception as error:  # a failed measurement never ends a study
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:400]
        details = traceback.format_exc()[-2000:]
    about = {"kind": measurement.kind, "label": measurement.label, "cells": list(measurement.trials), "threads": 1}
    about |= {"version": VERSIONS[measurement.kind]}
    about |= {"started": begun, "took": round(time.perf_counter() - started, 1), **provenance()}
    return about | {"rows": rows, "reason": reason} | ({"traceback": details} if details else {})
