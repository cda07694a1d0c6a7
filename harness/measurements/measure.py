"""Measuring what a study asks for beside its trials, one at a time, into its store."""

from __future__ import annotations

import resource
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
from harness.engine.costs import SPEED, WORKER, Cost, Sizes, cost_of
from harness.engine.local_workers import in_a_fresh_process
from harness.engine.rates import Seen
from harness.engine.task import Task
from harness.measurements.export import export
from harness.measurements.files import files
from harness.measurements.in_the_loop import loop
from harness.measurements.inference import inference
from harness.measurements.stages import stage
from harness.measurements.timer import Rows
from harness.store.store import Store
from harness.store.study import open_study
from harness.trial.provenance import provenance
from harness.trial.shared.stage import STAGES
from harness.trial.spec import StudentSpec, TrialSpec
from harness.trial.stages import Context
from harness.vocabulary import REFERENCES, arm_name, backbone_name, stage_name

#: versions of the kinds of measurement: one goes up when a change of the code moves what it yields
VERSIONS = {"stage": 1, "loop": 1, "inference": 1, "export": 1, "files": 1}


@dataclass(frozen=True)
class Measurement:
    """One measurement: a function that runs alone, its arguments, and the trials that its rows are about.

    ``name`` is its place in the store, ``label`` its name for people.
    """

    name: str
    label: str
    trials: tuple[str, ...]
    call: Callable[..., Rows]
    arguments: tuple[object, ...]

    @property
    def kind(self) -> str:
        """stage, loop, inference, export or files."""
        return self.call.__name__

    @classmethod
    def of(
        cls, place: str, label: str, specs: Sequence[TrialSpec], call: Callable[..., Rows], *arguments: object
    ) -> Measurement:
        """One of some trials, of which the first names its place."""
        keys = tuple(spec.key() for spec in specs)
        return cls(f"{place}:{keys[0]}", label, keys, call, arguments)


def wanted(run: Run, plans: Plans, kinds: Sequence[Measure], complete: set[str], context: Context) -> list[Measurement]:
    """The measurements of some kinds that the complete trials of a run allow.

    Of students those of the lowest seed are measured; with the teachers in the loop, if trained, those of all seeds.
    Where a grid varies the batch size, ``loop``, ``inference`` and ``export`` take the default one if it is a level.
    """
    specs = [spec for spec in run.specs if spec.key() in complete]
    arm = run.design.arms[-1] if run.design.arms else ""
    measurements: list[Measurement] = []
    for backbone in dict.fromkeys(spec.backbone for spec in specs):
        of_backbone, name = [spec for spec in specs if spec.backbone == backbone], backbone_name(backbone)
        models = {spec.arm: spec for spec in reversed(_of_one_batch_size(_lowest_seed(of_backbone)))}
        compared = [models[key] for key in ("none", arm, "teacher", "llm-teacher") if key in models]
        if "inference" in kinds and compared:
            label = f"inference, {name}"
            measurements.append(Measurement.of("inference", label, compared, inference, compared, context))
        if "export" in kinds and arm in models:
            label = f"export, {name}, {arm_name(arm)}"
            measurements.append(Measurement.of("export", label, [models[arm]], export, models[arm], context))
        if "files" in kinds and (shapes := _by_shape(of_backbone)):
            measurements.append(Measurement.of("files", f"student files, {name}", shapes, files, shapes, context))
        students = [
            spec for spec in _of_one_batch_size(of_backbone) if spec.arm == arm and {"L1", "L2"} <= {*spec.parts}
        ]
        trained = "trained loop" in kinds
        if not students or not (trained or "loop" in kinds):
            continue
        label = f"teachers in the loop, {name}"
        for spec in students if trained else students[:1]:
            seed = f"{label}, seed {spec.seed}"
            measurements.append(Measurement.of("loop", seed, [spec], loop, spec, context, trained))
        if "stages" in kinds:
            memory, first = f"{label}, memory", students[0]
            measurements.append(Measurement.of("loop-memory", memory, [first], stage, first, "loop", context))
    if "stages" in kinds:  # last, since they take longest
        measurements += _stages(_lowest_seed(specs), specs, plans, context)
    return measurements


def _lowest_seed(specs: Sequence[TrialSpec]) -> list[TrialSpec]:
    """Of trials that differ in nothing but the seed the one with the lowest, in their order."""
    lowest: dict[str, TrialSpec] = {}
    for spec in specs:
        key = spec.model_copy(update={"seed": 0}).key()
        if key not in lowest or spec.seed < lowest[key].seed:
            lowest[key] = spec
    return list(lowest.values())


def _by_shape(specs: Sequence[TrialSpec]) -> list[TrialSpec]:
    """A student of each dimension, number of bits, and with gaps or without."""
    shapes: dict[object, TrialSpec] = {}
    for spec in _lowest_seed(specs):
        if spec.arm not in REFERENCES:
            shapes.setdefault((spec.student.dim, spec.student.bits, spec.student.gaps), spec)
    return list(shapes.values())


def _of_one_batch_size(specs: Sequence[TrialSpec]) -> list[TrialSpec]:
    """The students of the default batch size, or of the first if none has it, and all references."""
    sizes = [spec.student.batch_size for spec in specs if spec.arm not in REFERENCES]
    default = StudentSpec().batch_size
    size = default if default in sizes or not sizes else sizes[0]
    return [spec for spec in specs if spec.arm in REFERENCES or spec.student.batch_size == size]


