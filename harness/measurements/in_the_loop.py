"""The exact way with the teachers in the loop: distillation as textbook code has it.

In every step both teachers score the batch against all entities, without gradients, and so does the student, with them;
every loss is over all entities. Plain tensor operations, fairly written: the teachers are frozen, so what does not
depend on the batch (the tables of their entities, all that the language model says) is computed once, and a distance is
a matrix product here as everywhere else. The language model itself never runs in a step, or this would take hours.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from harness import evaluate
from harness.distill.losses.l3 import SemanticAdapter
from harness.distill.passes.sampled import Candidates
from harness.distill.passes.terms import huber_alignment
from harness.distill.training.loop import Schedule, train
from harness.distill.training.objective import Distillation
from harness.distill.training.sampler import Sampling
from harness.measurements.timer import Clock, Rows, TimeIsUpError, alternate
from harness.models.base import Backbone, scores
from harness.models.batch import QueryTensors
from harness.trial.arms import parts_of
from harness.trial.spec import LossSpec, TrialSpec
from harness.trial.stages import Context, Stages

Way = Literal["fast", "exact"]
#: turns in which the steps of all ways are measured, and steps of each stage a turn
TURNS, STEPS = 3, 8


@dataclass(frozen=True, eq=False)
class FrozenTeacher:
    """A trained teacher, its entity vectors [E, d], and the training queries [Q] as it reads their time."""

    model: Backbone
    table: Tensor
    data: QueryTensors

    @classmethod
    @torch.no_grad()
    def of(cls, model: Backbone, data: QueryTensors) -> FrozenTeacher:
        return cls(model.eval(), model.entity_table(), data)

    @torch.no_grad()
    def scores(self, index: Tensor) -> Tensor:
        """Scores [B, E] of all entities for the queries at ``index`` int64 [B]."""
        batch = self.data[index]
        query = self.model.encode(batch.subject, batch.relation, batch.time)
        return scores(query, self.table, self.model.kernel, self.model.scale())


@dataclass(frozen=True, eq=False)
class InTheLoop:
    """L = w_hard·CE + w_soft·T²·KL + α·L2 + β·L3 + λ·penalty over all entities; a part that is None is left out.

    An ``Objective`` with the weights and names of ``Distillation``. Differences are what makes it exact: KL and L2
    compare all entities, not stored ones (L2 scores standardised over all of them).
    """

    loss: LossSpec
    regularization: float | Tensor
    teacher: FrozenTeacher | None = None
    language: FrozenTeacher | None = None
    adapter: SemanticAdapter | None = None

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
            said = model.encode_vectors(entity, relation, part.time)
            l3 = F.cross_entropy(scores(said, table, model.kernel, scale), part.answer)
            terms["loss_l3"] = loss.beta * l3
        if self.regularization:
            terms["penalty"] = self.regularization * model.penalty(query, subject, table[batch.answer])
        return terms


def in_the_loop(stages: Stages, model: Backbone, *, arm: str) -> InTheLoop:
    """The exact loss of an arm for a student; the counterpart of ``Stages.distillation``."""
    parts, training = parts_of(arm), stages.inputs.training
    teacher = stages.teacher() if "L1" in parts else None
    language = stages.semantic() if "L2" in parts else None
    return InTheLoop(
        loss=stages.spec.loss,
        regularization=stages.distillation(model, ()).regularization,
        teacher=None if teacher is None else FrozenTeacher.of(teacher, training(teacher.time_input)),
        language=None if language is None else FrozenTeacher.of(language, training(language.time_input)),
        adapter=stages.distillation(model, ("L3",)).adapter if "L3" in parts else None,
    )


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

    test_mrr: float
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
    data, task = stages.inputs.training(model.time_input), stages.inputs.task("test", model.time_input)
    validate = _Stopwatch(stages.inputs.validator(model.time_input))
    trained, to_best, started = None, 0.0, time.perf_counter()
    for stage in stages_of(spec):
        before = time.perf_counter() - started
        loss, schedule = _parts(stages, model, way, stage)
        if trained is not None:  # only the epochs with the arm's own losses compete, see run_trial
            trained = replace(trained, best=trained.last, best_mrr=-math.inf)
        trained = train(model, data, loss, schedule, validate, auxiliary=loss.adapter, resume=trained)
        to_best = before + next(row["seconds"] for row in trained.curve if row["epoch"] == trained.best_epoch)
    seconds = time.perf_counter() - started
    assert trained is not None, "a student has at least one epoch"
    model.load_state_dict(trained.best)
    return Outcome(
        test_mrr=evaluate.metrics(evaluate.ranks(model, task))["mrr"],
        valid_mrr=trained.best_mrr,
        best_epoch=trained.best_epoch,
        updates=trained.updates,
        seconds=seconds,
        seconds_to_best=to_best,
        validation_seconds=validate.seconds,
    )


def step_rate(spec: TrialSpec, context: Context, way: Way, stage: Stage, steps: int) -> float:
    """Queries a second of ``steps`` training steps of a stage; those before and the objective's making do not count."""
    stages, model = _fresh(spec, context)
    loss, schedule = _parts(stages, model, way, stage)
    clock, left = Clock(math.inf), 2 + steps

    def ticking(
        model: Backbone, batch: QueryTensors, index: Tensor, candidates: Candidates | None
    ) -> dict[str, Tensor]:
        nonlocal left
        terms = loss(model, batch, index, candidates)
        clock.tick(len(batch))
        left -= 1
        if not left:
            raise TimeIsUpError
        return terms

    # no validations, and not the first epoch, in which a model without a teacher has no hard candidates
    first, many = max(1, stage.first), 1_000_000
    endless = replace(schedule, first_epoch=first, epochs=many, total_epochs=None, validate_every=2 * many)
    data = stages.inputs.training(model.time_input)
    with suppress(TimeIsUpError):
        train(model, data, ticking, endless, lambda model: 0.0, auxiliary=loss.adapter)
    return clock.rate


