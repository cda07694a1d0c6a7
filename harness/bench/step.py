"""``step``: the compiled training step against tensor operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
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

    Targets and encodings are random: a step costs the same whatever they are.
    """
    (name,) = backbones(backbone)
    import torch

    from harness.bench import workload
    from harness.distill.alignment import ScoreTargets
    from harness.distill.objective import Distillation
    from harness.distill.semantic import SemanticAdapter

    stages = open_stages(dataset, name, data_dir, threads)
    spec, graph = stages.spec, stages.graph
    model = stages.new_model(name, spec.student, 0)
    data = stages.inputs.training(model.time_input)
    ids = workload.random_ids(len(data), len(graph.entities), spec.loss.targets)
    soft, aligned = workload.soft_targets(ids, spec.loss.temperature), ScoreTargets(ids, torch.randn(ids.shape))
    said = torch.rand(len(graph.entities), spec.semantic.dim), torch.rand(2 * len(graph.relations), spec.semantic.dim)
    adapter = SemanticAdapter(*said, spec.student.dim)
    none = Distillation(regularization=model.student_recipe.regularization)
    whole = replace(none, soft=soft, aligned=aligned, alpha=1.0, adapter=adapter, beta=1.0)
    arms = {"none": none, "L1": replace(none, soft=soft)}
    arms["L1+L2+L3"] = replace(whole, semantic_share=spec.loss.semantic_share)

    found, notes = {}, []
    for arm, loss in arms.items():
        ways = {
            way: _forced(compiled, workload.stepper(model, data, loss, spec.student.batch_size))
            for way, compiled in (("compiled", True), ("tensors", False))
        }
        measured = alternate(ways, steps)
        compiled_ms, tensors_ms = 1e3 * measured["compiled"].value, 1e3 * measured["tensors"].value
        found[arm] = {"tensors_ms": tensors_ms, "compiled_ms": compiled_ms, "ratio": tensors_ms / compiled_ms}
        notes += warm_up_notes({f"{way}, {arm}": each for way, each in measured.items()})
    columns = {"arm": "losses", "tensors_ms": "tensor operations, ms", "compiled_ms": "compiled, ms", "ratio": "ratio"}
    rows = [{"arm": arm, **figures} for arm, figures in found.items()]
    show(f"{name} on {dataset}, {threads} thread(s)", columns, rows, notes)
    save(file, "step", stages, threads, backbone=name, arms=found)


def _forced(compiled: bool, once: Callable[[], float]) -> Callable[[], float]:
    def way() -> float:
        with ways(compiled):
            return once()

    return way


@contextmanager
def ways(compiled: bool) -> Iterator[None]:
    """Have every problem take the compiled way, or none."""
    from harness.distill import softmax
    from harness.models import candidates

    before = softmax.FUSED_FROM, candidates.COMPILED_FROM
    softmax.FUSED_FROM = candidates.COMPILED_FROM = 0 if compiled else 1 << 62
    try:
        yield
    finally:
        softmax.FUSED_FROM, candidates.COMPILED_FROM = before
