"""``step``: the compiled training step against tensor operations."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    warm_up_notes,
)
from harness.measurements.timer import alternate

if TYPE_CHECKING:
    from harness.bench.workload import Seconds


@app.command()
def step(
    dataset: Dataset = "lahman",
    backbone: OneBackbone = "ttranse",
    data_dir: DataDir = None,
    threads: Threads = 1,
    steps: Annotated[int, typer.Option(min=1, help="Steps of a turn; its first one does not count.")] = 20,
    rounds: Rounds = 5,
    file: JsonFile = None,
) -> None:
    """A student's training step on a CPU: tensor operations against compiled passes.

    Scored are all entities, as in a student's first epoch, and those that the teacher names and random ones, as in the
    others. Targets and encodings are
    random; a step costs the same whatever they are, or less where the names of popular entities come again and again.
    A turn makes some steps of one way, so that it finds its own data in the cache, as in training. The parts of the
    compiled step are medians of their own and need not add up.
    """
    (name,) = backbones(backbone)
    from harness.bench import workload

    stages = open_stages(dataset, name, data_dir, threads)
    spec = stages.spec
    model = stages.new_model(name, spec.student, 0)
    data = stages.inputs.training(model.time_input)
    mined = workload.random_ids(len(data), len(stages.graph.entities), spec.student.hard_candidates)

    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for arm, loss in workload.losses(stages, model, data).items():
        # an undistilled student lists what it finds hard itself
        hard = None if loss.soft is not None else mined
        for scored in ("all", "sampled"):
            size, shared, exact = spec.student.batch_size, spec.student.candidates, scored == "all"
            once = workload.stepper(model, data, loss, size, shared=shared, lists=hard, exact=exact)
            taken: dict[bool, list[Seconds]] = {True: [], False: []}
            both = {compiled: partial(_turn, compiled, once, steps, taken[compiled]) for compiled in taken}
            measured = alternate(both, rounds)
            row: dict[str, Any] = {"arm": arm, "scored": scored}
            row |= {"tensors_ms": 1e3 * measured[False].value, "compiled_ms": 1e3 * measured[True].value}
            counted = zip(*taken[True][steps:], strict=True)  # without the first turn, which compiles
            parts = (1e3 * statistics.median(part) for part in counted)
            row |= dict(zip(("forward_ms", "backward_ms", "update_ms"), parts, strict=True))
            rows.append(row | {"ratio": row["tensors_ms"] / row["compiled_ms"]})
            named = {"compiled": measured[True], "tensors": measured[False]}
            notes += warm_up_notes({f"{way}, {arm}, {scored}": figure for way, figure in named.items()})
    columns = {
        "arm": "losses",
        "scored": "scored",
        "tensors_ms": "tensor operations, ms",
        "compiled_ms": "compiled, ms",
        "ratio": "ratio",
        "forward_ms": "of it forward",
        "backward_ms": "backward",
        "update_ms": "update",
    }
    show(f"{name} on {dataset}, {threads} thread(s)", columns, rows, notes)
    save(file, "step", stages, threads, backbone=name, candidates=spec.student.candidates, rows=rows)


def _turn(compiled: bool, once: Callable[[], Seconds], steps: int, taken: list[Seconds]) -> float:
    """The median seconds of a step; ``taken`` gets the parts of those that count."""
    with ways(compiled):
        once()
        steps_taken = [once() for _ in range(steps)]
    taken += steps_taken
    return statistics.median(map(sum, steps_taken))


@contextmanager
def ways(compiled: bool) -> Iterator[None]:
    """Have every problem take the compiled way, or none."""
    from harness.distill.passes import sampled, softmax
    from harness.models import candidates

    before = softmax.FUSED_FROM, candidates.COMPILED_FROM, sampled.COMPILED_FROM
    softmax.FUSED_FROM = candidates.COMPILED_FROM = sampled.COMPILED_FROM = 0 if compiled else 1 << 62
    try:
        yield
    finally:
        softmax.FUSED_FROM, candidates.COMPILED_FROM, sampled.COMPILED_FROM = before
