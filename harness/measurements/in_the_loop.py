"""The exact way with online teachers: distillation as textbook code has it.

In every step both teachers score the batch against all entities, without gradients, and so does the student, with them;
every loss is over all entities. Plain tensor operations, fairly written: the teachers are frozen, so what does not
depend on the batch (the tables of their entities, the outputs of the language model) is computed once, a distance is
a matrix product here as everywhere else. The language model itself never runs in a step, or this would take hours.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from harness import evaluate
from harness.distill.passes.sampled import Candidates
from harness.distill.passes.terms import huber_alignment
from harness.distill.training.loop import Schedule, train
from harness.distill.training.objective import Distillation
from harness.distill.training.sampler import Sampling
from harness.measurements.timer import Clock, Rows, TimeIsUpError, alternate
from harness.models.base import Backbone, scores
from harness.models.batch import QueryTensors
from harness.teachers.targets import scores_of_all
from harness.trial.arms import parts_of
from harness.trial.spec import TrialSpec
from harness.trial.stages import Context, Stages

T = TypeVar("T")
Way = Literal["fast", "exact"]
#: turns in which the steps of all ways are measured, and steps of each stage a turn
TURNS, STEPS = 3, 8


class FrozenTeacher:
    """A trained teacher, its entity vectors [E, d], and the training queries [Q] as it reads their time."""

    @torch.no_grad()
    def __init__(self, model: Backbone, stages: Stages) -> None:
        self.model, self.table = model.eval(), model.entity_table()
        self.data = stages.inputs.training(model.time_input)

    @torch.no_grad()
    def scores(self, index: Tensor) -> Tensor:
        """Scores [B, E] of all entities for the queries at ``index`` int64 [B]."""
        return scores_of_all(self.model, self.data[index], self.table)


class InTheLoop:
    """L = w_hard·CE + w_soft·T²·KL + α·L2 + β·L3 + λ·penalty over all entities; a part that is None is left out.

    An ``Objective`` with the weights and names of ``Distillation``, the exact counterpart of ``Stages.distillation``:
    KL and L2 compare all entities, not stored ones (L2 scores standardised over all of them).
    """

    def __init__(self, stages: Stages, model: Backbone, arm: str) -> None:
        parts, self.loss = parts_of(arm), stages.spec.loss
        self.regularization = stages.distillation(model, ()).regularization
        self.teacher = FrozenTeacher(stages.teacher(), stages) if "L1" in parts else None
        self.language = FrozenTeacher(stages.semantic(), stages) if "L2" in parts else None
        self.adapter = stages.distillation(model, ("L3",)).adapter if "L3" in parts else None

    def __call__(
        self, model: Backbone, batch: QueryTensors, index: Tensor, candidates: Candidates | None = None
    ) -> dict[str, Tensor]:
        loss, table, scale = self.loss, model.entity_table(), model.scale()
        subject = table[batch.subject]
        query = model.encode_vectors(subject, model.relation_table()[batch.relation], batch.time)
        z = scores(query, table, model.kernel, scale)
        hard = 1.0 if self.teacher is None else loss.hard_weight
        terms = {"loss_ce": hard * F.cross_entropy(z, batch.answer)}
        if self.teacher is not None:
            t = loss.temperature
            p = F.softmax(self.teacher.scores(index) / t, dim=1)
            kl = F.kl_div(F.log_softmax(z / t, dim=1), p, reduction="batchmean")
            terms["loss_l1"] = loss.soft_weight * t**2 * kl
        if self.language is not None:
            terms["loss_l2"] = loss.alpha * huber_alignment(z, self.language.scores(index), loss.delta)
        if self.adapter is not None:
            part = batch[slice(math.ceil(loss.semantic_share * len(batch)))]
            entity, relation = self.adapter(part.subject, part.relation)
            projected = model.encode_vectors(entity, relation, part.time)
            l3 = F.cross_entropy(scores(projected, table, model.kernel, scale), part.answer)
            terms["loss_l3"] = loss.beta * l3
        if self.regularization:
            beside = model.penalty_beside_entities(batch.relation, batch.time)
            terms["penalty"] = self.regularization * (model.penalty(query, subject, table[batch.answer]) + beside)
        return terms


# ---- training, both ways ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """Epochs ``first`` to ``last`` (excluded) with the losses of an arm."""

    arm: str
    first: int
    last: int


def stages_of(spec: TrialSpec) -> list[Stage]:
    """Stage 1 and stage 2 of a student, as far as they have epochs."""
    cut, end = spec.student.stage1_epochs, spec.student.epochs
    both = Stage("none" if spec.arm == "none" else "L1", 0, cut), Stage(spec.arm, cut, end)
    return [stage for stage in both if stage.first < stage.last]


@dataclass(frozen=True)
class Outcome:
    """A trained student: MRRs as fractions, and seconds of training with validations."""

    #: of the test split
    mrr: float
    valid_mrr: float
    best_epoch: int
    updates: int
    seconds: float
    #: until the end of the epoch with the best validation MRR
    seconds_to_best: float
    validation_seconds: float


def train_student(spec: TrialSpec, context: Context, way: Way) -> Outcome:
    """Train both stages as ``run_trial`` does, with nothing from the cache but teachers and targets.

    Reading these counts, testing does not.
    """
    stages, model = _fresh(spec, context)
    data = stages.inputs.training(model.time_input, spec.student.times)
    task = stages.inputs.task("test", model.time_input)
    validator, validation_seconds = stages.inputs.validator(model.time_input), 0.0

    def validate(model: Backbone) -> float:
        nonlocal validation_seconds
        began = time.perf_counter()
        mrr = validator(model)
        validation_seconds += time.perf_counter() - began
        return mrr

    trained, to_best, started = None, 0.0, time.perf_counter()
    for stage in stages_of(spec):
        before = time.perf_counter() - started
        loss, schedule = _loss(stages, model, way, stage)
        if trained is not None:  # only the epochs with the arm's losses compete, see run_trial
            trained = replace(trained, best=trained.last, best_mrr=-math.inf)
        trained = train(model, data, loss, schedule, validate, auxiliary=loss.adapter, resume=trained)
        to_best = before + next(row["seconds"] for row in trained.curve if row["epoch"] == trained.best_epoch)
    seconds = time.perf_counter() - started
    assert trained is not None, "a student has at least one epoch"
    model.load_state_dict(trained.best)
    return Outcome(
        mrr=evaluate.metrics(evaluate.ranks(model, task))["mrr"],
        valid_mrr=trained.best_mrr,
        best_epoch=trained.best_epoch,
        updates=trained.updates,
        seconds=seconds,
        seconds_to_best=to_best,
        validation_seconds=validation_seconds,
    )


def step_rate(spec: TrialSpec, context: Context, way: Way, stage: Stage, steps: int) -> float:
    """Queries a second of ``steps`` training steps of a stage; those before and the objective's making do not count."""
    stages, model = _fresh(spec, context)
    loss, schedule = _loss(stages, model, way, stage)
    # no validations, and not the first epoch, in which a model without a teacher has no hard candidates
    first, many = max(1, stage.first), 1_000_000
    endless = replace(schedule, first_epoch=first, epochs=many, total_epochs=None, validate_every=2 * many)
    data, clock = stages.inputs.training(model.time_input, spec.student.times), Clock(steps=steps)
    with suppress(TimeIsUpError):
        train(model, data, clock.ticking(loss), endless, lambda model: 0.0, auxiliary=loss.adapter)
    return clock.rate


