"""``step``: the compiled training step against tensor operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from harness.bench.common import (
    DataDir,
    Dataset,
    JsonFile,
    OneBackbone,
    Threads,
    alternate,
    app,
    backbones,
    open_stages,
    save,
    show,
    warm_up_notes,
)


@app.command()
def step(
    dataset: Dataset = "lahman",
    backbone: OneBackbone = "ttranse",
    data_dir: DataDir = None,
    threads: Threads = 1,
    steps: Annotated[int, typer.Option(min=1, help="Steps measured of each; their median counts.")] = 20,
    file: JsonFile = None,
) -> None:
    """A student's training step on a CPU: tensor operations against compiled passes.

    Scored are all entities, and the default: those that the teacher names and random ones. Targets and encodings are
    random; a step costs the same whatever they are, or less where the names of popular entities come again and again.
    """
    (name,) = backbones(backbone)
    from harness.bench import workload

    stages = open_stages(dataset, name, data_dir, threads)
    spec = stages.spec
    model = stages.new_model(name, spec.student, 0)
    data = stages.inputs.training(model.time_input)
    mined = workload.random_ids(len(data), len(stages.graph.entities), spec.student.hard_candidates)

    rows, notes = [], []
    for arm, loss in workload.losses(stages, model, data).items():
        # an undistilled student lists what it finds hard itself
        hard = None if loss.soft is not None else mined
        for scored, shared in (("all", 0), ("sampled", spec.student.candidates)):
            once = workload.stepper(model, data, loss, spec.student.batch_size, shared=shared, lists=hard)
            both = {way: _forced(compiled, once) for way, compiled in (("compiled", True), ("tensors", False))}
            measured = alternate(both, steps)
            compiled_ms, tensors_ms = 1e3 * measured["compiled"].value, 1e3 * measured["tensors"].value
            row = {"arm": arm, "scored": scored, "tensors_ms": tensors_ms, "compiled_ms": compiled_ms}
            rows.append(row | {"ratio": tensors_ms / compiled_ms})
            notes += warm_up_notes({f"{way}, {arm}, {scored}": each for way, each in measured.items()})
    columns = {
        "arm": "losses",
        "scored": "scored",
        "tensors_ms": "tensor operations, ms",
        "compiled_ms": "compiled, ms",
    }
    show(f"{name} on {dataset}, {threads} thread(s)", columns | {"ratio": "ratio"}, rows, notes)
    save(file, "step", stages, threads, backbone=name, candidates=spec.student.candidates, rows=rows)


def _forced(compiled: bool, once: Callable[[], float]) -> Callable[[], float]:
    def way() -> float:
        with ways(compiled):
            return once()

    return way


@contextmanager
def ways(compiled: bool) -> Iterator[None]:
    """Have every problem take the compiled way, or none."""
    from harness.distill import sampled, softmax
    from harness.models import candidates

    before = softmax.FUSED_FROM, candidates.COMPILED_FROM, sampled.COMPILED_FROM
    softmax.FUSED_FROM = candidates.COMPILED_FROM = sampled.COMPILED_FROM = 0 if compiled else 1 << 62
    try:
        yield
    finally:
        softmax.FUSED_FROM, candidates.COMPILED_FROM, sampled.COMPILED_FROM = before
