"""``scale``: what a training step and a ranked query cost, against the size of the problem."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
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
from harness.measurements.timer import alternate, rate

if TYPE_CHECKING:
    from harness.data import TemporalGraph
    from harness.trial.stages import Stages

#: sizes by axis: of facts, shares of the training split (above 1: copies of it); of entities, multiples of their number
AXES: dict[str, tuple[float, ...]] = {
    "facts": (1 / 8, 1 / 4, 1 / 2, 1, 2, 4),
    "entities": (1, 2, 4, 8),
    "dimension": (25, 50, 100, 200, 400),
    "candidates": (32, 64, 128, 256, 512),
}
#: what has a ratio and an exponent, and its heading
COSTS = {
    "step_ms": "ms a step",
    "exact_ms": "ms a step over all entities",
    "epoch_seconds": "s an epoch",
    "rank_us": "µs a ranked query",
}


@dataclass(frozen=True)
class Point:
    """A size of the problem, what it is, and the functions that measure it: seconds of steps and of a ranked query."""

    size: float
    about: dict[str, int]
    step: Callable[[], float]
    exact: Callable[[], float]
    rank: Callable[[], float]


@app.command()
def scale(
    dataset: Dataset = "lahman",
    backbone: OneBackbone = "ttranse",
    data_dir: DataDir = None,
    axis: Annotated[str, typer.Option(help=f"{', '.join(AXES)} or all.")] = "all",
    queries: Annotated[int, typer.Option(min=2, help="Training queries ranked, a measurement.")] = 512,
    threads: Threads = 1,
    rounds: Rounds = 5,
    file: JsonFile = None,
) -> None:
    """What a student's training step and ranking a query cost, against facts, entities, dimension and candidates.

    facts: the first facts of the training split, entities renumbered, and copies of all of it with entities of their
    own. entities: the same facts with more entities that no fact names. candidates: stored ones a query, with the loss
    L1; elsewhere there is no distillation, and a student lists what it finds hard itself. A step scores what is listed
    and random entities, as trials do; beside it one that scores all entities, as in their first epoch. Sizes of an axis
    are measured in turns. Memory is the peak of the process with a size alone. An exponent is the slope of log cost
    against log size.
    """
    (name,) = backbones(backbone)
    if axis not in (*AXES, "all"):
        raise UserError(f"unknown axis {axis!r}: {nearest(axis, [*AXES, 'all'])}")
    stages = open_stages(dataset, name, data_dir, threads)
    rows: list[dict[str, Any]] = []
    exponents: list[dict[str, Any]] = []
    for varied in AXES if axis == "all" else (axis,):
        measured = _measured(stages, name, varied, queries, rounds)
        rows += measured
        slopes = {cost: _slope([(row["size"], row[cost]) for row in measured]) for cost in COSTS}
        exponents.append({"axis": varied} | slopes)
    columns = {"axis": "axis", "facts": "facts", "entities": "entities", "dim": "dimension", "candidates": "candidates"}
    for cost in ("step_ms", "exact_ms", "rank_us"):
        columns |= {cost: COSTS[cost], f"{cost}_ratio": "ratio"}
    columns["peak_mib"] = "peak, MiB"
    show(f"{name} on {dataset}, {threads} thread(s); ratios to the smallest", columns, rows)
    show("exponents: cost grows as size to this power", {"axis": "axis", **COSTS}, exponents)
    save(file, "scale", stages, threads, backbone=name, rows=rows, exponents=exponents)


def _measured(stages: Stages, backbone: str, axis: str, queries: int, rounds: int) -> list[dict[str, Any]]:
    """The rows of an axis, smallest size first."""
    from harness.trial.run import peak_memory

    peaks = []
    for size in (AXES[axis][0], *AXES[axis]):  # the first compiles, which would count
        _forget_peak()
        alone = _point(stages, backbone, axis, size, queries)
        alone.step()
        alone.exact()
        alone.rank()
        peaks.append(peak_memory())
        del alone
    points = [_point(stages, backbone, axis, size, queries) for size in AXES[axis]]
    steps = alternate({point.size: point.step for point in points}, rounds)
    exacts = alternate({point.size: point.exact for point in points}, rounds)
    ranks = alternate({point.size: point.rank for point in points}, rounds)
    rows: list[dict[str, Any]] = []
    for point, peak in zip(points, peaks[1:], strict=True):
        step, rank = steps[point.size].value, ranks[point.size].value
        epoch = step * 2 * point.about["facts"] / point.about["batch_size"]
        row: dict[str, Any] = {"axis": axis, "size": point.size, **point.about}
        row |= {"step_ms": 1e3 * step, "exact_ms": 1e3 * exacts[point.size].value}
        row |= {"epoch_seconds": epoch, "rank_us": 1e6 * rank, "peak_mib": peak}
        smallest = rows[0] if rows else row
        rows.append(row | {f"{cost}_ratio": row[cost] / smallest[cost] for cost in COSTS})
    return rows


def _point(stages: Stages, backbone: str, axis: str, size: float, queries: int) -> Point:
    from harness.bench import sizes, workload
    from harness.data import KnownAnswers, both_directions
    from harness.distill.training.objective import Distillation
    from harness.evaluate import RankTask, ranks
    from harness.models import BACKBONES
    from harness.trial.inputs import Inputs

    spec, kind = stages.spec, BACKBONES[backbone]
    graph = _graph(stages.graph, size if axis == "facts" else 1)
    entities = len(graph.entities) * (int(size) if axis == "entities" else 1)
    dim = int(size) if axis == "dimension" else spec.student.dim
    inputs = Inputs(graph, spec.time, spec.protocol, "cpu")
    model = kind(entities, len(graph.relations), inputs.n_times(kind.time_input), dim)
    data = inputs.training(kind.time_input)
    batch_size = min(spec.student.batch_size, len(data))
    about = {"facts": len(graph.train), "entities": entities, "dim": dim, "batch_size": batch_size}
    loss = Distillation(regularization=model.student_recipe.regularization)
    candidates = int(size) if axis == "candidates" else spec.student.hard_candidates
    lists = workload.random_ids(len(data), entities, candidates)
    if axis == "candidates":
        about["candidates"] = candidates
        loss = replace(loss, soft=workload.soft_targets(lists, model, spec))
    asked = both_directions(sizes.spread(graph.train, queries // 2), len(graph.relations))
    task = RankTask.build(asked, KnownAnswers(graph), inputs.timeline, kind.time_input, spec.protocol)
    ranked = rate(len(asked), lambda: ranks(model, task))
    hard, shared = lists if loss.soft is None else None, spec.student.candidates
    stepper = partial(workload.stepper, model, data, loss, batch_size, shared=shared, lists=hard)
    step, exact = stepper(exact=False), stepper(exact=True)
    return Point(size, about, lambda: sum(step()), lambda: sum(exact()), lambda: 1 / ranked())


def _graph(graph: TemporalGraph, share: float) -> TemporalGraph:
    """The training split, ``share`` times its size."""
    from harness.bench import sizes

    part = sizes.cut(graph, max(2, round(min(share, 1) * len(graph.train))))
    return part if share <= 1 else sizes.repeat(part, int(share))


def _forget_peak() -> None:
    """Have the process's peak of memory start anew, where the system can (Linux); elsewhere it is that of the run."""
    gc.collect()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", "ascii")


def _slope(points: Sequence[tuple[float, float]]) -> float:
    """Of log cost against log size, by least squares."""
    import numpy as np

    x, y = np.log(np.array(points)).T
    return float(np.polyfit(x, y, 1)[0])