def step_rates(
    ways: Mapping[T, tuple[TrialSpec, Way]], context: Context, steps: int, turns: int
) -> dict[T, list[float]]:
    """Queries a second of the steps of each stage, by way; ways and stages take turns."""
    measured = alternate(
        {
            (key, stage): partial(step_rate, spec, context, way, stage, steps)
            for key, (spec, way) in ways.items()
            for stage in stages_of(spec)
        },
        turns,
    )
    return {key: [measured[key, stage].value for stage in stages_of(spec)] for key, (spec, _) in ways.items()}


def seconds_in_steps(spec: TrialSpec, queries: int, rates: Sequence[float]) -> float:
    """Seconds of all epochs over so many queries, from queries a second of each stage."""
    return sum(queries * (stage.last - stage.first) / rate for stage, rate in zip(stages_of(spec), rates, strict=True))


def _fresh(spec: TrialSpec, context: Context) -> tuple[Stages, Backbone]:
    stages = Stages(spec, context)
    return stages, stages.new_model(spec.backbone, spec.student, spec.seed)


def _loss(stages: Stages, model: Backbone, way: Way, stage: Stage) -> tuple[Distillation | InTheLoop, Schedule]:
    """Loss and schedule of a stage: all that the ways differ in."""
    spec, parts = stages.spec, parts_of(stage.arm)
    schedule = stages.schedule(
        spec.student, model.student_recipe, spec.seed, listed="L1" in parts, first=stage.first, last=stage.last
    )
    if way == "fast":
        return stages.distillation(model, parts), schedule
    return InTheLoop(stages, model, stage.arm), replace(schedule, sampling=Sampling())