def _stages(
    measured: Sequence[TrialSpec], complete: Sequence[TrialSpec], plans: Plans, context: Context
) -> list[Measurement]:
    """Each shared stage of the trials once, and each student's stage 2."""
    keys = {spec.key(): plans[spec.key()].keys for spec in complete}
    measurements = []
    for name, shared in STAGES.items():
        makers: dict[str, TrialSpec] = {}
        for spec in measured:
            if name in keys[spec.key()]:
                makers.setdefault(keys[spec.key()][name], spec)
        for key, spec in makers.items():
            label = f"{stage_name(name)}, {shared.whose(spec)}"
            if name == "stage1":
                label += f" {'L1' if spec.first_parts else 'undistilled'}, batches of {spec.student.batch_size}"
            trials = tuple(trial for trial, stages in keys.items() if stages.get(name) == key)
            measurements.append(Measurement(f"{name}:{key}", label, trials, stage, (spec, name, context)))
    for spec in measured:
        if spec.arm not in REFERENCES:
            student = f"{backbone_name(spec.backbone)} {arm_name(spec.arm)}, batches of {spec.student.batch_size}"
            label = f"student, stage 2, {student}"
            measurements.append(Measurement.of("student", label, [spec], stage, spec, "student", context))
    return measurements


def cost_of_measurement(measurement: Measurement, sizes: Sizes) -> Cost:
    """What a measurement costs by its settings: as much as the stage that it makes again, or a guess."""
    about, name = measurement.arguments[:2]
    spec = about[0] if isinstance(about, list) else about
    assert isinstance(spec, TrialSpec)
    if measurement.kind == "stage" and name != "loop":
        return cost_of(Task("", spec, None if name == "student" else str(name)), sizes)
    seconds = 20.0
    if measurement.kind == "loop" and measurement.arguments[-1]:  # trained to its end, all losses over all entities
        numbers = 3 * spec.student.dim + spec.teacher.dim + spec.semantic.dim
        seconds += 2 * sizes.train * sizes.entities * numbers * spec.student.epochs / SPEED
    return Cost(f"measured {measurement.kind}", spec.backbone, (), sizes.data, seconds)


def lacking(
    run: Run, plans: Plans, complete: set[str], known: Mapping[str, Mapping[str, Any]], context: Context
) -> list[Measurement]:
    """What the run's preset asks for of complete trials and a store does not know."""
    every = wanted(run, plans, run.design.measured(run.preset), complete, context)
    return [measurement for measurement in every if not _is_known(measurement, known.get(measurement.name))]


def measure(
    run: Run, plans: Plans, graph: TemporalGraph, store: Store, context: Context, command: str, console: Console
) -> list[Seen]:
    """Measure what the run's preset asks for and the store lacks; each alone on the machine and in a fresh process.

    One that fails is stored with its reason and is tried again by the next start; it never ends the study. Returns what
    they took.

    Raises:
        UserError: the store cannot be written, or another coordinator writes to it.
    """
    seen: list[Seen] = []
    if not run.design.measured(run.preset):
        return seen
    with store.only_writer():
        study = open_study(store, run, command, counts(graph))
        todo = lacking(run, plans, study.complete(), study.measured(), context)
        for number, measurement in enumerate(todo, 1):
            label, before = escape(measurement.label), _worked_by_children()
            with console.status(f"measuring {number} of {len(todo)}: {label}"):
                record = _record(measurement)
            cost = cost_of_measurement(measurement, Sizes.of(graph))
            if cost.kind.startswith("measured") and record["reason"] is None:
                seen.append(Seen(cost, _worked_by_children() - before, WORKER))
            study.measure(measurement.name, record)
            mark = "[green]measured[/]" if record["reason"] is None else "[red]failed[/]"
            outcome = escape(printable(record["reason"] or f"{record['took']:.0f} s"))
            console.print(f"{mark} {number}/{len(todo)} {label}: {outcome}", highlight=False)
    return seen


def _worked_by_children() -> float:
    """Seconds that a core worked for processes of this one that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _is_known(measurement: Measurement, record: Mapping[str, Any] | None) -> bool:
    """Whether the store has it: complete, by this code, and of all of its trials."""
    if record is None or record["reason"] is not None or record["version"] != VERSIONS[measurement.kind]:
        return False
    return set(measurement.trials) <= set(record["cells"])


def _record(measurement: Measurement) -> dict[str, Any]:
    """Measure; a record of JSON values, with the reason where that failed."""
    record: dict[str, Any] = {"rows": [], "reason": None}
    started = time.perf_counter()
    begun = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        record["rows"] = in_a_fresh_process(measurement.call, *measurement.arguments)
    except Exception as error:  # a failed measurement never ends a study
        record["reason"] = f"{type(error).__name__}: {' '.join(str(error).split())}"[:400]
        record["traceback"] = traceback.format_exc()[-2000:]
    kind, took = measurement.kind, round(time.perf_counter() - started, 1)
    about = {"kind": kind, "label": measurement.label, "cells": list(measurement.trials), "threads": 1}
    return about | {"version": VERSIONS[kind], "started": begun, "took": took, **provenance(), **record}
