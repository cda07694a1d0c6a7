"""One trial: a pure function of its spec and the data, which writes nothing but the cache."""

from __future__ import annotations

import re
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness import evaluate
from harness.data import expand_by_class
from harness.distill import gaps, rounding
from harness.distill.rounding import Bits, NotRoundableError
from harness.distill.training.loop import DivergedError, Trained
from harness.distill.training.stacks import Student
from harness.evaluate import NotFiniteError
from harness.models import Backbone
from harness.teachers.ensemble import Ensemble
from harness.teachers.gaps import BesideGaps
from harness.trial.arms import REFERENCES
from harness.trial.spec import TrialSpec
from harness.trial.stages import Context, Stages, summary

#: where the cache has the best states of students, and how many: the newest
STUDENTS, KEPT = "student", 200
#: the splits that a trial is scored on
SCORED = ("valid", "test")


class TrialError(Exception):
    """A trial that cannot have a result, with the reason; it fails alone and never ends a study."""


@dataclass
class TrialResult:
    """All that a trial yields.

    ``metrics``: fractions in 0..1, MR in ranks, named ``<split>_[<direction>_]<metric>``. ``ranks``: per test query,
    ``query`` (row in both directions: the first N ask for tails), ``direction`` (0 tail, 1 head), ``relation`` (id) and
    ``rank``; under protocol ``expanded`` per row that it ranks. ``by_protocol``: metrics of the same state on test
    under each other protocol in which its scores are finite. ``curve``: a row an epoch. ``seconds`` and ``peak_mib`` by
    stage; ``built_seconds`` are what a stage that came from the cache once cost.
    """

    data_digest: str
    metrics: dict[str, float] = field(default_factory=dict)
    ranks: dict[str, NDArray[Any]] = field(default_factory=dict)
    by_protocol: dict[str, dict[str, float]] = field(default_factory=dict)
    curve: list[dict[str, float]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    peak_mib: dict[str, float] = field(default_factory=dict)
    cached: dict[str, bool] = field(default_factory=dict)
    built_seconds: dict[str, float] = field(default_factory=dict)
    updates: int = 0
    best_epoch: int = 0
    #: bytes of what is stored of the model: ``entity``, of a row of its entity table and, where it looks facts up, an
    #: entity's share of these and of their weights, rounded up; ``others``, of all else
    stored_bytes: dict[str, int] = field(default_factory=dict)


def peak_memory() -> float:
    """The most memory this process ever held, MiB."""
    with suppress(OSError):  # Linux: what resource reports includes the process that started this one
        match = re.search(r"^VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text("ascii"), re.M)
        if match:
            return int(match[1]) / 2**10
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


class _Clock:
    def __init__(self, result: TrialResult, context: Context) -> None:
        self.result, self.context = result, context

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        self.context.report(stage, 0.0, None)
        started = time.perf_counter()
        yield
        self.result.seconds[stage] = self.result.seconds.get(stage, 0.0) + time.perf_counter() - started
        self.result.peak_mib[stage] = peak_memory()


def run_trial(
    spec: TrialSpec, context: Context, stacked: Trained | None = None, splits: Sequence[str] = SCORED
) -> TrialResult:
    """Run one trial.

    Args:
        spec: what is trained.
        context: where.
        stacked: what its stage 2 yielded if that was trained in a stack.
        splits: those that are scored: inside a search, validation decides and test facts are left alone. Only a result
            that is scored on test has ranks.

    Raises:
        TrialError: if the loss or the scores are not finite, or the student cannot be rounded.
    """
    started = time.perf_counter()
    stages = Stages(spec, context)
    result = TrialResult(data_digest=stages.graph.digest)
    clock = _Clock(result, context)
    result.seconds["data"] = time.perf_counter() - started
    try:
        for name in stages.plan.keys:
            if not stages.is_cached(name):
                with clock(name):
                    stages.entry(name)
        if spec.arm in REFERENCES:
            model = stages.reference()
            about = stages.entries[REFERENCES[spec.arm]].meta
        else:
            model, about = _student(stages, clock, stacked)
        with clock("evaluate"):
            _score(stages, model, result, splits)
        if "test" in splits:
            with clock("protocols"):
                _score_otherwise(stages, model, result)
    except (DivergedError, NotFiniteError, NotRoundableError) as error:
        raise TrialError(str(error)) from None
    result.stored_bytes = _stored_bytes(stages, model)
    result.curve, result.updates, result.best_epoch = about["curve"], about["updates"], about["best_epoch"]
    for name in stages.plan.keys:
        entry = stages.entries.get(name)
        result.cached[name] = entry is None or entry.cached
        result.built_seconds[name] = stages.build_seconds(name)
        if result.cached[name]:  # what looking it up took is not what the stage costs
            result.seconds.pop(name, None)
            result.peak_mib.pop(name, None)
    return result


def _stored_bytes(stages: Stages, model: Backbone) -> dict[str, int]:
    """Bytes of a row of the entity table and of all else; of an ensemble those of its members, empty without tables."""
    if isinstance(model, Ensemble) and not isinstance(model, BesideGaps):
        parts = [_stored_bytes(stages, member) for member in model.each()]
        return {name: sum(part[name] for part in parts) for name in parts[0]} if all(parts) else {}
    shapes = {name: tuple(t.shape) for name, t in model.state_dict().items() if name not in gaps.NAMES}
    if rounding.ENTITIES not in shapes:
        return {}
    bits = 32 if stages.spec.arm in REFERENCES else stages.spec.student.bits
    entity, others = rounding.stored_bytes(shapes, bits)
    if isinstance(model, BesideGaps):
        entity += gaps.bytes_an_entity(stages.graph, bits)
    return {"entity": entity, "others": others}


def scored_model(spec: TrialSpec, context: Context) -> Backbone:
    """The trained model of a trial as it is scored: from the cache, or trained now.

    Raises:
        TrialError: its training fails.
    """
    stages = Stages(spec, context)
    if spec.arm in REFERENCES:
        return stages.reference()
    if not stages.cache.has(STUDENTS, stages.student_key()):
        run_trial(spec, context, splits=())
    model = stages.new_scored()
    state = stages.cache.get_or_build(STUDENTS, stages.student_key(), partial(_lost, spec)).tensors
    model.load_state_dict(rounded_tensors(state, spec.student.bits))
    return model.to(context.device).eval()


def _lost(spec: TrialSpec) -> Any:
    raise TrialError(f"the state of the student of arm {spec.arm} left the cache while it was read; run it again")


def build_stage(name: str, spec: TrialSpec, context: Context, stacked: Trained | None = None) -> float:
    """Make one shared stage of a trial and return what it cost when it was built, in seconds.

    ``stacked`` is what stage 1 yielded if it was trained in a stack.

    Raises:
        TrialError: if the loss or the scores are not finite.
    """
    stages = Stages(spec, context, stacked)
    context.report(name, 0.0, None)
    try:
        stages.entry(name)
    except (DivergedError, NotFiniteError) as error:
        raise TrialError(str(error)) from None
    return stages.build_seconds(name)


def stage2_student(stages: Stages) -> Student:
    """The student before stage 2 of the spec's arm, as a stage 1 that other arms share left it.

    Of arms that have such a stage only epochs with all of their losses compete for the best state; else arms would
    share a best state that knows none of theirs. Of arms whose losses all act from the start the same epochs do.
    """
    spec, student = stages.spec, stages.spec.student
    if spec.is_joint:
        start = min(student.stage1_epochs, student.epochs - 1)
        return stages.student(spec.parts, first=0, last=student.epochs, select_from=start)
    resume = None
    if spec.shares_stage1:
        about, parts = _read_stage1(stages)
        state = parts["last"]
        resume = Trained(best=state, last=state, optimizer=parts["optimizer"], updates=about["updates"])
    return stages.student(spec.parts, first=student.stage1_epochs, last=student.epochs, resume=resume)


def _trained(stages: Stages, clock: _Clock) -> tuple[Trained, list[dict[str, float]]]:
    """What training a student yields after the stage 1 that others share, and the curve of a stage 1 of its own."""
    student, spec = stage2_student(stages), stages.spec.student
    curve: list[dict[str, float]] = []
    if stages.spec.stage1_of_its_own:
        first, recipe = stages.spec.first_parts, student.model.student_recipe
        listed, last = "L1" in first, spec.stage1_epochs
        schedule = stages.schedule(spec, recipe, stages.spec.seed, listed=listed, last=last)
        early = replace(student, loss=student.loss.only(first), schedule=schedule)
        with clock("stage1"):
            trained = stages.train(early, "stage1")
        curve = [{"stage": 1, **row} for row in trained.curve]
        if spec.stage1_epochs == spec.epochs:
            return replace(trained, curve=[]), curve
        student = replace(
            student, resume=Trained(trained.last, trained.last, trained.optimizer, updates=trained.updates)
        )
    with clock("stage2"):
        return stages.train(student, "stage2"), curve


def _student(stages: Stages, clock: _Clock, stacked: Trained | None) -> tuple[Backbone, dict[str, Any]]:
    """Stage 1 from the cache, then what the spec's arm has in addition; its best state by validation MRR."""
    spec = stages.spec.student
    curve: list[dict[str, float]] = []
    if stages.spec.shares_stage1:
        about, parts = _read_stage1(stages)
        if spec.stage1_epochs == spec.epochs:
            return settled(stages, parts["best"]), about
        curve = about["curve"]
    if stacked is not None:
        trained = stacked
        clock.result.seconds["stage2"] = trained.curve[-1]["seconds"]
        clock.result.peak_mib["stage2"] = peak_memory()
    else:
        trained, early_curve = _trained(stages, clock)
        curve = curve + early_curve
    curve = curve + [{"stage": 2, **row} for row in trained.curve]
    return settled(stages, trained.best), {**summary(trained), "curve": curve}


def settled(stages: Stages, best: dict[str, Tensor]) -> Backbone:
    """The model of a student in its best state, as its bits leave it; that state is kept as trained for exports.

    Gaps come in here: with weights of their own, and as much beside the rounded student as validation asks for.
    """
    model, bits = stages.new_scored().to(stages.context.device).eval(), stages.spec.student.bits
    if isinstance(model, BesideGaps):
        best = best | {gaps.WEIGHTS: stages.entry("gaps").tensors["weights"], gaps.MIX: torch.ones(2)}
        model.load_state_dict(rounded_tensors(best, bits))
        best[gaps.MIX] = model.fit(stages.inputs.task("valid", model.time_input))
    stages.cache.get_or_build(STUDENTS, stages.student_key(), lambda: (best, {}))
    stages.cache.keep_newest(STUDENTS, KEPT)
    model.load_state_dict(rounded_tensors(best, bits))
    return model


def rounded_tensors(state: dict[str, Tensor], bits: Bits) -> dict[str, Tensor]:
    """The state of a student as it reads after it was stored with ``bits``."""
    if bits == 32:
        return state
    rounded = rounding.rounded_state({name: tensor.cpu().numpy() for name, tensor in state.items()}, bits)
    return {name: torch.from_numpy(table).to(state[name].device) for name, table in rounded.items()}


def _read_stage1(stages: Stages) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
    entry = stages.entry("stage1")
    parts: dict[str, dict[str, Tensor]] = {"best": {}, "last": {}, "optimizer": {}}
    for name, tensor in entry.tensors.items():
        part, key = name.split("/", 1)
        parts[part][key] = tensor
    return {**entry.meta, "curve": [{"stage": 1, **row} for row in entry.meta["curve"]]}, parts


def _score(stages: Stages, model: Backbone, result: TrialResult, splits: Sequence[str]) -> None:
    """Metrics on ``splits``, and ranks on test; there also metrics under protocols that ask the same queries."""
    for split in splits:
        protocols = _alike(stages.spec.protocol) if split == "test" else (stages.spec.protocol,)
        ranks, *others = _ranks(stages, model, split, protocols)
        metrics = evaluate.metrics_by_direction(ranks)
        result.metrics |= {f"{split}_{name}": value for name, value in metrics.items()}
        if split == "test":
            result.by_protocol |= zip(protocols[1:], map(evaluate.metrics, others), strict=True)
            queries = stages.inputs.queries("test")
            if stages.spec.protocol == "expanded":
                queries, _, _ = expand_by_class(queries, stages.inputs.timeline)
            half = len(queries) // 2
            result.ranks = {
                "query": np.arange(len(queries)),
                "direction": (np.arange(len(queries)) >= half).astype(np.int8),
                "relation": (queries.relation % max(len(stages.graph.relations), 1)).astype(np.int32),
                "rank": ranks,
            }


def _score_otherwise(stages: Stages, model: Backbone, result: TrialResult) -> None:
    """Metrics on test under the protocols that ask other queries than the trial's own."""
    for protocols in evaluate.ASKED_ALIKE:
        if stages.spec.protocol not in protocols:
            with suppress(NotFiniteError):
                result.by_protocol |= zip(
                    protocols, map(evaluate.metrics, _ranks(stages, model, "test", protocols)), strict=True
                )


def _alike(protocol: str) -> tuple[str, ...]:
    """A protocol, then those that ask the same queries."""
    (group,) = (group for group in evaluate.ASKED_ALIKE if protocol in group)
    return (protocol, *(name for name in group if name != protocol))


def _ranks(stages: Stages, model: Backbone, split: str, protocols: Sequence[str]) -> list[NDArray[np.float64]]:
    tasks = [stages.inputs.task(split, model.time_input, protocol) for protocol in protocols]
    return evaluate.ranks_together(model, tasks)