def _fresh(spec: TrialSpec, context: Context) -> tuple[Stages, Backbone]:
    stages = Stages(spec, context)
    return stages, stages.new_model(spec.backbone, spec.student, spec.seed)


def _parts(stages: Stages, model: Backbone, way: Way, stage: Stage) -> tuple[Distillation | InTheLoop, Schedule]:
    """Loss and schedule of a stage: all that the ways differ in."""
    spec = stages.spec
    parts, span = parts_of(stage.arm), {"first": stage.first, "last": stage.last}
    schedule = stages.schedule(spec.student, model.student_recipe, spec.seed, listed="L1" in parts, **span)
    if way == "fast":
        return stages.distillation(model, parts), schedule
    return in_the_loop(stages, model, arm=stage.arm), replace(schedule, sampling=Sampling())


class _Stopwatch:
    """A function of a model, and the seconds spent in it."""

    def __init__(self, call: Callable[[Backbone], float]) -> None:
        self.call, self.seconds = call, 0.0

    def __call__(self, model: Backbone) -> float:
        started = time.perf_counter()
        value = self.call(model)
        self.seconds += time.perf_counter() - started
        return value


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
    measured = alternate(
        {
            (key, stage): partial(step_rate, variant, context, way, stage, STEPS)
            for key, (variant, way) in ways.items()
            for stage in stages_of(variant)
        },
        TURNS,
    )
    outcomes = {
        key: train_student(variant, context, way)
        for key, (variant, way) in ways.items()
        if key[1] == "stored" or (trained and key == (spec.arm, "loop"))
    }
    queries = len(Stages(spec, context).inputs.queries("train"))
    rows: Rows = []
    for key, (variant, _) in ways.items():
        arm, way_name = key
        rates = {stage: measured[key, stage].value for stage in stages_of(variant)}
        steps = sum(queries * (stage.last - stage.first) / rate for stage, rate in rates.items())
        outcome, validations = outcomes.get(key), outcomes[arm, "stored"].validation_seconds
        row: dict[str, Any] = {
            "arm": arm,
            "way": way_name,
            "trained": outcome is not None,
            "seconds": steps + validations if outcome is None else outcome.seconds,
            "step_ms": [1e3 * variant.student.batch_size / rate for rate in rates.values()],
            "updates": math.ceil(queries / variant.student.batch_size) * variant.student.epochs,
            "test_mrr": None if outcome is None else outcome.test_mrr,
            "valid_mrr": None if outcome is None else outcome.valid_mrr,
        }
        rows.append(row)
    return rows
