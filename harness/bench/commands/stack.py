"""``stack``: students trained side by side, against one after another."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from harness.bench import workload
from harness.bench.common import open_stages, show
from harness.bench.options import Stack
from harness.distill.training.loop import train
from harness.distill.training.stacks import Student, train_stacked
from harness.errors import UserError, nearest
from harness.measurements.timer import alternate
from harness.trial.provenance import device_of

#: epochs of a measurement, of which the first does not count: it makes the optimiser's state, and lists
EPOCHS = 3


def run(options: Stack) -> dict[str, Any]:
    backbone, arm, device = options.backbone, options.arm, device_of(options.device)
    stages = open_stages(options, backbone, device)
    spec, model = stages.spec.student, stages.new_model(backbone, stages.spec.student, 0)
    training = stages.inputs.training(model.time_input)
    data = training[: options.steps * spec.batch_size]
    losses = workload.losses(stages, model, data)
    if arm not in losses:
        raise UserError(f"unknown arm {arm!r}: {nearest(arm, losses)}")
    loss, schedule = losses[arm], stages.schedule(spec, model.student_recipe, 0, first=1, last=1 + EPOCHS)
    sampling = replace(spec.sampling(listed=loss.soft is not None), exact_epochs=0)
    schedule = replace(schedule, total_epochs=None, sampling=sampling)

    def seconds_of_a_step(count: int) -> float:
        """Of ``count`` students side by side; 0: of one as a trial trains it that makes no stack."""
        students = [
            Student(
                stages.new_model(backbone, spec, seed),
                replace(loss, adapter=copy.deepcopy(loss.adapter)),
                replace(schedule, seed=seed),
            )
            for seed in range(max(count, 1))
        ]
        if count:
            trained = train_stacked(students, data, lambda model: 0.0)[0]
            if isinstance(trained, ArithmeticError):
                raise trained
        else:
            (alone,) = students
            auxiliary = alone.loss.adapter
            trained = train(alone.model, data, alone.loss, alone.schedule, lambda model: 0.0, auxiliary=auxiliary)
        ends = [row["seconds"] for row in trained.curve]  # of epochs, a student's share
        steps = (len(ends) - 1) * math.ceil(len(data) / schedule.batch_size)
        return len(students) * (ends[-1] - ends[0]) / steps

    most = options.students or (4 if device == "cpu" else 64)
    counts = [0, *(2**k for k in range(most.bit_length()))]
    measured = alternate({count: partial(seconds_of_a_step, count) for count in counts}, options.rounds)
    steps_of_a_trial = spec.epochs * math.ceil(len(training) / spec.batch_size)
    rows: list[dict[str, Any]] = []
    for count, figure in measured.items():
        students, seconds = max(count, 1), figure.value
        row = {"way": "side by side" if count else "one after another", "students": students, "step_ms": 1e3 * seconds}
        row |= {"trials_per_hour": 3600 * students / (seconds * steps_of_a_trial)}
        rows.append(row | {"ratio": students * measured[0].value / seconds})
    columns = {
        "way": "way",
        "students": "students",
        "step_ms": "a step of all, ms",
        "trials_per_hour": "trials an hour, extrapolated",
        "ratio": "ratio",
    }
    card = "CPU" if device == "cpu" else torch.cuda.get_device_name()
    show(f"{backbone}, {arm}, on {options.dataset}: {card}, {options.threads} thread(s)", columns, rows)
    return {"backbone": backbone, "arm": arm, "device": card, "rows": rows}
