"""Benchmarks: ``python -m harness.bench step``. Each compares two ways within one run: machines vary."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from harness import cli
from harness.errors import UserError, nearest

app = typer.Typer(help="Measure the engine on this machine.", add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def _bench() -> None:
    """Measure the engine on this machine."""


@app.command()
def step(
    dataset: Annotated[str, typer.Option(help="Name of a data set, or a folder of one.")] = "lahman",
    backbone: Annotated[str, typer.Option(help="ttranse or ta-distmult.")] = "ttranse",
    data_dir: Annotated[Path | None, typer.Option(help="Look for the files of named data sets here only.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps measured of each; their median counts.")] = 20,
    file: Annotated[Path | None, typer.Option("--json", help="Write the figures here, too.")] = None,
) -> None:
    """A student's training step on a CPU: tensor operations against compiled passes, one thread.

    Targets and encodings are random: a step costs the same whatever they are.
    """
    import torch

    from harness.distill.alignment import ScoreTargets
    from harness.distill.objective import Distillation
    from harness.distill.response import SoftTargets
    from harness.distill.semantic import SemanticAdapter
    from harness.distill.trainer import batches, make_optimizer
    from harness.models import BACKBONES
    from harness.runs.cache import default_root
    from harness.runs.spec import TrialSpec
    from harness.runs.stages import Context, Stages

    if backbone not in BACKBONES:
        raise UserError(f"unknown backbone {backbone!r}: {nearest(backbone, BACKBONES)}")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    spec = TrialSpec(dataset=dataset, backbone=backbone)
    stages = Stages(spec, Context(default_root(), data_dir))
    model = stages.new_model(backbone, spec.student, 0)
    data = stages.inputs.training(model.time_input)
    shape, entities = (len(data), spec.loss.targets), len(stages.graph.entities)
    ids = torch.randint(entities, shape, dtype=torch.int32)
    half = torch.full((len(data),), 0.5).log()  # of the teacher's mass in the list, half outside
    soft = SoftTargets(ids, (half[:, None] - torch.tensor(shape[1]).log()).expand(shape), half, spec.loss.temperature)
    said = torch.rand(entities, spec.semantic.dim), torch.rand(2 * len(stages.graph.relations), spec.semantic.dim)
    adapter = SemanticAdapter(said[0], said[1], spec.student.dim)
    none = Distillation(regularization=model.student_recipe.regularization)
    whole = replace(
        none, soft=soft, aligned=ScoreTargets(ids, torch.randn(shape)), alpha=1.0, adapter=adapter, beta=1.0
    )
    arms = {"none": none, "L1": replace(none, soft=soft)}
    arms["L1+L2+L3"] = replace(whole, semantic_share=spec.loss.semantic_share)

    table = Table("losses", "tensor operations, ms", "compiled, ms", "ratio", title=f"{backbone} on {dataset}")
    found = {}
    for arm, loss in arms.items():
        optimizer = make_optimizer(model, model.student_recipe.optimizer, model.student_recipe.learning_rate)
        seconds: dict[bool, list[float]] = {True: [], False: []}
        for k, index in enumerate(batches(len(data), min(spec.student.batch_size, len(data)), 0, 0)):
            for compiled, times in seconds.items():  # in turns, so that what else the machine does meets both
                with _ways(compiled):
                    started = time.perf_counter()
                    torch.stack(list(loss(model, data[index], index).values())).sum().backward()
                    optimizer.step()
                    optimizer.zero_grad()
                    times.append(time.perf_counter() - started)
            if k == steps:
                break
        # the first step compiles
        compiled_ms, tensors_ms = (1e3 * statistics.median(seconds[way][1:] or seconds[way]) for way in (True, False))
        found[arm] = {"tensors_ms": tensors_ms, "compiled_ms": compiled_ms, "ratio": tensors_ms / compiled_ms}
        table.add_row(arm, f"{tensors_ms:.1f}", f"{compiled_ms:.1f}", f"{tensors_ms / compiled_ms:.2f}")
    cli.console().print(table)
    if file is not None:
        file.write_text(json.dumps({"dataset": dataset, "backbone": backbone, "arms": found}, indent=1) + "\n", "utf-8")


@contextmanager
def _ways(compiled: bool) -> Iterator[None]:
    """Have every problem take the compiled way, or none."""
    from harness.distill import softmax
    from harness.models import candidates

    before = softmax.FUSED_FROM, candidates.COMPILED_FROM
    softmax.FUSED_FROM = candidates.COMPILED_FROM = 0 if compiled else 1 << 62
    try:
        yield
    finally:
        softmax.FUSED_FROM, candidates.COMPILED_FROM = before


if __name__ == "__main__":
    cli.run(app)
