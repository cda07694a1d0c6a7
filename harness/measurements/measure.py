"""Measuring what a study asks for beside its cells, one at a time, into its store."""

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
from harness.trial.provenance import provenance
from harness.trial.shared.stage import STAGES, Stage
from harness.trial.spec import StudentSpec, TrialSpec
from harness.trial.stages import Context
from harness.vocabulary import REFERENCES, arm_name, backbone_name, stage_name

#: versions of the kinds of measurement: one goes up when a change of the code moves what it yields
VERSIONS = {"stage": 1, "loop": 1, "inference": 1, "export": 1}


@dataclass(frozen=True)
class Measurement:
    """One measurement: a function that runs alone, its arguments, and the cells that what it says is about.

    ``name`` is its place in the store; ``label`` tells people what it is.
    """

    kind: str
    name: str
    label: str
    cells: tuple[str, ...]
    call: Callable[..., Rows]
    arguments: tuple[object, ...]


def wanted(run: Run, plans: Plans, kinds: Sequence[Measure], complete: set[str], context: Context) -> list[Measurement]:
    """The measurements of some kinds that the complete cells of a run allow.

    Of students those of the lowest seed are measured; with the teachers in the loop, if trained, those of all seeds.
    Where a grid varies the batch size, ``loop``, ``inference`` and ``export`` take the default one if it is a level.
    """
    cells = [spec for spec in run.cells if spec.key() in complete]
    found: list[Measurement] = []
    for backbone in dict.fromkeys(spec.backbone for spec in cells):
        own = [spec for spec in cells if spec.backbone == backbone]
        models = {spec.arm: spec for spec in reversed(_reference(_lowest_seed(own)))}
        arm = run.design.arms[-1] if run.design.arms else ""
        name = backbone_name(backbone)
        asked = [models[each] for each in ("none", arm, "teacher", "llm-teacher") if each in models]
        if "inference" in kinds and asked:
            found.append(_one("inference", f"inference, {name}", asked, inference, (asked, context)))
        if "export" in kinds and arm in models:
            spec = models[arm]
            told = f"export, {name}, {arm_name(arm)}"
            found.append(_one("export", told, (spec,), export, (spec, context)))
        found += _loops([spec for spec in _reference(own) if spec.arm == arm], kinds, context)
    if "stages" in kinds:  # last, since they take longest
        found += _stages(_lowest_seed(cells), cells, plans, context)
    return found


def _loops(students: Sequence[TrialSpec], kinds: Sequence[Measure], context: Context) -> list[Measurement]:
    """Teachers in the loop of students of one arm that has both; and the memory that this takes."""
    if not students or not {"L1", "L2"} <= set(students[0].parts) or not {"loop", "trained loop"} & set(kinds):
        return []
    first, is_trained = students[0], "trained loop" in kinds
    told = f"teachers in the loop, {backbone_name(first.backbone)}"
    found = [
        _one("loop", f"{told}, seed {spec.seed}", (spec,), loop, (spec, context, is_trained))
        for spec in (students if is_trained else students[:1])
    ]
    if "stages" in kinds:
        found.append(_one("stage", f"{told}, memory", (first,), stage, (first, "loop", context), "loop-memory"))
    return found


def _one(
    kind: str,
    label: str,
    specs: Sequence[TrialSpec],
    call: Callable[..., Rows],
    arguments: tuple[object, ...],
    place: str = "",
) -> Measurement:
    cells = tuple(spec.key() for spec in specs)
    return Measurement(kind, f"{place or kind}:{cells[0]}", label, cells, call, arguments)


def _lowest_seed(cells: Sequence[TrialSpec]) -> list[TrialSpec]:
    """Of cells that differ in nothing but the seed the one with the lowest, in their order."""
    found: dict[str, TrialSpec] = {}
    for spec in cells:
        key = spec.model_copy(update={"seed": 0}).key()
        if key not in found or spec.seed < found[key].seed:
            found[key] = spec
    return list(found.values())


def _reference(cells: Sequence[TrialSpec]) -> list[TrialSpec]:
    """The students of the default batch size, or of the first if none has it; all else as it is."""
    sizes = [spec.student.batch_size for spec in cells if spec.arm not in REFERENCES]
    usual = StudentSpec().batch_size
    size = usual if usual in sizes or not sizes else sizes[0]
    return [spec for spec in cells if "teacher" in spec.arm or spec.student.batch_size == size]


def _stages(
    measured: Sequence[TrialSpec], every: Sequence[TrialSpec], plans: Plans, context: Context
) -> list[Measurement]:
    """Each shared stage of the cells once, and what each student has of its own."""
    found = []
    for name, shared in STAGES.items():
        owners: dict[str, list[TrialSpec]] = {}
        for spec in measured:
            if name in plans[spec.key()].keys:
                owners.setdefault(plans[spec.key()].keys[name], []).append(spec)
        for key, specs in owners.items():
            first = specs[0]
            cells = tuple(each.key() for each in every if plans[each.key()].keys.get(name) == key)
            label = f"{stage_name(name)}, {_owner(first, shared)}"
            found.append(Measurement("stage", f"{name}:{key}", label, cells, stage, (first, name, context)))
    for spec in measured:
        if spec.arm not in REFERENCES:
            told = f"student, stage 2, {_student(spec)}"
            found.append(_one("stage", told, (spec,), stage, (spec, "student", context), "student"))
    return found


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
        study = store.open(run, command, counts(graph))
        known = study.measured()
        todo = wanted(run, plans, kinds, study.complete(), context)
        lacking = [each for each in todo if not _is_known(each, known.get(each.name))]
        for number, each in enumerate(lacking, 1):
            with console.status(f"measuring {number} of {len(lacking)}: {escape(each.label)}"):
                record = _record(each)
            study.measure(each.name, record)
            mark = "[green]measured[/]" if record["reason"] is None else "[red]failed[/]"
            told = printable(record["reason"] or f"{record['took']:.0f} s")
            console.print(f"{mark} {number}/{len(lacking)} {escape(each.label)}: {escape(told)}", highlight=False)


def _is_known(each: Measurement, record: Mapping[str, Any] | None) -> bool:
    """Whether the store has it: complete, by this code, and of all of its cells."""
    if record is None or record["reason"] is not None or record["version"] != VERSIONS[each.kind]:
        return False
    return set(each.cells) <= set(record["cells"])


def _record(each: Measurement) -> dict[str, Any]:
    """Measure; a record of JSON values, with the reason where that failed."""
    started, rows, reason, details = time.perf_counter(), [], None, ""
    begun = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        rows = in_a_fresh_process(each.call, *each.arguments)
    except Exception as error:  # a failed measurement never ends a study
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:400]
        details = traceback.format_exc()[-2000:]
    about = {"kind": each.kind, "label": each.label, "cells": list(each.cells), "threads": 1}
    about |= {"version": VERSIONS[each.kind]}
    about |= {"started": begun, "took": round(time.perf_counter() - started, 1), **provenance()}
    return about | {"rows": rows, "reason": reason} | ({"traceback": details} if details else {})
