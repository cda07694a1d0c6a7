"""``student``: a student trained the fast way, and the exact way with its teachers in the loop."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from harness.bench.common import (
    AnyBackbone,
    Changes,
    Clock,
    DataDir,
    Dataset,
    JsonFile,
    TimeIsUpError,
    alternate,
    app,
    backbones,
    build_missing,
    save,
    settled,
    show,
)
from harness.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from harness.distill.passes.sampled import Candidates
    from harness.distill.training.loop import Schedule
    from harness.distill.training.objective import Distillation
    from harness.measurements.in_the_loop import InTheLoop
    from harness.models import Backbone
    from harness.models.batch import QueryTensors
    from harness.trial.spec import TrialSpec
    from harness.trial.stages import Context, Stages

Way = Literal["fast", "exact"]
#: turns in which the steps of both ways are measured
TURNS = 3
#: figures that are averaged over seeds, and over rows
FIGURES = (
    *("seconds_fast", "seconds_exact", "seconds_to_best_fast", "step_ratio"),
    *("mrr_fast", "mrr_exact", "mrr_difference", "valid_mrr_fast", "valid_mrr_exact"),
)


@app.command()
def student(
    dataset: Dataset = "lahman",
    backbone: AnyBackbone = "ttranse",
    data_dir: DataDir = None,
    arm: Annotated[str, typer.Option(help="Arm of a student, such as L1, or several with commas.")] = "L1+L2+L3",
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds.")] = 1,
    full: Annotated[bool, typer.Option("--full", help="Train the exact way to its end, too.")] = False,
    steps: Annotated[int, typer.Option(min=1, help="Steps of each stage to measure, of each way.")] = 30,
    threads: Annotated[int, typer.Option(min=1, help="Threads of both ways.")] = 2,
    changes: Changes = None,
    file: JsonFile = None,
) -> None:
    """Training a student: as trials do, against the exact way with the teachers in the loop.

    The exact way: in each step the structural teacher, the scorer of the LLM teacher and the student score all
    entities, in plain tensor operations. Both ways have the settings of study ablation, and equal initial values,
    batches and learning rates.

    Seconds are those of both stages with their validations, with teachers and targets cached; compiling, a few seconds
    a process, does not count. Without --full, those of the exact way are extrapolated from steps of each stage, which
    are measured in turns with steps of the fast way, and it has no MRR. Where other work keeps the machine busy, the
    ratio of these steps is the one to trust. Teachers that are missing are built first.
    """
    import torch

    from harness.trial.cache import default_root
    from harness.trial.stages import Context, Stages

    context = Context(default_root(), data_dir)
    specs = [
        settled(dataset, name, each, changes or []) for name in backbones(backbone, several=True) for each in _arms(arm)
    ]
    torch.set_num_threads(1)  # as the workers of a study: what is cached must not depend on who made it
    for spec in specs:
        build_missing(Stages(spec, context))
    torch.set_num_threads(threads)
    rows = [_row(spec, context, seeds, steps, full) for spec in specs]
    exact = "exact" if full else "exact (extrapolated)"
    columns = {
        "backbone": "backbone",
        "arm": "arm",
        "seconds_fast": "fast, s",
        "seconds_exact": f"{exact}, s",
        "speedup": "ratio",
        "step_ratio": "ratio of steps alone",
        "seconds_to_best_fast": "fast to the best epoch, s",
        "mrr_fast": "test MRR, fast",
        "mrr_exact": "test MRR, exact",
        "mrr_difference": "difference",
    }
    title = f"a student on {dataset}, {threads} thread(s), mean of {seeds} seed(s)"
    show(title, columns, [_readable(row) for row in rows], [] if full else ["--full trains the exact way, too"])
    asked = {"backbone": backbone, "arm": arm, "seeds": seeds, "extrapolated": not full}
    save(file, "student", Stages(specs[0], context), threads, **asked, **_means(rows), rows=rows)


def _arms(names: str) -> list[str]:
    """The arms that ``--arm`` names.

    Raises:
        UserError: if one of them is no student's.
    """
    from harness.trial.arms import REFERENCES, check_arm

    arms = [check_arm(name) for name in names.split(",")]
    if references := [arm for arm in arms if arm in REFERENCES]:
        raise UserError(f"arm {references[0]!r}: is no student")
    return arms


# ---- both ways -----------------------------------------------------------------------------------------------------


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
    from harness import evaluate
    from harness.distill.training.loop import train

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
    from harness.distill.training.loop import train

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
    from harness.trial.stages import Stages

    stages = Stages(spec, context)
    return stages, stages.new_model(spec.backbone, spec.student, spec.seed)


def _parts(stages: Stages, model: Backbone, way: Way, stage: Stage) -> tuple[Distillation | InTheLoop, Schedule]:
    """Loss and schedule of a stage: all that the ways differ in."""
    from harness.distill.training.sampler import Sampling
    from harness.measurements.in_the_loop import in_the_loop
    from harness.trial.arms import parts_of

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
        found = self.call(model)
        self.seconds += time.perf_counter() - started
        return found


# ---- figures -------------------------------------------------------------------------------------------------------


def _row(spec: TrialSpec, context: Context, seeds: int, steps: int, full: bool) -> dict[str, Any]:
    """A backbone and arm: means over seeds, and the figures of each seed."""
    each = [_figures(spec.model_copy(update={"seed": seed}), context, steps, full) for seed in range(seeds)]
    about = {"backbone": spec.backbone, "arm": spec.arm, "epochs": spec.student.epochs, "extrapolated": not full}
    return about | _means(each) | {"seeds": each}


def _figures(spec: TrialSpec, context: Context, steps: int, full: bool) -> dict[str, Any]:
    """Steps of both ways in turns, which warms up and compiles as well; then the trainings."""
    ways, stages, turn = get_args(Way), stages_of(spec), math.ceil(steps / TURNS)
    measured = alternate(
        {(way, stage): partial(step_rate, spec, context, way, stage, turn) for stage in stages for way in ways}, TURNS
    )
    rates = {way: [measured[way, stage].value for stage in stages] for way in ways}
    fast = train_student(spec, context, "fast")
    exact = train_student(spec, context, "exact") if full else None
    queries = len(_fresh(spec, context)[0].inputs.queries("train"))
    in_steps = {
        way: sum(queries * (stage.last - stage.first) / rate for stage, rate in zip(stages, rates[way], strict=True))
        for way in ways
    }
    extrapolated = in_steps["exact"] + fast.validation_seconds
    seconds_exact = extrapolated if exact is None else exact.seconds
    ran = f"{spec.backbone}, {spec.arm}, seed {spec.seed}: fast {fast.seconds:.1f} s, exact {seconds_exact:.1f} s"
    typer.echo(ran, err=True)  # rows take minutes
    return {
        "seed": spec.seed,
        "speedup": seconds_exact / fast.seconds,
        "seconds_fast": fast.seconds,
        "seconds_exact": seconds_exact,
        "seconds_exact_extrapolated": extrapolated,
        "seconds_to_best_fast": fast.seconds_to_best,
        "validation_seconds_fast": fast.validation_seconds,
        "step_ratio": in_steps["exact"] / in_steps["fast"],
        "step_ms": {way: [1e3 * spec.student.batch_size / rate for rate in rates[way]] for way in ways},
        "updates": fast.updates,
        "best_epoch_fast": fast.best_epoch,
        "best_epoch_exact": None if exact is None else exact.best_epoch,
        "mrr_fast": fast.test_mrr,
        "mrr_exact": None if exact is None else exact.test_mrr,
        "mrr_difference": None if exact is None else fast.test_mrr - exact.test_mrr,
        "valid_mrr_fast": fast.valid_mrr,
        "valid_mrr_exact": None if exact is None else exact.valid_mrr,
    }


def _means(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """The means of all figures, None where there is none, and the ratio of the mean seconds."""
    found = {
        key: None if any(row[key] is None for row in rows) else statistics.fmean(row[key] for row in rows)
        for key in FIGURES
    }
    seconds = [statistics.fmean(row[f"seconds_{way}"] for row in rows) for way in ("exact", "fast")]
    return {"speedup": seconds[0] / seconds[1], **found}


def _readable(row: Mapping[str, Any]) -> dict[str, Any]:
    """MRRs with the four digits that they are told with."""
    rounded = {key: f"{row[key]:.4f}" for key in row if key.startswith("mrr") and row[key] is not None}
    return {**row, **rounded}
