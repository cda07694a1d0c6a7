"""``scale``: what a training step and a ranked query cost, against the size of the problem."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harness.bench import sizes, workload
from harness.bench.common import open_stages, show
from harness.bench.options import Scale
from harness.data import KnownAnswers, TemporalGraph, both_directions
from harness.distill.training.objective import Distillation
from harness.errors import UserError, nearest
from harness.evaluate import RankTask, ranks
from harness.measurements.timer import alternate, rate
from harness.models import BACKBONES
from harness.trial.inputs import Inputs
from harness.trial.run import peak_memory
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
    """A size of the problem, what it is, and functions that measure seconds: of steps, and of a ranked query."""

    size: float
    about: dict[str, int]
    ways: dict[str, Callable[[], float]]


def run(options: Scale) -> dict[str, Any]:
    axis, backbone = options.axis, options.backbone
    if axis not in (*AXES, "all"):
        raise UserError(f"unknown axis {axis!r}: {nearest(axis, [*AXES, 'all'])}")
    stages = open_stages(options, backbone)
    rows: list[dict[str, Any]] = []
    exponents: list[dict[str, Any]] = []
    for varied in AXES if axis == "all" else (axis,):
        measured = _measured(stages, varied, options)
        rows += measured
        slopes = {cost: _slope([(row["size"], row[cost]) for row in measured]) for cost in COSTS}
        exponents.append({"axis": varied} | slopes)
    columns = {"axis": "axis", "facts": "facts", "entities": "entities", "dim": "dimension", "candidates": "candidates"}
    for cost in ("step_ms", "exact_ms", "rank_us"):
        columns |= {cost: COSTS[cost], f"{cost}_ratio": "ratio"}
    columns["peak_mib"] = "peak, MiB"
    title = f"{backbone} on {options.dataset}, {options.threads} thread(s); ratios to the smallest"
    show(title, columns, rows)
    show("exponents: cost grows as size to this power", {"axis": "axis", **COSTS}, exponents)
    return {"backbone": backbone, "rows": rows, "exponents": exponents}


def _measured(stages: Stages, axis: str, options: Scale) -> list[dict[str, Any]]:
    """The rows of an axis, smallest size first."""
    peaks = []
    for size in (AXES[axis][0], *AXES[axis]):  # the first compiles, which would count
        _forget_peak()
        for way in _point(stages, axis, size, options).ways.values():
            way()
        peaks.append(peak_memory())
        del way  # it holds the model
    points = [_point(stages, axis, size, options) for size in AXES[axis]]
    seconds = {
        name: alternate({point.size: point.ways[name] for point in points}, options.rounds) for name in points[0].ways
    }
    rows: list[dict[str, Any]] = []
    for point, peak in zip(points, peaks[1:], strict=True):
        step, exact, rank = (seconds[name][point.size].value for name in ("step", "exact", "rank"))
        row: dict[str, Any] = {"axis": axis, "size": point.size, **point.about, "peak_mib": peak}
        row |= {"step_ms": 1e3 * step, "exact_ms": 1e3 * exact, "rank_us": 1e6 * rank}
        row["epoch_seconds"] = step * 2 * row["facts"] / row["batch_size"]
        smallest = rows[0] if rows else row
        rows.append(row | {f"{cost}_ratio": row[cost] / smallest[cost] for cost in COSTS})
    return rows


def _point(stages: Stages, axis: str, size: float, options: Scale) -> Point:
    spec, kind = stages.spec, BACKBONES[options.backbone]
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
    queries = both_directions(sizes.spread(graph.train, options.queries // 2), len(graph.relations))
    task = RankTask.build(queries, KnownAnswers(graph), inputs.timeline, kind.time_input, spec.protocol)
    ranked = rate(len(queries), lambda: ranks(model, task))
    hard = lists if loss.soft is None else None
    stepper = partial(workload.stepper, model, data, loss, batch_size, shared=spec.student.candidates, lists=hard)
    step, exact = stepper(exact=False), stepper(exact=True)
    return Point(
        size, about, {"step": lambda: sum(step()), "exact": lambda: sum(exact()), "rank": lambda: 1 / ranked()}
    )


def _graph(graph: TemporalGraph, share: float) -> TemporalGraph:
    """The training split, ``share`` times its size."""
    part = sizes.cut(graph, max(2, round(min(share, 1) * len(graph.train))))
    return part if share <= 1 else sizes.repeat(part, int(share))


def _forget_peak() -> None:
    """Reset the process's peak of memory, where the system can (Linux); elsewhere it is that of the run."""
    gc.collect()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", "ascii")


def _slope(points: list[tuple[float, float]]) -> float:
    """Of log cost against log size, by least squares."""
    x, y = np.log(np.array(points)).T
    return float(np.polyfit(x, y, 1)[0])
