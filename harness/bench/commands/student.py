"""``student``: a student trained the fast way, and the exact way with online teachers."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, get_args

import torch
import typer

from harness.bench.common import backbones, build_missing, context_of, settled, show
from harness.bench.options import Student
from harness.errors import UserError
from harness.measurements.in_the_loop import Way, seconds_in_steps, step_rates, train_student
from harness.trial.arms import REFERENCES, check_arm
from harness.trial.spec import TrialSpec
from harness.trial.stages import Context, Stages

#: turns in which the steps of both ways are measured
TURNS = 3
#: figures that are averaged over seeds, and over rows
FIGURES = (
    *("seconds_fast", "seconds_exact", "seconds_to_best_fast", "step_ratio"),
    *("mrr_fast", "mrr_exact", "mrr_difference", "valid_mrr_fast", "valid_mrr_exact"),
)


def run(options: Student) -> dict[str, Any]:
    context, full = context_of(options), options.full
    arms = [check_arm(arm) for arm in options.arm.split(",")]
    if references := [arm for arm in arms if arm in REFERENCES]:
        raise UserError(f"arm {references[0]!r}: is no student")
    changes, names = options.changes or [], backbones(options.backbone)
    specs = [settled(options.dataset, name, arm, changes) for name in names for arm in arms]
    torch.set_num_threads(1)  # as the workers of a study: what is cached must not depend on who made it
    for spec in specs:
        build_missing(Stages(spec, context))
    torch.set_num_threads(options.threads)
    rows = [_row(spec, context, options) for spec in specs]
    columns = {
        "backbone": "backbone",
        "arm": "arm",
        "seconds_fast": "fast, s",
        "seconds_exact": f"exact{'' if full else ' (extrapolated)'}, s",
        "speedup": "ratio",
        "step_ratio": "ratio of steps alone",
        "seconds_to_best_fast": "fast to the best epoch, s",
        "mrr_fast": "test MRR, fast",
        "mrr_exact": "test MRR, exact",
        "mrr_difference": "difference",
    }
    title = f"a student on {options.dataset}, {options.threads} thread(s), mean of {options.seeds} seed(s)"
    mrrs = [{key: f"{row[key]:.4f}" for key in row if key.startswith("mrr") and row[key] is not None} for row in rows]
    readable = [row | four_digits for row, four_digits in zip(rows, mrrs, strict=True)]
    show(title, columns, readable, [] if full else ["--full trains the exact way, too"])
    about = {"backbone": options.backbone, "arm": options.arm, "seeds": options.seeds, "extrapolated": not full}
    return {**about, **_means(rows), "rows": rows}


def _row(spec: TrialSpec, context: Context, options: Student) -> dict[str, Any]:
    """A backbone and arm: means over seeds, and the figures of each seed."""
    by_seed = [_figures(spec.model_copy(update={"seed": seed}), context, options) for seed in range(options.seeds)]
    about = {"backbone": spec.backbone, "arm": spec.arm, "epochs": spec.student.epochs}
    about["extrapolated"] = not options.full
    return about | _means(by_seed) | {"seeds": by_seed}


def _figures(spec: TrialSpec, context: Context, options: Student) -> dict[str, Any]:
    """Steps of both ways in turns, which warms up and compiles as well; then the trainings."""
    rates = step_rates({way: (spec, way) for way in get_args(Way)}, context, math.ceil(options.steps / TURNS), TURNS)
    fast = asdict(train_student(spec, context, "fast"))
    exact = asdict(train_student(spec, context, "exact")) if options.full else dict.fromkeys(fast)
    queries = len(Stages(spec, context).inputs.queries("train"))
    in_steps = {way: seconds_in_steps(spec, queries, rates[way]) for way in rates}
    extrapolated = in_steps["exact"] + fast["validation_seconds"]
    exact["seconds"] = exact["seconds"] or extrapolated
    ran = f"{spec.backbone}, {spec.arm}, seed {spec.seed}: fast {fast['seconds']:.1f} s, exact {exact['seconds']:.1f} s"
    typer.echo(ran, err=True)  # rows take minutes
    return {
        "seed": spec.seed,
        "speedup": exact["seconds"] / fast["seconds"],
        "seconds_exact_extrapolated": extrapolated,
        "step_ratio": in_steps["exact"] / in_steps["fast"],
        "step_ms": {way: [1e3 * spec.student.batch_size / rate for rate in rates[way]] for way in rates},
        "mrr_difference": fast["mrr"] - exact["mrr"] if options.full else None,
        **{f"{name}_fast": value for name, value in fast.items()},
        **{f"{name}_exact": value for name, value in exact.items()},
    }


def _means(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """The means of all figures, None where there is none, and the ratio of the mean seconds."""
    means = {
        key: None if any(row[key] is None for row in rows) else statistics.fmean(row[key] for row in rows)
        for key in FIGURES
    }
    seconds = [statistics.fmean(row[f"seconds_{way}"] for row in rows) for way in ("exact", "fast")]
    return {"speedup": seconds[0] / seconds[1], **means}
