"""``student``: a student trained the fast way, and the exact way with its teachers in the loop."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from harness.bench.common import (
    AnyBackbone,
    Changes,
    DataDir,
    Dataset,
    JsonFile,
    app,
    backbones,
    build_missing,
    save,
    settled,
    show,
)
from harness.errors import UserError
from harness.measurements.timer import alternate

if TYPE_CHECKING:
    from harness.trial.spec import TrialSpec
    from harness.trial.stages import Context

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
        settled(dataset, name, of, changes or []) for name in backbones(backbone, several=True) for of in _arms(arm)
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


# ---- figures -------------------------------------------------------------------------------------------------------


def _row(spec: TrialSpec, context: Context, seeds: int, steps: int, full: bool) -> dict[str, Any]:
    """A backbone and arm: means over seeds, and the figures of each seed."""
    by_seed = [_figures(spec.model_copy(update={"seed": seed}), context, steps, full) for seed in range(seeds)]
    about = {"backbone": spec.backbone, "arm": spec.arm, "epochs": spec.student.epochs, "extrapolated": not full}
    return about | _means(by_seed) | {"seeds": by_seed}


def _figures(spec: TrialSpec, context: Context, steps: int, full: bool) -> dict[str, Any]:
    """Steps of both ways in turns, which warms up and compiles as well; then the trainings."""
    from harness.measurements.in_the_loop import Way, stages_of, step_rate, train_student
    from harness.trial.stages import Stages

    ways, stages, turn = get_args(Way), stages_of(spec), math.ceil(steps / TURNS)
    measured = alternate(
        {(way, stage): partial(step_rate, spec, context, way, stage, turn) for stage in stages for way in ways}, TURNS
    )
    rates = {way: [measured[way, stage].value for stage in stages] for way in ways}
    fast = train_student(spec, context, "fast")
    exact = train_student(spec, context, "exact") if full else None
    queries = len(Stages(spec, context).inputs.queries("train"))
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
    means = {
        key: None if any(row[key] is None for row in rows) else statistics.fmean(row[key] for row in rows)
        for key in FIGURES
    }
    seconds = [statistics.fmean(row[f"seconds_{way}"] for row in rows) for way in ("exact", "fast")]
    return {"speedup": seconds[0] / seconds[1], **means}


def _readable(row: Mapping[str, Any]) -> dict[str, Any]:
    """MRRs with the four digits that they are told with."""
    rounded = {key: f"{row[key]:.4f}" for key in row if key.startswith("mrr") and row[key] is not None}
    return {**row, **rounded}
