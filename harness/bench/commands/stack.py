"""``stack``: students trained side by side, against one after another."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.bench.common import (
    DataDir,
    Dataset,
    JsonFile,
    OneBackbone,
    Rounds,
    Threads,
    app,
    backbones,
    open_stages,
    save,
    show,
)
from harness.errors import UserError, nearest
from harness.measurements.timer import alternate

if TYPE_CHECKING:
    from harness.distill.training.stacks import Student
    from harness.models.batch import QueryTensors

#: epochs of a measurement, of which the first does not count: it makes the optimiser's state, and lists
EPOCHS = 3


@app.command()
def stack(
    dataset: Dataset = "lahman",
    backbone: OneBackbone = "ttranse",
    data_dir: DataDir = None,
    arm: Annotated[str, typer.Option(help="none, L1 or L1+L2+L3.")] = "L1+L2+L3",
    students: Annotated[int | None, typer.Option(min=1, help="At most so many; default: 64 on a GPU, else 4.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Training steps an epoch; two epochs count.")] = 20,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto: a GPU when there is one.")] = "auto",
    threads: Threads = 1,
    rounds: Rounds = 3,
    file: JsonFile = None,
) -> None:
    """Training 1, 2, 4 ... students side by side, against one after another.

    Trials an hour are extrapolated from steps over sampled candidates; exact epochs, validations and the search for
    hard candidates, which go student by student either way, do not count. Targets and encodings are random: a step
    costs the same whatever they are. On a CPU, where students alone have compiled passes and stacks have none, studies
    make no stacks but run a process a core.
    """
    (name,) = backbones(backbone)
    from harness.trial.provenance import device_of

    where = device_of(device)
    import torch

    from harness.bench import workload
    from harness.distill.training.stacks import Student

    stages = open_stages(dataset, name, data_dir, threads, where)
    spec, model = stages.spec.student, stages.new_model(name, stages.spec.student, 0)
    training = stages.inputs.training(model.time_input)
    data = training[: steps * spec.batch_size]
    arms = workload.losses(stages, model, data)
    if arm not in arms:
        raise UserError(f"unknown arm {arm!r}: {nearest(arm, arms)}")
    loss, schedule = arms[arm], stages.schedule(spec, model.student_recipe, 0, first=1, last=1 + EPOCHS)
    sampling = replace(spec.sampling(listed=loss.soft is not None), exact_epochs=0)
    schedule = replace(schedule, total_epochs=None, sampling=sampling)

    def some(count: int) -> list[Student]:
        return [
            Student(
                stages.new_model(name, spec, seed),
                replace(loss, adapter=copy.deepcopy(loss.adapter)),
                replace(schedule, seed=seed),
            )
            for seed in range(count)
        ]

    def side_by_side(count: int) -> float:
        return _together(some(count), data)

    most = students or (4 if where == "cpu" else 64)
    counts = [2**k for k in range(most.bit_length())]
    ways: dict[int, Callable[[], float]] = {0: lambda: _alone(some(1)[0], data)}
    ways |= {count: partial(side_by_side, count) for count in counts}
    measured = {count: figure.value for count, figure in alternate(ways, rounds).items()}
    steps_of_a_trial = spec.epochs * math.ceil(len(training) / spec.batch_size)
    rows: list[dict[str, Any]] = [
        {
            "way": "side by side" if count else "one after another",
            "students": max(count, 1),
            "step_ms": 1e3 * seconds,
            "trials_per_hour": 3600 * max(count, 1) / (seconds * steps_of_a_trial),
            "ratio": max(count, 1) * measured[0] / seconds,
        }
        for count, seconds in measured.items()
    ]
    columns = {
        "way": "way",
        "students": "students",
        "step_ms": "a step of all, ms",
        "trials_per_hour": "trials an hour, extrapolated",
        "ratio": "ratio",
    }
    card = "CPU" if where == "cpu" else torch.cuda.get_device_name()
    show(f"{name}, {arm}, on {dataset}: {card}, {threads} thread(s)", columns, rows)
    save(file, "stack", stages, threads, backbone=name, arm=arm, device=card, rows=rows)


def _alone(student: Student, data: QueryTensors) -> float:
    """Seconds of a step of one student, trained as a trial does that makes no stack."""
    from harness.distill.training.loop import train

    auxiliary = student.loss.adapter
    trained = train(student.model, data, student.loss, student.schedule, lambda model: 0.0, auxiliary=auxiliary)
    return _step_seconds([row["seconds"] for row in trained.curve], student, data)


def _together(students: list[Student], data: QueryTensors) -> float:
    """Seconds of a step of all students."""
    from harness.distill.training.stacks import train_stacked

    trained = train_stacked(students, data, lambda model: 0.0)[0]
    if isinstance(trained, ArithmeticError):
        raise trained
    shares = [row["seconds"] for row in trained.curve]
    return len(students) * _step_seconds(shares, students[0], data)


def _step_seconds(ends: list[float], student: Student, data: QueryTensors) -> float:
    """Of a step, from the seconds at which epochs ended."""
    return (ends[-1] - ends[0]) / (len(ends) - 1) / math.ceil(len(data) / student.schedule.batch_size)