# ---- the measurement -------------------------------------------------------------------------------------------------


def loop(spec: TrialSpec, context: Context, trained: bool) -> Rows:
    """Training a distilled student in three ways, and an undistilled one in two.

    - ``loop``: in each step both teachers and the student score all entities, in plain tensor operations
      (`InTheLoop`); of the undistilled student, the student alone does.
    - ``stored, all entities``: the teachers' outputs are stored, the student scores all entities, in compiled passes.
    - ``stored``: as trials do, with sampled candidates.

    All have equal initial values, batches and learning rates. ``stored`` is trained to its end, and with ``trained``
    so is ``loop`` of the distilled student; the seconds of the others are extrapolated from steps of each stage, which
    are measured in turns, with the validations of ``stored`` added. Making what is stored does not count.

    Returns:
        A row a way: ``arm``, ``way``, ``trained``, ``seconds``, ``step_ms`` (of each stage), ``updates``, and
        ``test_mrr`` and ``valid_mrr``, None where it was not trained.
    """
    plain = spec.model_copy(update={"arm": "none"})
    exact = spec.student.model_copy(update={"candidates": 0})
    ways: dict[tuple[str, str], tuple[TrialSpec, Way]] = {
        ("none", "loop"): (plain, "exact"),
        ("none", "stored"): (plain, "fast"),
        (spec.arm, "loop"): (spec, "exact"),
        (spec.arm, "stored, all entities"): (spec.model_copy(update={"student": exact}), "fast"),
        (spec.arm, "stored"): (spec, "fast"),
    }
    rates = step_rates(ways, context, STEPS, TURNS)
    outcomes = {
        key: train_student(variant, context, way)
        for key, (variant, way) in ways.items()
        if key[1] == "stored" or (trained and key == (spec.arm, "loop"))
    }
    queries, size = len(Stages(spec, context).inputs.queries("train")), spec.student.batch_size
    rows: Rows = []
    for (arm, way), rate in rates.items():
        outcome, validations = outcomes.get((arm, way)), outcomes[arm, "stored"].validation_seconds
        row: dict[str, Any] = {"arm": arm, "way": way, "trained": outcome is not None}
        row["seconds"] = outcome.seconds if outcome else seconds_in_steps(spec, queries, rate) + validations
        row["step_ms"] = [1e3 * size / queries_per_second for queries_per_second in rate]
        row["updates"] = math.ceil(queries / size) * spec.student.epochs
        row["test_mrr"] = outcome.mrr if outcome else None
        row["valid_mrr"] = outcome.valid_mrr if outcome else None
        rows.append(row)
    return rows
